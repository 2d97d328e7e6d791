"""Has an engine change the files of its models; the answer passes as it comes, errors included."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus

import msgspec

from ollama_proxyd.core.management import Managed, Management
from ollama_proxyd.dialects.base import incomplete, unreadable
from ollama_proxyd.dialects.framing.jsonbody import object_in
from ollama_proxyd.dialects.framing.ndjson import LineSplitter, lines
from ollama_proxyd.dialects.framing.numbers import count
from ollama_proxyd.dialects.framing.reported import is_reported, sentence
from ollama_proxyd.edges.backends.server import JSON_TYPE, Server, status_and_words
from ollama_proxyd.edges.plumbing.http_reply import Reply

_PROGRESS = frozenset({"/api/pull", "/api/push", "/api/create"})
"""What takes long, and is answered by lines."""
_NO_ROUTE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})


async def manage(server: Server, asked: Management) -> AsyncGenerator[Managed | bytes, None]:
    """How the answer begins, and its pieces; closing it early closes the connection, which ends the engine's work."""
    async with server.manage(asked) as reply:
        if reply.status >= HTTPStatus.BAD_REQUEST and asked.method != "HEAD":
            body = await reply.error_text()
            yield Managed(reply.status, JSON_TYPE)
            yield _error(server.who, asked, reply.status, body)
            return
        head = Managed(reply.status, reply.headers.get("Content-Type", ""))
        if asked.path in _PROGRESS:
            async with aclosing(_progress(server.who, reply, head)) as progress:
                async for each in progress:
                    yield each
            return
        yield head
        while piece := await reply.read():
            reply.note_progress()
            yield piece
        if reply.broken is not None:
            raise reply.broken


async def _progress(who: str, reply: Reply, head: Managed) -> AsyncGenerator[Managed | bytes, None]:
    """The lines of what takes long, from the first one on; raises ProxyError for an answer that tells nothing."""
    splitter, last, skipped = LineSplitter(), b"", 0
    while True:
        piece = await reply.read()
        rest = b"" if piece else splitter.remainder()
        found = list(lines(splitter.feed(piece) if piece else rest))
        told = [line for each in found if (line := _line(each))]
        skipped += len(found) - len(told)
        if told:
            reply.note_progress()
            if not last:
                yield head
            last = told[-1]
            yield b"".join(line + b"\n" for line in told)
        if not piece:
            break
    if reply.broken is not None:
        raise reply.broken
    if not last:
        raise unreadable(who, skipped) if skipped else incomplete(who)
    if (rest.strip() and not object_in(rest)) or _is_within(last):
        raise incomplete(who)


def _line(line: bytes) -> bytes | None:
    """A line as Ollama's clients read it, None where it is none."""
    told = object_in(line)
    if told is None or not is_reported(error := told.get("error")) or isinstance(error, str):
        return None if told is None else line
    return msgspec.json.encode({"error": sentence(error) or "the backend reported an error"})


def _is_within(last: bytes) -> bool:
    """Whether a last line tells of a file that has not come as a whole; not every imitator says that it succeeded."""
    told = object_in(last) or {}
    total = count(told.get("total"))
    return total is not None and "error" not in told and (count(told.get("completed")) or 0) < total


def _error(who: str, asked: Management, status: int, body: str) -> bytes:
    """The error in Ollama's form: a server's own bytes, else what one says that only resembles an Ollama."""
    told = object_in(body) or {}
    if isinstance(told.get("error"), str):
        return body.encode()
    did = f"has no {asked.method} {asked.path}" if "error" not in told and status in _NO_ROUTE else "refused"
    return msgspec.json.encode({"error": f"{who} {did} ({status_and_words(status, body)})"})
