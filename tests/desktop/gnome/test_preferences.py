"""The preferences: they open from the menu, and what a person changes there is kept by whom it belongs to."""

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.desktop.gnome.desktop import UUID, Desktop
from tests.desktop.gnome.driver import SHELLS_OWN
from tests.e2e.harness import wait_until

WINDOW = "global.get_window_actors().find(a => a.mapped && a.meta_window.title === 'AI Efficiency')"
FRAME = f"{WINDOW}.meta_window.get_frame_rect()"
SWITCHES = 235
"""How far right of the window's middle the rows have their switches: rows are not wider in a wider window."""
FIRST_ON_GENERAL, FIRST_ON_AUTO = 375, 150
"""How far below the window's top the first switch of a page is, about."""
EFFECT_WITHIN_S = 3.0
AUTO, MACHINE = 0, 150
"""How far right of the title bar's middle the names of these pages are."""
SERVICE = "org.gnome.Shell.Extensions"


@pytest.fixture
def preferences(desktop: Desktop) -> Iterator[Desktop]:
    """The preferences, opened by a click in the tile's menu."""
    desktop.daemon.start()
    if desktop.shell.bus.owner_of(SERVICE) is None:
        desktop.session.run(f"gjs -m /usr/share/gnome-shell/{SERVICE}")
        wait_until(lambda: desktop.shell.bus.owner_of(SERVICE), "the Shell's service for preferences is there")
    desktop.pick("Settings")
    desktop.shell.until(f"{WINDOW} && global.display.focus_window")
    desktop.shell.eval("driver.sleep(300)")
    yield desktop
    desktop.shell.eval(f"{WINDOW}?.meta_window.delete(global.display.get_current_time_roundtrip()); true")
    desktop.shell.until(f"!{WINDOW}")


def click_down_until(desktop: Desktop, is_so: Callable[[], bool], first: int) -> None:
    """Click where the rows have their switches, from that far below the window's top, until a click has made it so."""
    left, top, width, height = desktop.shell.eval(f"(({{x, y, width, height}}) => [x, y, width, height])({FRAME})")
    for below in range(first, height, 25):
        desktop.shell.eval(f"driver.clickAt({left + width / 2 + SWITCHES}, {top + below})")
        with suppress(AssertionError):  # nothing is there, or something else
            wait_until(is_so, "the click has its effect", EFFECT_WITHIN_S)
            return
    raise AssertionError(desktop.session.settings_file.read_text())


def go_to_page(desktop: Desktop, beside_middle: int) -> None:
    """Click in the title bar, where the names of the three pages are, the second in the middle."""
    desktop.shell.eval(f"(({{x, y, width}}) => driver.clickAt(x + width / 2 + {beside_middle}, y + 23))({FRAME})")
    desktop.shell.eval("driver.sleep(300)")


def said_by_gjs(desktop: Desktop) -> list[str]:
    lines = desktop.session.commands_log.read_text().splitlines()
    return [line for line in lines if line and not SHELLS_OWN.search(line)]


def test_they_open_and_say_nothing_in_the_log(preferences: Desktop) -> None:
    preferences.picture("preferences", whole=True)
    assert said_by_gjs(preferences) == []


def test_what_belongs_to_the_extension_is_saved(preferences: Desktop) -> None:
    def is_saved() -> bool:
        return "notify-auto=false" in preferences.session.settings_file.read_text()

    assert not is_saved()
    click_down_until(preferences, is_saved, FIRST_ON_GENERAL)
    preferences.set(UUID, "notify-auto", "true")
    assert said_by_gjs(preferences) == []


def test_what_belongs_to_the_daemon_is_written_to_it(preferences: Desktop) -> None:
    assert not preferences.daemon.get("Efficiency", "Settings")["quiet_hours_enabled"]
    go_to_page(preferences, AUTO)
    preferences.picture("preferences-auto", whole=True)

    def is_changed() -> bool:
        return bool(preferences.daemon.get("Efficiency", "ChangedSettings"))

    click_down_until(preferences, is_changed, FIRST_ON_AUTO)
    assert preferences.daemon.get("Efficiency", "ChangedSettings") == ["quiet_hours_enabled"]
    assert preferences.daemon.get("Efficiency", "Settings")["quiet_hours_enabled"]
    preferences.daemon.call("Efficiency", "ResetSettings", "as", [])
    assert said_by_gjs(preferences) == []


def test_what_was_found_on_this_machine_is_shown(preferences: Desktop) -> None:
    go_to_page(preferences, MACHINE)
    preferences.shell.eval("driver.sleep(300)")
    preferences.picture("preferences-this-machine", whole=True)
    assert said_by_gjs(preferences) == []


def test_without_the_daemon_they_say_so(preferences: Desktop) -> None:
    preferences.daemon.end()
    go_to_page(preferences, AUTO)
    preferences.shell.eval("driver.frame()")
    preferences.picture("preferences-without-the-daemon", whole=True)
    assert preferences.shell.eval(f"!!{WINDOW}")
    assert said_by_gjs(preferences) == []
