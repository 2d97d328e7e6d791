"""A desktop with the extension: a fake laptop, a real GNOME Shell on its buses, and the daemon as a service."""

import re
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Protocol

from tests.desktop.gnome.activated import ActivatedDaemon
from tests.desktop.gnome.driver import Shell
from tests.desktop.gnome.session import Session, desktop_bus
from tests.desktop.laptop import Laptop
from tests.e2e.harness import ROOT
from tests.upstreams.sysfs_tree import NVIDIA_GPU
from tests.upstreams.sysfs_tree import laptop as sysfs_of_a_laptop

UUID = "ollama-proxy@fio.ie"
TITLE = "AI Efficiency"
TILE = f"driver.tile({TITLE!r})"
MENU = f"{TILE}.menu"
PANEL_ICON = f"driver.all(driver.quickSettings(), a => a.accessible_name?.startsWith({TITLE!r}))[0]"


class Desktop:
    """What a person sits in front of; `close` ends it all.

    The daemon does not run at first. root: the Debian with the Shell of that suite. extension: its folder as it is
    installed. pictures: the folder for this Shell's screenshots.
    """

    def __init__(self, suite: str, root: Path, extension: Path, environment: Mapping[str, str] | None = None) -> None:
        with ExitStack() as undo:
            folder = Path(tempfile.mkdtemp(prefix="desk-"))
            undo.callback(shutil.rmtree, folder, ignore_errors=True)
            self.laptop = undo.enter_context(Laptop())
            self.sysfs = sysfs_of_a_laptop(folder / "sys")
            self.sysfs.wake(NVIDIA_GPU)
            self.daemon = ActivatedDaemon(folder, self.laptop.system_bus.address, folder / "sys")
            session_bus = desktop_bus({"ie.fio.OllamaProxy": self.daemon.command})
            undo.callback(session_bus.close)
            self.pictures = ROOT / "test-artifacts" / f"gnome-{suite}"
            self.pictures.mkdir(parents=True, exist_ok=True)
            buses = (session_bus, self.laptop.system_bus)
            extensions = {UUID: extension}
            self.session = undo.enter_context(Session(root, buses, self.pictures, extensions, environment))
            self.shell = Shell(self.session)
            undo.callback(self.shell.close)
            self.daemon.connect(self.shell.bus)
            undo.callback(self.daemon.end)
            self._undo = undo.pop_all()

    # looking

    def subtitle(self) -> str:
        """What the tile says below its title."""
        text: str = self.shell.eval(f"{TILE}.subtitle")
        return text

    def until_subtitle(self, *parts: str) -> None:
        """Wait until the tile says all of this below its title."""
        for part in parts:
            self.shell.until(f"({TILE}.subtitle ?? '').includes({part!r})")

    def texts(self) -> list[str]:
        """What can be read in the tile's menu."""
        texts: list[str] = self.shell.eval(f"driver.texts({MENU}.actor)")
        return texts

    def until_menu_says(self, part: str) -> None:
        """Wait until some text of the open menu contains this."""
        self.shell.until(f"driver.texts({MENU}.actor).some(text => text.includes({part!r}))")

    def is_checked(self, text: str) -> bool:
        """Whether what says this in the open menu is checked, as a screen reader tells it."""
        item = f"driver.withText({MENU}.actor, {text!r})"
        states = f"{item}.get_accessible().ref_state_set()"
        checked: bool = self.shell.eval(f"{states}.contains_state(imports.gi.Atk.StateType.CHECKED)")
        return checked

    def picture(self, name: str, whole: bool = False) -> Path:
        """A screenshot of Quick Settings, or of the whole screen."""
        return self.shell.screenshot(self.pictures / f"{name}.png", "" if whole else "driver.quickSettings().menu.box")

    # doing

    def start_in(self, mode: str) -> None:
        """Have the daemon run, in this mode whatever an earlier test has left, and the tile say so."""
        self.daemon.start()
        self.daemon.choose(mode)
        self.until_subtitle(mode if mode != "Auto" else "")

    def drain_to(self, *percents: int) -> None:
        """Have the battery be that full, one after the other: more than 20 % at once is not believed for a while."""
        for percent in percents:
            self.laptop.drain_to(percent)
            self.daemon.until_battery(percent)

    def open_menu(self) -> None:
        """Open Quick Settings and the tile's menu by real clicks."""
        self.shell.eval(f"driver.openMenuOf({TITLE!r})")

    def open_tile(self) -> None:
        """Open Quick Settings by a real click."""
        self.shell.eval("driver.openQuickSettings()")

    def close_menus(self) -> None:
        self.shell.eval("driver.closeMenus()")

    def pick(self, text: str) -> None:
        """A real click on what says this in the tile's menu."""
        self.open_menu()
        self.shell.click(f"driver.withText({MENU}.actor, {text!r})")

    def set(self, schema: str, key: str, value: str) -> None:
        """Change a setting of the desktop, or of the extension (schema: its uuid), as `gsettings set` does."""
        settings = f"new imports.gi.Gio.Settings({{schema_id: {schema!r}}})"
        if schema == UUID:
            settings = f"Main.extensionManager.lookup({UUID!r}).stateObj.getSettings()"
        self.shell.eval(f"{settings}.set_value({key!r}, imports.gi.GLib.Variant.parse(null, {value!r}, null, null))")

    def tidy(self) -> None:
        """As a test wants to find it: no open menu, no notification."""
        self.close_menus()
        self.shell.eval("Main.messageTray.getSources().forEach(source => source.destroy())")

    def last_words(self, name: str) -> list[tuple[str, str]]:
        """What the Shell and the daemon wrote last; a picture of the screen is left under that name."""
        words = [("the Shell's last words", self.session.log_text()[-6000:])]
        if self.daemon.log.exists():
            words.append(("the daemon's last words", self.daemon.log.read_text()[-3000:]))
        with suppress(AssertionError):
            self.shell.screenshot(self.pictures / f"failed-{re.sub('[^a-z0-9]+', '-', name.lower())}.png")
        return words

    def close(self) -> None:
        self._undo.close()


class StartDesktop(Protocol):
    """Starts a desktop; the environment is added to the session's."""

    def __call__(self, environment: Mapping[str, str] | None = None) -> Desktop: ...


class HoldDesktop(Protocol):
    """Runs a desktop until the `with` ends."""

    def __call__(self, environment: Mapping[str, str] | None = None) -> AbstractContextManager[Desktop]: ...
