"""A signal when this machine's network interfaces or their addresses change."""

import asyncio
import socket
from collections.abc import AsyncIterator

_GROUPS = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR (linux/rtnetlink.h)."""
_SETTLE_S = 0.5
"""Several messages come for one change."""


async def changes() -> AsyncIterator[None]:
    """Whenever interfaces or addresses may have changed, as the kernel tells (rtnetlink(7))."""
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE) as link:
        link.bind((0, _GROUPS))

        def drain() -> None:
            try:
                while link.recv(65536):
                    told.set()
            except BlockingIOError:
                pass
            except OSError:  # messages were lost (ENOBUFS), so something has changed
                told.set()

        loop.add_reader(link, drain)
        try:
            while True:
                await told.wait()
                await asyncio.sleep(_SETTLE_S)
                told.clear()
                yield
        finally:
            loop.remove_reader(link)
