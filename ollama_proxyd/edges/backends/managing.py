"""Has an engine change the files of its models; the answer passes as it comes, errors included."""

from collections.abc import AsyncGenerator

from ollama_proxyd.core.management import Managed, Management
from ollama_proxyd.edges.backends.server import Server


async def manage(server: Server, asked: Management) -> AsyncGenerator[Managed | bytes, None]:
    """How the answer begins, and its pieces; closing it early closes the connection, which ends the engine's work."""
    async with server.manage(asked) as reply:
        yield Managed(reply.status, reply.headers.get("Content-Type", ""))
        while piece := await reply.read():
            reply.note_progress()
            yield piece
        if reply.broken is not None:
            raise reply.broken
