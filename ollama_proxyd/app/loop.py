"""The event loop: uvloop's, but for one detour that wakes the machine for nothing."""

import socket
from typing import Any

import uvloop


class Loop(uvloop.Loop):
    """Where a socket is connected, uvloop asks a thread for the address even if it is a number already.

    It recognises numbers only where it is told that a stream is wanted, as nearly always it is here.
    """

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        type: int = 0,  # noqa: A002 - the names are asyncio's
        **rest: int,
    ) -> Any:
        """As asyncio's own, of streams where nothing else is asked for."""
        return await super().getaddrinfo(host, port, type=type or socket.SOCK_STREAM, **rest)
