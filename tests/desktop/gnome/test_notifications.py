"""Notifications: of what happened by itself, with the reason, once; never of the person's own click."""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from dbus_fast import Variant

from tests.desktop.gnome.desktop import MENU, TILE, UUID, Desktop
from tests.desktop.gnome.stand_in import NAME, StandIn, Values
from tests.e2e.harness import wait_until

EXTENSION = f"Main.extensionManager.lookup({UUID!r}).stateObj"
TOLD = "Main.messageTray.getSources().flatMap(source => source.notifications.map(each => `${each.title}|${each.body}`))"

PING = f"""new Promise(resolve => imports.gi.Gio.DBus.session.call(
    {NAME!r}, '/', 'org.freedesktop.DBus.Peer', 'Ping', null, null, 0, -1, null, () => resolve(true)))"""
"""A question of the Shell's to the daemon, and its answer."""


def told(desktop: Desktop, part: str) -> list[str]:
    """The notifications that say this."""
    return [text for text in desktop.shell.eval(TOLD) if part in text]


UP = {"Id": Variant("s", "npu"), "Name": Variant("s", "NPU"), "Health": Variant("s", "up"), "Reason": Variant("s", "")}
DOWN = {"Health": Variant("s", "down"), "Reason": Variant("s", "nothing listens at port 1")}


@contextmanager
def fleet_of_one(
    desktop: Desktop, backend: Values = UP, others: Mapping[str, Values] | None = None
) -> Iterator[StandIn]:
    """A daemon with one backend, which does what the test says."""
    desktop.daemon.end()
    efficiency = {"CurrentMode": Variant("s", "Balanced")}
    with StandIn(desktop.session.session_bus.address, efficiency, {"npu": backend}, others=others) as daemon:
        desktop.until_subtitle("Balanced")
        yield daemon
    desktop.until_subtitle("Not running")


def until_all_is_heard(desktop: Desktop, daemon: StandIn) -> None:
    """Wait until a change is shown that was told after all others, and the answers of what they led to are there."""
    daemon.change("Efficiency", CurrentMode=Variant("s", "Auto"))
    desktop.shell.until(f"{TILE}.checked")
    for _ in range(2):  # answers come in the order of the questions, and one may lead to one more
        desktop.shell.eval(PING)


def throttle_for_a_moment(desktop: Desktop, count: int) -> None:
    """Have the processor's counter of throttling rise once."""
    for path in desktop.sysfs.root.glob("devices/system/cpu/cpu*/thermal_throttle/package_throttle_count"):
        desktop.sysfs.write(str(path.relative_to(desktop.sysfs.root)), count)


@pytest.fixture
def settled(desktop: Desktop) -> Iterator[Desktop]:
    """A desktop on battery in Auto, an hour after the daemon has started, as the extension sees it."""
    desktop.daemon.start()
    desktop.laptop.unplug()
    desktop.laptop.drain_to(60)
    desktop.daemon.choose("Auto")
    desktop.until_subtitle("Balanced")
    desktop.shell.eval(f"{EXTENSION}._nowS = () => imports.gi.GLib.get_monotonic_time() / 1e6 + 3600; true")
    yield desktop
    desktop.shell.eval(f"delete {EXTENSION}._nowS")
    desktop.laptop.plug_in()


def test_a_change_of_auto_is_told_once_with_its_reason(settled: Desktop) -> None:
    settled.laptop.drain_to(43)
    wait_until(lambda: told(settled, "Auto switched to Efficiency|Battery below 50%"), "it is told")
    settled.picture("notification", whole=True)
    settled.laptop.drain_to(60)
    settled.until_subtitle("Balanced")
    settled.tidy()
    settled.laptop.drain_to(43)
    settled.until_subtitle("Efficiency")
    assert told(settled, "Efficiency") == []


def test_nothing_is_told_of_the_persons_own_click(settled: Desktop) -> None:
    for label in ("Performance", "Auto", "Quiet"):
        settled.pick(label)
        wait_until(lambda label=label: settled.daemon.mode() == label, f"the mode is {label}")  # type: ignore[misc]
        settled.until_subtitle("" if label == "Auto" else label)
    assert told(settled, "") == []


def test_where_it_is_not_wanted_a_change_of_auto_is_not_told(settled: Desktop) -> None:
    settled.set(UUID, "notify-auto", "false")
    try:
        settled.drain_to(43, 30, 15)
        settled.until_subtitle("Ultra Efficiency")
        assert told(settled, "") == []
    finally:
        settled.set(UUID, "notify-auto", "true")


def test_a_backend_that_is_down_has_one_notification_which_goes_when_it_is_back(desktop: Desktop) -> None:
    with fleet_of_one(desktop) as daemon:
        for _ in range(2):
            daemon.change("Backends/npu", **DOWN)
            daemon.say("Backends", "BackendStatusChanged", "sb", "npu", False)
            wait_until(lambda: told(desktop, "NPU is down"), "it is told that it is down")
            assert told(desktop, "NPU") == ["NPU is down|Nothing listens at port 1"]
            daemon.change("Backends/npu", **UP)
            daemon.say("Backends", "BackendStatusChanged", "sb", "npu", True)
            wait_until(lambda: not told(desktop, "NPU"), "it is withdrawn")


def test_a_click_on_a_notification_opens_the_menu(desktop: Desktop) -> None:
    with fleet_of_one(desktop) as daemon:
        daemon.change("Backends/npu", **DOWN)
        daemon.say("Backends", "BackendStatusChanged", "sb", "npu", False)
        wait_until(lambda: told(desktop, "NPU is down"), "it is told")
        desktop.picture("notification-down", whole=True)
        notification = "Main.messageTray.getSources().flatMap(source => source.notifications)[0]"
        desktop.shell.eval(f"{notification}.activate()")
        desktop.shell.until(f"{MENU}.isOpen")
        desktop.close_menus()


def test_where_it_is_not_wanted_a_backends_end_is_not_told(desktop: Desktop) -> None:
    desktop.set(UUID, "notify-backends", "false")
    try:
        with fleet_of_one(desktop) as daemon:
            daemon.change("Backends/npu", **DOWN)
            daemon.say("Backends", "BackendStatusChanged", "sb", "npu", False)
            until_all_is_heard(desktop, daemon)
            assert told(desktop, "") == []
    finally:
        desktop.set(UUID, "notify-backends", "true")


def device(throttling: str = "") -> dict[str, Variant]:
    """A graphics card, as the object Thermal tells of it."""
    told = {"id": "0000:01:00.0", "name": "RTX 4060", "hardware": "nvidia"}
    values = {**told, "throttling": throttling} if throttling else told
    return {"Devices": Variant("aa{sv}", [{key: Variant("s", value) for key, value in values.items()}])}


@pytest.mark.parametrize("working", [True, False])
def test_throttling_is_told_while_a_request_runs_on_that_device_and_withdrawn_after_it(
    desktop: Desktop, working: bool
) -> None:
    gpu = {**UP, "Hardware": Variant("s", "nvidia"), "InFlight": Variant("i", int(working))}
    desktop.set(UUID, "notify-throttling", "true")
    try:
        with fleet_of_one(desktop, gpu, {"Thermal": device()}) as daemon:
            daemon.change("Thermal", **device("power cap"))
            daemon.say("Thermal", "ThrottlingStarted", "s", "0000:01:00.0")
            until_all_is_heard(desktop, daemon)
            assert told(desktop, "") == (["RTX 4060 is throttled|Power cap"] if working else [])
            daemon.change("Thermal", **device())
            daemon.say("Thermal", "ThrottlingStopped", "s", "0000:01:00.0")
            wait_until(lambda: not told(desktop, ""), "it is withdrawn")
    finally:
        desktop.set(UUID, "notify-throttling", "false")


def test_throttling_is_told_only_where_it_is_wanted(desktop: Desktop) -> None:
    desktop.start_in("Balanced")
    counts = itertools.count(4)

    def is_throttled() -> bool:
        throttle_for_a_moment(desktop, next(counts))
        return bool(desktop.daemon.get("Thermal", "ThrottlingActive"))

    wait_until(is_throttled, "the processor is throttled")
    wait_until(lambda: desktop.daemon.get("Thermal", "ThrottlingActive") is False, "it is over")
    assert told(desktop, "throttled") == []


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
