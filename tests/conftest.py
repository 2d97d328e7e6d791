"""What all tests share: a bus of their own, and a loud word about what was skipped."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.desktop.private_bus import PrivateBus, StartBus
from tests.real_things import NOT_TRIED, installed

pytest_plugins = ["tests.time_limit"]

TIME_LIMITS_S = {"box": 900, "desktop": 600, "e2e": 300, "extension": 300, "packaging": 300}
"""For the folders whose fixtures fetch programs or start whole systems; all other tests have pyproject.toml's limit."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test of a slow folder its time."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in TIME_LIMITS_S and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIME_LIMITS_S[folder]))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What was not tried on the real thing is said aloud, with its number."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""
        if NOT_TRIED in reason:
            reasons[reason.split(NOT_TRIED, 1)[1]] = reasons.get(reason.split(NOT_TRIED, 1)[1], 0) + 1
    if reasons:
        terminalreporter.section("NOT TRIED ON THE REAL THING", sep="!", red=True, bold=True)
        for reason, count in reasons.items():
            terminalreporter.line(f"{count} tests skipped: {reason}", red=True)


@pytest.fixture
def bus_with() -> Iterator[StartBus]:
    """Starts real dbus-daemons that live as long as the test: `bus_with({name: command}).address`."""
    if shutil.which("dbus-daemon") is None:
        installed("install-desktop-tests")
    with ExitStack() as stack:

        def start(services: Mapping[str, str]) -> PrivateBus:
            bus = PrivateBus(services)
            stack.callback(bus.close)
            return bus

        yield start


@pytest.fixture
def private_bus(bus_with: StartBus) -> PrivateBus:
    """A real dbus-daemon of the test's own: `private_bus.address`."""
    return bus_with({})
