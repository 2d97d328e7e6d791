"""The lines that a program writes, as they come; it ends with whoever reads them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

MOST_BYTES: Final = 1 << 16
"""A line that is longer is left out."""


async def lines_of(*command: str) -> AsyncGenerator[str, None]:
    """What it writes, line by line; raises OSError where it cannot be started, or ends by a failure."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=MOST_BYTES,
        )
    except OSError as error:
        raise OSError(error.errno, f"{command[0]} cannot be started: {error.strerror}") from None
    assert process.stdout is not None
    try:
        while line := await _line(process.stdout):
            yield line.decode("utf-8", "replace").rstrip("\r\n")
        if status := await process.wait():
            raise OSError(f"{command[0]} ended with status {status}")
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line that is not too long; empty at the end."""
    is_tail = False
    while True:
        try:
            line = await stream.readuntil()
        except asyncio.LimitOverrunError as error:
            await stream.readexactly(error.consumed)
            is_tail = True
            continue
        except asyncio.IncompleteReadError as error:
            return b"" if is_tail else error.partial
        if not is_tail:
            return line
        is_tail = False
