"""Work on large texts leaves the event loop."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from ollama_proxyd.core.text import LARGE_BYTES

T = TypeVar("T")


async def off_loop(size_bytes: int, work: Callable[[], T]) -> T:
    """The outcome of work on a text, done in a thread where the text is large.

    A thread keeps the loop waiting for single steps of C code only, not for their sum.
    """
    return work() if size_bytes < LARGE_BYTES else await asyncio.to_thread(work)
