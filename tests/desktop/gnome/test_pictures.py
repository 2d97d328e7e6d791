"""A picture of each state on each screen and in each language; nothing in it may be cut.

The smallest screen is pictured light and dark, which differ in colours alone; the others dark.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.desktop.gnome.desktop import TITLE, Desktop, HoldDesktop
from tests.desktop.gnome.stand_in import StandIn
from tests.desktop.gnome.states import APPLICATION, STATES, State
from tests.desktop.gnome.test_screens import IS_CUT, TITLES, furnish

SCREENS = [
    ("1280x720", "en"),
    ("1920x1080", "en"),
    ("1280x720", "de"),
    ("1280x720", "fr"),
]
ENTRY = "[Desktop Entry]\nType=Application\nName=Calls\nIcon=call-start-symbolic\nExec=true\n"
TEXT = ("org.gnome.desktop.interface", "text-scaling-factor")
FEWER = """(() => driver.all(driver.quickSettings().menu.actor, a => ['Power Mode', 'Night Light',
    'Airplane Mode', 'Keyboard'].includes(a.title)).forEach(tile => tile.hide()))()"""
ENERGY_LINES = """Math.max(0, ...driver.all(%s.menu.actor, a => a.mapped && a.clutter_text && a.text?.includes('Wh'))
    .map(a => a.clutter_text.get_layout().get_line_count()))"""
"""How many lines the day's energy takes."""
SCHEMES = ("prefer-light", "prefer-dark")
SCHEME = ("org.gnome.desktop.interface", "color-scheme")


class Photographer:
    """A laptop's Quick Settings on one screen in one language."""

    def __init__(self, desktop: Desktop, screen: str, language: str) -> None:
        self.desktop, self.screen, self.language = desktop, screen, language
        self.schemes = SCHEMES if (screen, language) == SCREENS[0] else SCHEMES[-1:]
        self.title = TITLES.get(language, TITLE)
        self.tile = f"driver.tile({self.title!r})"
        applications = desktop.session.home / ".local/share/applications"
        applications.mkdir(parents=True)
        (applications / f"{APPLICATION}.desktop").write_text(ENTRY)
        furnish(desktop, 6)

    def shoot(self, name: str) -> None:
        """The menu; nothing is cut, and all of it is on the screen."""
        shell = self.desktop.shell
        shell.eval(f"driver.openMenuOf({self.title!r})")
        for scheme in self.schemes:
            self.desktop.set(*SCHEME, f"'{scheme}'")
            shell.eval("driver.moveTo(20, global.stage.height - 20)")  # nothing is hovered
            shell.eval("driver.sleep(60)")
            picture = Path(self.screen) / self.language / f"{name}-{scheme.removeprefix('prefer-')}"
            (self.desktop.pictures / picture).parent.mkdir(parents=True, exist_ok=True)
            (self.desktop.pictures / picture).parent.chmod(0o777)
            (self.desktop.pictures / self.screen).chmod(0o777)
            self.desktop.picture(str(picture), whole=True)
            for part in (self.tile, f"{self.tile}.menu.actor"):
                assert shell.eval(IS_CUT % part) == [], f"{name}, {scheme}"
            assert shell.eval(f"driver.isOnScreen({self.tile}.menu.box)"), name
            assert shell.eval(ENERGY_LINES % self.tile) <= 1, name
        self.desktop.close_menus()


@pytest.fixture(scope="module", params=SCREENS, ids="-".join)
def photographer(request: pytest.FixtureRequest, hold_desktop: HoldDesktop) -> Iterator[Photographer]:
    screen, language = request.param
    with hold_desktop({"MONITOR": screen, "LANG": "en_US.UTF-8", "LANGUAGE": language}) as desktop:
        yield Photographer(desktop, screen, language)


def shown(photographer: Photographer, state: State) -> StandIn:
    desktop = photographer.desktop
    daemon = StandIn(desktop.session.session_bus.address, state.efficiency, state.backends, others=state.others)
    said = f"imports.gi.GLib.dgettext('ollama-proxy@fio.ie', {state.subtitle!r})"
    desktop.shell.until(f"{photographer.tile}.subtitle === {said}")
    return daemon


@pytest.mark.parametrize("name", STATES)
def test_a_state_is_shown_whole(photographer: Photographer, name: str) -> None:
    with shown(photographer, STATES[name]):
        photographer.shoot(name)
    assert photographer.desktop.shell.complaints() == []


def test_without_a_daemon_it_is_shown_whole(photographer: Photographer) -> None:
    desktop = photographer.desktop
    photographer.shoot("not-running")
    (desktop.session.session_bus.folder / "services" / "ie.fio.OllamaProxy.service").unlink()
    desktop.shell.bus.ask("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.ReloadConfig")
    desktop.open_tile()
    desktop.shell.click(photographer.tile)
    desktop.shell.until(f"{photographer.tile}.menu.isOpen || {photographer.tile}.subtitle !== ''")
    photographer.shoot("not-installed")


def test_with_text_twice_as_large_it_is_shown_whole(photographer: Photographer) -> None:
    # No Shell has room for eight tiles and two sliders then, with or without this one.
    photographer.desktop.shell.eval(FEWER)
    photographer.desktop.set(*TEXT, "2.0")
    try:
        with shown(photographer, STATES["auto"]):
            photographer.shoot("text-twice-as-large")
    finally:
        photographer.desktop.set(*TEXT, "1.0")
