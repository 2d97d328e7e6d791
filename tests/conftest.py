"""What all tests share: a bus of their own, and a loud word about what was skipped."""

import asyncio
import os
import shutil
import signal
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from ollama_proxyd.sim.virtual_time import VirtualTimeLoop
from tests.desktop.private_bus import PrivateBus, StartBus
from tests.real_things import NOT_TRIED, installed

pytest_plugins = ["tests.time_limit"]

for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:  # under nohup, or in the background: programs would inherit it
        signal.signal(_number, lambda *_: None)

NOTHING_SKIPPED = bool(os.environ.get("TESTS_SKIP_NOTHING"))
"""As .ci/run has it: a skipped test is a failed one, and hypothesis tries more examples, the same each time."""
settings.register_profile(
    "house", deadline=None, max_examples=100 if NOTHING_SKIPPED else 25, derandomize=NOTHING_SKIPPED
)
settings.load_profile("house")

FAULTS_S = 7200 if os.environ.get("FAULTS_ALL") else 900  # its first test runs the matrix: 13,000 cases, else 1,700
TIME_LIMITS_S = {
    "box": 900,
    "desktop": 600,
    "e2e": 600,
    "extension": 600,
    "faults": FAULTS_S,
    "house": 600,
    "packaging": 600,
}
"""For the folders whose fixtures fetch programs or start whole systems; all other tests have pyproject.toml's limit."""
GNOME = "desktop/gnome"  # one for each Shell
SHARED = (
    "box/test_box_image",
    "box/test_box_traces",
    "box/test_deb",
    "box/test_install",
    "box",
    "e2e/browser",
    "e2e/test_client_suites",
    "e2e/test_real_engine_memory",
    "e2e/test_real_engines",
    "e2e/test_real_memory",
    "e2e/test_real_own_ollama",
    "e2e/test_real_schemathesis",
    "e2e",
    "faults/test_general_client",
    "faults/test_matrix",
    "faults/test_real_engines",
    "faults",
    GNOME,
    "house/test_bad_radio",
    "house/test_ipv6",
    "house/test_leaving",
    "house/test_short_losses",
    "house/test_two_machines",
    "packaging/test_deb",
    "packaging/test_wheel",
)
"""Where tests share what is dear to start: a booted system, engines, a desktop, a package. They share a worker too.

Of two that fit the first counts: what needs little of the others' has a worker of its own."""

ON_VIRTUAL_TIME = (
    "services/",
    "app/test_idle_exit",
    "edges/dbus_api/test_following",
    "edges/http_api/test_slow_bodies",
    "edges/plumbing/test_http_reply",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests of slow folders their time; what chance reaches is not measured, which would take twice as long."""
    for item in items:
        if item.get_closest_marker("hypothesis"):
            item.add_marker(pytest.mark.no_cover)
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in TIME_LIMITS_S:
            item.add_marker(pytest.mark.timeout(TIME_LIMITS_S[folder]))


class SharedTogether(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist has no types
    """Gives tests that share something to one worker; with pytest 9.2 the mark xdist_group does not."""

    def _split_scope(self, nodeid: str) -> str:
        path, _, parameters = nodeid.removeprefix("tests/").partition("[")
        shared = next((each for each in SHARED if path.startswith(each)), nodeid)
        return f"{shared} {parameters.partition('-')[0]}" if shared == GNOME else shared


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Of pytest-xdist, for --dist loadgroup."""
    return SharedTogether(config, log) if config.getoption("dist") == "loadgroup" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail what was skipped, where nothing may be."""
    report: Any = yield
    if NOTHING_SKIPPED and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped: {report.longrepr[2]}"
    return report


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Virtual time where nothing real is waited for."""
    path = item.path.relative_to(Path(__file__).parent).as_posix()
    return {"loop": VirtualTimeLoop if path.startswith(ON_VIRTUAL_TIME) else asyncio.new_event_loop}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What tests want to show is shown; what was not tried on the real thing is said aloud, with its number."""
    for report in [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]:
        for name, text in report.user_properties:
            if name == "shown" and report.when == "call":
                terminalreporter.section(report.nodeid)
                terminalreporter.line(text)
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
