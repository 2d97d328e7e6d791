"""A desktop for each GNOME and each module of this folder; where it cannot be had, its tests are skipped loudly."""

import os
import shutil
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.desktop.gnome.desktop import Desktop, HoldDesktop, StartDesktop
from tests.desktop.gnome.packing import unpacked_extension
from tests.real_things import NOT_TRIED, installed

NAMES = {"trixie": "GNOME 48", "forky": "GNOME 50", "sid": "GNOME 51"}
"""The Debian releases whose Shells can be tested."""
SUITES = {suite: NAMES[suite] for suite in os.environ.get("GNOME_SUITES", "trixie forky sid").split()}
"""Those that are."""
SMALLEST = ("1280x720", "en")
"""The screen and the language of the pictures that are made on each."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these talk to the real thing; of the pictures all are made on the first GNOME alone."""
    items[:] = [item for item in items if not _repeats(item)]
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.real)


def _repeats(item: pytest.Item) -> bool:
    """Whether it is a picture in another language or on a larger screen than those of each GNOME."""
    callspec = getattr(item, "callspec", None)
    params: dict[str, Any] = {} if callspec is None else callspec.params
    return params.get("photographer", SMALLEST) != SMALLEST and bool(params["suite"] != next(iter(SUITES)))


@pytest.fixture(
    scope="session", params=SUITES, ids=[f"{suite}-{name.replace(' ', '')}" for suite, name in SUITES.items()]
)
def suite(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def root(suite: str) -> Path:
    """The Debian with the Shell of that release."""
    installed("install-desktop-tests")
    if os.getuid() != 0 and shutil.which("bwrap") is None:
        pytest.skip(f"{NOT_TRIED}bwrap is missing, which is needed where one is not root (package bubblewrap)")
    return Path(installed("make-root", "gnome", suite))


@pytest.fixture(autouse=True, scope="module")
def _no_web_proxy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            patch.delenv(name)
        yield


_running: list[Desktop] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """A failed test shows what the Shell and the daemon wrote last, and leaves a picture."""
    report: Any = yield
    if report.failed:
        for desktop in _running:
            report.sections += desktop.last_words(item.name)
    return report


@pytest.fixture(scope="session")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension as people install it."""
    return unpacked_extension(tmp_path_factory.mktemp("extension"))


@pytest.fixture(scope="module")
def hold_desktop(suite: str, root: Path, extension: Path) -> HoldDesktop:
    """Runs desktops, each for as long as its `with` lasts."""

    @contextmanager
    def hold(environment: Mapping[str, str] | None = None) -> Iterator[Desktop]:
        with closing(Desktop(suite, root, extension, environment)) as desktop:
            _running.append(desktop)
            try:
                yield desktop
            finally:
                _running.remove(desktop)

    return hold


@pytest.fixture
def start_desktop(hold_desktop: HoldDesktop) -> Iterator[StartDesktop]:
    """Starts desktops that end with the test: each that runs on takes its share of the processors."""
    with ExitStack() as stack:
        yield lambda environment=None: stack.enter_context(hold_desktop(environment))


@pytest.fixture(scope="module")
def module_desktop(hold_desktop: HoldDesktop) -> Iterator[Desktop]:
    with hold_desktop() as desktop:
        yield desktop


@pytest.fixture
def desktop(module_desktop: Desktop) -> Iterator[Desktop]:
    """The module's desktop, with its menus closed; at the end of each test its log must not have a new complaint."""
    before = len(module_desktop.shell.complaints())
    module_desktop.tidy()
    yield module_desktop
    assert not module_desktop.shell.complaints()[before:]
