"""The timer by which a test ends at its limit (see time_limit.py)."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stopped() -> Iterator[None]:
    """Time stands still for the test; what takes it has a limit of its own."""
    left_s = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *left_s)
