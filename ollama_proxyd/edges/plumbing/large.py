"""Work on large texts leaves the event loop."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

LARGE_BYTES: Final = 1024 * 1024
"""Work on a text of that size takes about a millisecond; a change of threads costs less."""

T = TypeVar("T")


async def off_loop(size_bytes: int, work: Callable[[], T]) -> T:
    """The outcome of work on a text, done in a thread where the text is large.

    A thread keeps the loop waiting for single steps of C code only, not for their sum.
    """
    return work() if size_bytes < LARGE_BYTES else await asyncio.to_thread(work)
