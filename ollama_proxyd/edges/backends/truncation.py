"""Truncates texts that are too long for a llama-server to embed, as Ollama truncates them."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Event
from ollama_proxyd.core.requests import Embedding, Json, Request
from ollama_proxyd.edges.backends.exchange import Exchange
from ollama_proxyd.edges.backends.server import Server
from ollama_proxyd.edges.backends.untrusted_json import items, text

_LIMIT = re.compile(r"(?:current batch size: |max context size \()(\d+)")
_MOST_TRUNCATIONS = 3
"""A server names two limits, one after the other; and what was cut can have a token more than was counted."""

_HALF_A_LETTER = "\N{REPLACEMENT CHARACTER}"
"""What a server puts in place of a letter whose bytes were cut; it can have more tokens than they had."""


async def answer_truncated(
    exchange: Exchange, server: Server, request: Request, model: str
) -> AsyncGenerator[Event, None]:
    """The exchange's answer; where the server refuses a text for its length, the text is cut and asked for again."""
    for cuts in range(_MOST_TRUNCATIONS + 1):
        try:
            async with aclosing(exchange.answer(request, model)) as events:
                async for event in events:
                    yield event
        except ProxyError as error:
            limit = _limit_in(error)
            if limit is None or cuts == _MOST_TRUNCATIONS:
                raise
            request = await _truncated(request, limit, server)
        else:
            return


def _limit_in(refusal: ProxyError) -> int | None:
    """How many tokens a text may have, None when the server refuses for another reason."""
    found = _LIMIT.search(refusal.detail or "")
    return int(found[1]) if found else None


async def _truncated(request: Request, limit: int, server: Server) -> Request:
    content = request.content()
    if not isinstance(content, Embedding) or content.options.known.get("truncate") is False:
        message = f"input exceeds maximum context length: it has more than the {limit} tokens that {server.who} takes"
        raise ProxyError(ErrorKind.INVALID_REQUEST, f"{message}, and truncate is false", param="input")
    specials = await _tokens(server, {"content": "", "add_special": True})
    room = max(limit - len(specials), 1)
    truncated = replace(content, inputs=tuple([await _cut(server, each, room) for each in content.inputs]))
    return replace(request, content=lambda: truncated)


async def _cut(server: Server, given: str, room: int) -> str:
    if len(given.encode()) < room:  # no token is shorter than a byte
        return given
    tokens = await _tokens(server, {"content": given})
    if len(tokens) <= room:
        return given
    cut = text(await server.fetch("/detokenize", {"tokens": tokens[:room]}), "content") or given
    return cut.rstrip(_HALF_A_LETTER)


async def _tokens(server: Server, question: dict[str, Json]) -> tuple[Json, ...]:
    return items(await server.fetch("/tokenize", question), "tokens")
