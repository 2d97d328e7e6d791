"""Checks that the daemon serves: one request to its own listening socket."""

import asyncio
from typing import Any

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nUser-Agent: ollama-proxyd-watchdog\r\nConnection: close\r\n\r\n"
SERVING = frozenset({b"200", b"401"})
"""Let in or asked for the token: both answers come from the running server."""
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, never bound to
LONGEST_HEAD_BYTES = 16_384


async def is_served(at: Any, deadline_s: float) -> str | None:
    """None when the socket answers in time, else what happened instead."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(deadline_s):
            reader, writer = await _connect(at)
            writer.write(REQUEST)
            status = (await reader.readline()).split(b" ", 2)[1:2]
            await reader.read(LONGEST_HEAD_BYTES)
    except TimeoutError:
        return f"no answer within {deadline_s:g} s"
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__
    finally:
        if writer is not None:
            writer.close()
    return None if status and status[0] in SERVING else f"an answer that is none: {b' '.join(status)!r}"


async def _connect(at: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if not isinstance(at, tuple):
        return await asyncio.open_unix_connection(at)
    host, port = at[:2]
    return await asyncio.open_connection(EVERYWHERE.get(host, host), port)
