"""Notifications: of what happened by itself, with the reason, once; never of the person's own click."""

from collections.abc import Iterator

import pytest

from tests.desktop.gnome.desktop import UUID, Desktop
from tests.e2e.harness import wait_until

EXTENSION = f"Main.extensionManager.lookup({UUID!r}).stateObj"
TOLD = "Main.messageTray.getSources().flatMap(source => source.notifications.map(each => `${each.title}|${each.body}`))"


def told(desktop: Desktop, part: str) -> list[str]:
    """The notifications that say this."""
    return [text for text in desktop.shell.eval(TOLD) if part in text]


@pytest.fixture
def settled(desktop: Desktop) -> Iterator[Desktop]:
    """A desktop on battery in Auto, an hour after the daemon has started, as the extension sees it."""
    desktop.daemon.start()
    desktop.laptop.unplug()
    desktop.laptop.drain_to(60)
    desktop.daemon.choose("Auto")
    desktop.until_subtitle("Auto", "Balanced")
    desktop.shell.eval(f"{EXTENSION}._nowS = () => imports.gi.GLib.get_monotonic_time() / 1e6 + 3600; true")
    yield desktop
    desktop.shell.eval(f"delete {EXTENSION}._nowS")
    desktop.laptop.plug_in()


def test_a_change_of_auto_is_told_once_with_its_reason(settled: Desktop) -> None:
    for _ in range(2):
        settled.laptop.drain_to(43)
        settled.until_subtitle("Auto", "Efficiency")
        settled.laptop.drain_to(60)
        settled.until_subtitle("Auto", "Balanced")
    assert [text.split("|")[0] for text in told(settled, "Efficiency")] == ["Auto chose Efficiency"]
    assert "battery at 43 %" in told(settled, "Efficiency")[0]
    settled.picture("notification", whole=True)


def test_nothing_is_told_of_the_persons_own_click(settled: Desktop) -> None:
    for label in ("Performance", "Auto", "Quiet"):
        settled.pick(label)
        wait_until(lambda label=label: settled.daemon.mode() == label, f"the mode is {label}")  # type: ignore[misc]
        settled.until_subtitle(label)
    assert told(settled, "") == []


def test_where_it_is_not_wanted_a_change_of_auto_is_not_told(settled: Desktop) -> None:
    settled.set(UUID, "notify-auto", "false")
    try:
        settled.laptop.drain_to(15)
        settled.until_subtitle("Auto", "Ultra Efficiency")
        assert told(settled, "") == []
    finally:
        settled.set(UUID, "notify-auto", "true")


def test_a_click_that_fails_is_told(desktop: Desktop) -> None:
    desktop.daemon.end()
    desktop.daemon.break_it()
    try:
        desktop.pick("Start")
        wait_until(lambda: told(desktop, "could not be started"), "the person is told")
        desktop.until_subtitle("Not running")
    finally:
        desktop.daemon.mend_it()
    desktop.shell.eval("Main.messageTray.getSources().forEach(source => source.destroy())")
    desktop.pick("Start")
    desktop.daemon.ready()
