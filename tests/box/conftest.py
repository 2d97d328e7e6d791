"""One box for all tests of this folder, with the project in it; without what it needs they are skipped loudly."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.box import desktop_in_box, installation
from tests.box.box import Box
from tests.box.desktop_in_box import shell_in
from tests.box.laptop_in_box import LaptopInBox
from tests.box.service import CONFIG, SOCKET, STATE, UNIT, UNITS, Service
from tests.desktop.gnome.desktop import UUID
from tests.desktop.gnome.driver import Shell
from tests.desktop.gnome.packing import unpacked_extension
from tests.e2e import tiny_model
from tests.real_things import installed

UPOWER = ("org.freedesktop.UPower", "/org/freedesktop/UPower", "org.freedesktop.UPower")
SERVICE = pytest.StashKey[Service]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """A failed test shows what the service and its manager said."""
    report: Any = yield
    service = item.stash.get(SERVICE, None)
    if report.failed and service is not None:
        report.sections.append(("the journal of the service", service.said(UNIT, SOCKET)))
    return report


@pytest.fixture(scope="session")
def box_root() -> Path:
    """The folder of the Debian that is booted."""
    return Path(installed("install-box-tests").splitlines()[0])


@pytest.fixture(scope="session")
def desktop_shown() -> Mapping[Path, str]:
    """What the box has to show for a desktop; nothing where that cannot be had: only its tests are skipped."""
    with suppress(pytest.skip.Exception):
        return desktop_in_box.shown(Path(installed("make-root", "gnome", "trixie")))
    return {}


@pytest.fixture(scope="session")
def box(box_root: Path, desktop_shown: Mapping[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A laptop with the project installed for its user, and two real engines; the daemon does not run yet."""
    wheels = Path(installed("install-box-tests").splitlines()[1])
    model = tiny_model.build(tmp_path_factory.mktemp("model") / "tiny.gguf")
    with Box(box_root, {**installation.shown(wheels, model), **desktop_shown}) as running:
        installation.install(running)
        installation.start_engines(running)
        yield running


@pytest.fixture
def laptop(box: Box) -> LaptopInBox:
    """The laptop of the box, on its charger with a battery that is nearly full."""
    # Ask first: a UPower that is just starting might look before the change, and listen after it.
    box.user("busctl", "--system", "get-property", *UPOWER, "OnBattery")
    laptop = LaptopInBox(box)
    laptop.set_power(online=True, percent=90)
    return laptop


@pytest.fixture
def shell(box: Box, desktop_shown: Mapping[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """The person's desktop with the extension."""
    if not desktop_shown:
        installed("make-root", "gnome", "trixie")  # skips, and says why
    with shell_in(box, {UUID: unpacked_extension(tmp_path_factory.mktemp("extension"))}) as shell:
        yield shell


@pytest.fixture
def service(box: Box, request: pytest.FixtureRequest) -> Iterator[Service]:
    """The service as it was installed: stopped, with a configuration and no memory."""
    service = Service(box)
    request.node.stash[SERVICE] = service
    service.mark()
    service.configure(installation.config())
    yield service
    service.systemctl("stop", SOCKET, UNIT)
    service.systemctl("reset-failed", SOCKET, UNIT, check=False)
    drop_ins = [f"{UNITS}/{unit}.d" for unit in (UNIT, SOCKET)]
    if any(box.path(folder).exists() for folder in drop_ins):
        box.user("rm", "-rf", *drop_ins)
        service.systemctl("daemon-reload")
    box.user("rm", "-rf", STATE, CONFIG)
