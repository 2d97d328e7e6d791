"""The preferences: they open from the menu, and what a person changes there is kept by whom it belongs to."""

import time
from collections.abc import Iterator

import pytest

from ollama_proxyd.core.energy import Energy, Source
from ollama_proxyd.edges.storage.history_file import HistoryFile, history_path
from ollama_proxyd.edges.storage.settings import HistorySettings
from ollama_proxyd.services.history import mode_row
from tests.desktop.gnome.desktop import UUID, Desktop
from tests.desktop.gnome.driver import SHELLS_OWN
from tests.desktop.gnome.preferences import WINDOW, Preferences
from tests.e2e.harness import wait_until
from tests.edges.storage.test_history_queries import attempt


@pytest.fixture
def preferences(desktop: Desktop) -> Iterator[Preferences]:
    desktop.daemon.start()
    preferences = Preferences(desktop)
    yield preferences
    preferences.close()


def said_by_gjs(desktop: Desktop) -> list[str]:
    lines = desktop.session.commands_log.read_text().splitlines()
    return [line for line in lines if line and not SHELLS_OWN.search(line)]


def test_they_open_and_say_nothing_in_the_log(desktop: Desktop, preferences: Preferences) -> None:
    preferences.until_says("Notifications")
    preferences.picture("preferences")
    assert said_by_gjs(desktop) == []


def test_what_belongs_to_the_extension_is_saved(desktop: Desktop, preferences: Preferences) -> None:
    settings = desktop.session.settings_file
    assert "notify-auto" not in settings.read_text()
    preferences.turn("Auto Switches Modes")
    wait_until(lambda: "notify-auto=false" in settings.read_text(), "the extension's setting is saved")
    desktop.set(UUID, "notify-auto", "true")
    assert said_by_gjs(desktop) == []


def test_what_belongs_to_the_daemon_is_written_to_it(desktop: Desktop, preferences: Preferences) -> None:
    assert not desktop.daemon.get("Efficiency", "Settings")["quiet_hours_enabled"]
    preferences.go_to("Auto")
    preferences.until_says("Keep Quiet Hours")
    preferences.picture("preferences-auto")
    preferences.turn("Keep Quiet Hours")
    wait_until(lambda: desktop.daemon.get("Efficiency", "ChangedSettings"), "the daemon's setting is changed")
    assert desktop.daemon.get("Efficiency", "ChangedSettings") == ["quiet_hours_enabled"]
    assert desktop.daemon.get("Efficiency", "Settings")["quiet_hours_enabled"]
    desktop.daemon.call("Efficiency", "ResetSettings", "as", [])
    assert said_by_gjs(desktop) == []


def a_day_of_work(desktop: Desktop) -> None:
    """What the history would have of a day; the daemon may be writing to it."""
    now_s = time.time()
    of_each = (("npu", 300.0, range(0, 20, 2)), ("igpu", 900.0, range(3, 15)), ("nvidia", 2600.0, (1, 8, 9)))
    rows = [
        attempt(
            now_s - hour * 3600, backend_id=id_, energy=Energy(0.0, joules * (1 + hour % 4), 0.0, Source.MEASURED, 0.1)
        )
        for id_, joules, hours in of_each
        for hour in hours
    ]
    modes = [(20, "Quiet"), (12, "Balanced"), (8, "Performance"), (6, "Efficiency")]
    file = HistoryFile(history_path(desktop.daemon.log.parent / "state/ollama-proxyd/state.json"), HistorySettings())
    file.add([*rows, *(mode_row(now_s - hour * 3600, "Auto", mode) for hour, mode in modes)])
    file.close()


def test_what_was_found_on_this_machine_is_shown(desktop: Desktop, preferences: Preferences) -> None:
    desktop.daemon.ask_whole()
    a_day_of_work(desktop)
    desktop.daemon.choose("Efficiency")
    preferences.go_to("This Machine")
    preferences.until_says("Simulated NPU")
    preferences.until_says("Last 24 Hours")
    wait_until(lambda: any("Wh for answers" in text for text in preferences.eval("prefs.texts()")), "the day is told")
    preferences.picture("preferences-this-machine")
    assert said_by_gjs(desktop) == []


def test_without_the_daemon_they_say_so(desktop: Desktop, preferences: Preferences) -> None:
    desktop.daemon.end()
    preferences.go_to("Auto")
    preferences.until_says("Not running")
    preferences.until_says("Start")
    preferences.picture("preferences-without-the-daemon")
    assert desktop.shell.eval(f"!!{WINDOW}")
    assert said_by_gjs(desktop) == []
