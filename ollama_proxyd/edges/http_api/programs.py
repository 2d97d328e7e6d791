"""Which program sent a request, found once for each connection."""

import asyncio
import socket
from typing import Any, Final
from weakref import WeakKeyDictionary

from aiohttp import hdrs, web

from ollama_proxyd.core.programs import UNKNOWN, KnownBy, Program, of_user_agent
from ollama_proxyd.edges.http_api.context import SETTINGS
from ollama_proxyd.edges.plumbing.peers import Peers, is_from_here, pid_behind
from ollama_proxyd.edges.plumbing.programs import ProgramSearch

PATIENCE_S: Final = 0.05
"""Who asks is not worth a longer wait."""


class Programs:
    """The programs of connections."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._known: WeakKeyDictionary[Any, Program] = WeakKeyDictionary()
        self._search = ProgramSearch()

    async def of(self, request: web.Request) -> Program:
        """The program that sent a request; unknown where the configuration does not want it known."""
        transport = request.transport
        if transport is None or not request.app[SETTINGS].value.names_programs:
            return UNKNOWN
        known = self._known.get(transport)
        if known is None:
            guess = of_user_agent(request.headers.get(hdrs.USER_AGENT, ""))
            try:
                async with asyncio.timeout(PATIENCE_S):
                    known = await self._found(transport)
            except TimeoutError:
                return guess  # the next request on this connection may find more
            known = self._known[transport] = guess if known.known_by is KnownBy.UNKNOWN else known
        return known

    async def _found(self, transport: Any) -> Program:
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family == socket.AF_UNIX:
            return await self._search.find(pid_behind(connection))
        if is_from_here(transport) and (owner := self._peers.owner(transport)) is not None:
            return await self._search.find(owner)
        return UNKNOWN


PROGRAMS: web.AppKey[Programs] = web.AppKey("programs", Programs)
