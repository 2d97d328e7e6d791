"""A pytest plugin: the time limit of a test holds for its teardown too, and where the failure is swallowed.

pytest-timeout fails a test once. A task that catches this failure, or a fixture that hangs after it, would still stop
the run. So the failure is repeated until the test is over; at last the process ends, and pytest-xdist starts another.
"""

import itertools
import os
import signal
from collections.abc import Generator, Iterator
from types import FrameType
from typing import Any

import pytest
import pytest_timeout

from tests import timer

REPEAT_S = 10.0
REPEATS = 4
STRUCK = pytest.StashKey[bool]()
EXIT_S = 60
"""How long the process may take to end after its last test: a thread that hangs would keep it for ever."""


def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool | None:
    """Fail the test at its limit, and again until it is over."""
    if item.config.getoption("usepdb"):
        return None  # the plugin's own timer stops for a debugger
    strikes = itertools.count(1)

    def strike(signum: int, frame: FrameType | None) -> None:
        item.stash[STRUCK] = True
        if next(strikes) > REPEATS:
            os._exit(os.EX_SOFTWARE)
        pytest_timeout.timeout_sigalrm(item, settings)

    signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, settings.timeout, min(REPEAT_S, settings.timeout))
    return True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """No time passes while pytest writes down what happened; a test that swallowed its failure has failed."""
    with timer.stopped():
        report = yield
        if report.passed and item.stash.get(STRUCK, False):
            report.outcome, report.longrepr = "failed", "Failed: Timeout, and something swallowed it"
        return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol() -> Iterator[Any]:
    """Stop the timer when the test and its teardown are over."""
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def pytest_unconfigure() -> None:
    """Have the kernel end a process that does not end by itself."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(EXIT_S)
