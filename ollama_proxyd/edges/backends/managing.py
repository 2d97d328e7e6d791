"""Has an engine change the files of its models; the answer passes as it comes, errors included."""

from collections.abc import AsyncGenerator
from http import HTTPStatus

import msgspec

from ollama_proxyd.core.management import Managed, Management
from ollama_proxyd.dialects.framing.jsonbody import object_in
from ollama_proxyd.edges.backends.server import JSON_TYPE, Server, status_and_words

_NO_ROUTE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})


async def manage(server: Server, asked: Management) -> AsyncGenerator[Managed | bytes, None]:
    """How the answer begins, and its pieces; closing it early closes the connection, which ends the engine's work."""
    async with server.manage(asked) as reply:
        if reply.status >= HTTPStatus.BAD_REQUEST and asked.method != "HEAD":
            body = await reply.error_text()
            yield Managed(reply.status, JSON_TYPE)
            yield _error(server.who, asked, reply.status, body)
            return
        yield Managed(reply.status, reply.headers.get("Content-Type", ""))
        while piece := await reply.read():
            reply.note_progress()
            yield piece
        if reply.broken is not None:
            raise reply.broken


def _error(who: str, asked: Management, status: int, body: str) -> bytes:
    """The error in Ollama's form: a server's own bytes, else what one says that only resembles an Ollama."""
    told = object_in(body) or {}
    if isinstance(told.get("error"), str):
        return body.encode()
    did = f"has no {asked.method} {asked.path}" if "error" not in told and status in _NO_ROUTE else "refused"
    return msgspec.json.encode({"error": f"{who} {did} ({status_and_words(status, body)})"})
