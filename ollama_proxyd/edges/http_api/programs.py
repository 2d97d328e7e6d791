"""Which program sent a request, found once for each connection."""

import asyncio
import logging
import socket
from typing import Any, Final

from aiohttp import hdrs, web

from ollama_proxyd.core.programs import NOBODY, UNKNOWN, Asker, KnownBy, Program, of_user_agent
from ollama_proxyd.edges.http_api.access import Door
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.plumbing.peers import Peers, is_from_here, pid_behind
from ollama_proxyd.edges.plumbing.programs import ProgramSearch

log = logging.getLogger(__name__)

PATIENCE_S: Final = 0.05
"""Who asks is not worth a longer wait before the request goes on; the books are written at its end."""

MOST_SEARCHES: Final = 64
"""How many may wait at once; the programs of further connections are what they call themselves."""


class Programs:
    """The programs of connections."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._searches: dict[Any, asyncio.Task[None]] = {}
        self._search = ProgramSearch()
        self._turn = asyncio.Lock()

    async def of(self, request: web.Request, settings: ServerSettings) -> Asker:
        """Who sent a request; nobody where the configuration does not want it known."""
        door, transport = request.protocol, request.transport
        if transport is None or not settings.names_programs:
            return NOBODY
        assert isinstance(door, Door)
        if (asker := door.asker) is None:
            known = self._at_once(transport)
            asker = door.asker = Asker(known or of_user_agent(request.headers.get(hdrs.USER_AGENT, "")))
            if known is None and len(self._searches) < MOST_SEARCHES:
                search = asyncio.create_task(self._find(asker, transport), name="program of a connection")
                self._searches[transport] = search
                search.add_done_callback(lambda _: self._searches.pop(transport, None))
        if (under_way := self._searches.get(transport)) is not None:
            await asyncio.wait({under_way}, timeout=PATIENCE_S)
        return asker

    def _at_once(self, transport: Any) -> Program | None:
        """The program of a connection where that is known without a search."""
        owner = self._peers.owner(transport) if is_from_here(transport) else None
        return None if owner is None else self._search.at_once(owner)

    async def _find(self, asker: Asker, transport: Any) -> None:
        """Have the finding take the place of what the program calls itself."""
        try:
            async with self._turn:
                if transport.is_closing():  # a socket that is gone is looked for in every process
                    return
                found = await self._found(transport)
        except OSError as error:
            log.debug("who asks is not known: %s", error)
            return
        if found.known_by is not KnownBy.UNKNOWN:
            asker.program = found

    async def _found(self, transport: Any) -> Program:
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family == socket.AF_UNIX:
            return await self._search.find(pid_behind(connection))
        if is_from_here(transport) and (owner := self._peers.owner(transport)) is not None:
            return await self._search.find(owner)
        return UNKNOWN


PROGRAMS: web.AppKey[Programs] = web.AppKey("programs", Programs)
