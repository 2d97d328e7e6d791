"""An engine's error without the words of the conversation that it repeats: errors are logged and shown."""

import json
from collections.abc import Iterator

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.requests import Chat, Completion, Embedding, Request, Text
from ollama_proxyd.core.text import cut, sanitize_line

MOST_LOGGED = 240
LEFT_OUT = "…"
LEAST_CHARACTERS = 24
"""A shorter run of words may be anybody's; a whole text of the conversation need not be so long."""
LEAST_TEXT = 8
MOST_SEARCHED = 128 * 1024
"""Characters of each end of the conversation."""


def unquoted(error: ProxyError, request: Request) -> ProxyError:
    """The error with a mark for each run of words that the request has too."""
    try:
        texts = [text for text in _texts(request.content()) if len(text) >= LEAST_TEXT]
    except ProxyError:
        return error
    told = "\n".join(texts)
    told = told if len(told) <= 2 * MOST_SEARCHED else f"{told[:MOST_SEARCHED]}\n{told[-MOST_SEARCHED:]}"
    sought = "\n".join((told, " ".join(told.split()), json.dumps(told), json.dumps(told, ensure_ascii=False)))
    short = [text for text in texts if len(text) < LEAST_CHARACTERS]
    message, detail = (_without(words, sought, short) for words in (error.message, error.detail or ""))
    cause = cut(sanitize_line(message), MOST_LOGGED)
    return error.but(message=message, detail=detail if error.detail is not None else None, cause=cause)


def _texts(content: Chat | Completion | Embedding) -> Iterator[str]:
    if isinstance(content, Embedding):
        yield from content.inputs
    elif isinstance(content, Completion):
        yield from filter(None, (content.prompt, content.suffix, content.system))
    else:
        for message in content.messages:
            yield from (part.text for part in message.parts or () if isinstance(part, Text))
            yield from (call.arguments for call in message.tool_calls)
            yield message.thinking or ""


def _without(words: str, sought: str, short: list[str]) -> str:
    """The words without what is found in another text."""
    for text in short:
        words = words.replace(text, LEFT_OUT)
    kept: list[str] = []
    at = 0
    while at < len(words):
        end = at + LEAST_CHARACTERS
        if end > len(words) or words[at:end] not in sought:
            kept.append(words[at])
            at += 1
            continue
        while end < len(words) and words[end - LEAST_CHARACTERS + 1 : end + 1] in sought:
            end += 1
        kept.append(LEFT_OUT)
        at = end
    return "".join(kept)
