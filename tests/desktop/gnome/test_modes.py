"""Real clicks on the modes: the daemon's mode and the next request's way follow them; what others choose is shown."""

import asyncio
import sys
import time

import pytest
from dbus_fast import Message
from dbus_fast.aio import MessageBus

from tests.desktop.gnome.desktop import TILE, Desktop
from tests.desktop.gnome.stand_in import NAME, ROOT
from tests.e2e.harness import wait_until

EFFICIENCY = (f"{ROOT}/Efficiency", f"{NAME}.Efficiency")
ROUTES = {"Performance": "nvidia", "Balanced": "igpu", "Efficiency": "npu", "Quiet": "npu", "UltraEfficiency": "npu"}
"""Where a request goes in each mode that a person can choose by hand."""


def labels_of(desktop: Desktop) -> dict[str, str]:
    """The label of each mode, as the daemon tells them."""
    return {mode["mode"]: mode["label"] for mode in desktop.daemon.get("Efficiency", "Modes")}


def test_a_click_on_each_mode_changes_the_mode_and_the_way_of_the_next_request(desktop: Desktop) -> None:
    desktop.daemon.start()
    labels = labels_of(desktop)
    assert set(labels) == {*ROUTES, "Auto"}
    for token in [*ROUTES, "Auto", "Performance"]:
        desktop.pick(labels[token])
        wait_until(lambda token=token: desktop.daemon.mode() == token, f"the mode is {token}")  # type: ignore[misc]
        desktop.until_subtitle(labels[desktop.daemon.get("Efficiency", "EffectiveMode")])
        in_force = desktop.daemon.get("Efficiency", "EffectiveMode")
        assert desktop.daemon.route() == ROUTES[in_force], token
        desktop.open_menu()
        assert [label for label in labels.values() if desktop.is_checked(label)] == [labels[token]]
        desktop.picture(f"menu-{token.lower()}")


def test_a_click_on_the_tile_switches_between_auto_and_the_last_mode_chosen_by_hand(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.pick("Efficiency")
    wait_until(lambda: desktop.daemon.mode() == "Efficiency", "Efficiency is chosen")
    desktop.until_subtitle("Efficiency")
    for token in ("Auto", "Efficiency", "Auto"):
        desktop.open_tile()
        desktop.shell.click(TILE)
        wait_until(lambda token=token: desktop.daemon.mode() == token, f"the mode is {token}")  # type: ignore[misc]
        desktop.shell.until(f"{TILE}.checked === {str(token == 'Auto').lower()}")


def test_the_modes_icons_differ_from_each_other(desktop: Desktop) -> None:
    desktop.daemon.start()
    seen = set()
    for token, label in labels_of(desktop).items():
        desktop.daemon.choose(token)
        desktop.shell.until(f"{TILE}.checked === {str(token == 'Auto').lower()}")
        desktop.until_subtitle("" if token == "Auto" else label)
        seen.add(desktop.shell.eval(f"{TILE}.gicon.to_string()"))
    assert len(seen) == 6


def test_performance_can_be_had_for_an_hour_and_ended_before(desktop: Desktop) -> None:
    desktop.start_in("Balanced")
    desktop.pick("Performance for 1 Hour")
    desktop.until_subtitle("Performance")
    (hold,) = desktop.daemon.get("Efficiency", "ActiveHolds")
    assert 3500 < hold["EndsUnixSeconds"] - time.time() <= 3600
    desktop.open_menu()
    desktop.until_menu_says("Performance until ")
    desktop.picture("menu-for-an-hour")
    desktop.pick("Stop Now")
    desktop.until_subtitle("Balanced")
    assert desktop.daemon.get("Efficiency", "ActiveHolds") == []


WATCH = f"""(() => {{
    const tile = {TILE};
    const seen = [];
    const id = tile.connect('notify::subtitle', () =>
        seen.push([tile.subtitle, imports.gi.GLib.get_monotonic_time()]));
    driver.seen = seen;
    driver.unwatch = () => tile.disconnect(id);
    return true;
}})()"""


def test_a_mode_chosen_over_the_bus_is_shown(desktop: Desktop, capsys: pytest.CaptureFixture[str]) -> None:
    desktop.daemon.start()
    labels = labels_of(desktop)
    desktop.daemon.choose("Balanced")
    desktop.until_subtitle("Balanced")
    desktop.shell.eval(WATCH)
    took_ms, trips_ms = [], []
    for token in ("Performance", "Quiet", "UltraEfficiency", "Efficiency", "Balanced") * 4:
        before_s = time.monotonic()
        desktop.daemon.choose(token)
        trips_ms.append(1000 * (time.monotonic() - before_s))
        desktop.until_subtitle(labels[token])
        shown, at_us = desktop.shell.eval("driver.seen.at(-1)")
        assert shown == labels[token]
        took_ms.append(at_us / 1000 - 1000 * before_s)
    desktop.shell.eval("driver.unwatch()")
    took_ms.sort()
    median_ms, trip_ms = took_ms[len(took_ms) // 2], sorted(trips_ms)[len(trips_ms) // 2]
    with capsys.disabled():
        sys.stdout.write(
            f"\nGNOME {desktop.shell.version}: a mode chosen over the bus is in the tile after {median_ms:.1f} ms "
            f"(at most {took_ms[-1]:.1f} ms), {median_ms / trip_ms:.1f} times as long as the call itself\n"
        )


async def _switch_and_hold(address: str, number: int) -> None:
    """A program that chooses modes and holds others, and then leaves without a word."""
    bus = await MessageBus(bus_address=address).connect()
    labels = [*ROUTES, "Auto"]
    for step in range(10):
        for member, signature, body in (
            ("SetMode", "s", [labels[(number + step) % 6]]),
            ("HoldMode", "sss", [labels[(number + step) % 5], "", f"org.example.Program{number}"]),
        ):
            await bus.call(Message(NAME, EFFICIENCY[0], EFFICIENCY[1], member, signature=signature, body=body))
    bus.disconnect()
    await bus.wait_for_disconnect()


def test_twenty_programs_that_switch_and_hold_at_once_leave_the_tile_as_the_daemon_has_it(desktop: Desktop) -> None:
    desktop.start_in("Balanced")
    desktop.open_menu()

    async def all_at_once() -> None:
        address = desktop.session.session_bus.address
        await asyncio.gather(*(_switch_and_hold(address, number) for number in range(20)))

    asyncio.run(all_at_once())
    wait_until(lambda: desktop.daemon.get("Efficiency", "ActiveHolds") == [], "all holds have ended")
    chosen, in_force = (desktop.daemon.get("Efficiency", f"{which}Mode") for which in ("Current", "Effective"))
    labels = labels_of(desktop)
    desktop.shell.until(
        f"{TILE}.subtitle === {labels[in_force]!r} && {TILE}.checked === {str(chosen == 'Auto').lower()}"
    )
    wait_until(
        lambda: [each for each in labels.values() if desktop.is_checked(each)] == [labels[chosen]], "it is checked"
    )
    desktop.until_menu_says("Performance for 1 Hour")
