"""The lines that a program writes, as they come; it ends with whoever reads them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

MOST_BYTES: Final = 1 << 16
"""What of a line is longer is left out."""


async def lines_of(*command: str) -> AsyncGenerator[str, None]:
    """What it writes, line by line; raises OSError where it cannot be started."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=MOST_BYTES,
    )
    assert process.stdout is not None
    try:
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # too long a line, of which nothing is kept
                continue
            if not line:
                return
            yield line.decode("utf-8", "replace").rstrip("\r\n")
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())
