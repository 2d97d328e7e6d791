"""Our sensors on the real UPower, power-profiles-daemon and GameMode, as things happen to a laptop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from dbus_fast import Variant

from ollama_proxyd.core.readings import Maybe, Reading, Sensed, Unavailable
from ollama_proxyd.edges.plumbing.clock import SystemClock
from ollama_proxyd.edges.plumbing.dbus import Bus, Target, connect
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from ollama_proxyd.edges.sensors.bus_sensor import BusSensor
from ollama_proxyd.edges.sensors.desktop_services import (
    BATTERY_PARTS,
    GAME_COUNT,
    NO_BATTERY,
    POWER,
    POWER_PROFILES,
    PROFILE_NAMES,
)
from tests.desktop.laptop import Laptop, StartLaptop

pytestmark = pytest.mark.real

PATIENCE_S = 10.0
PROPERTIES = "org.freedesktop.DBus.Properties"


class Watched:
    """What the sensors have reported of the machine so far."""

    def __init__(self) -> None:
        self.parts: dict[str, Maybe[Any]] = {}
        self.reports = 0
        self._changed = asyncio.Event()

    def report(self, sensed: Sensed) -> None:
        self.parts.update(sensed.system)
        self.reports += 1
        self._changed.set()

    def value(self, part: str) -> Any:
        reading = self.parts.get(part)
        return reading.value if isinstance(reading, Reading) else reading

    async def until(self, **wanted: Any) -> None:
        """Wait until each part has the wanted value, or, where a function is given, one that it approves of."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not all(self._is(part, value) for part, value in wanted.items()):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pytest.fail(f"{ {part: self.parts.get(part) for part in wanted} } instead of {wanted}")

    def _is(self, part: str, wanted: Any) -> bool:
        now = self.value(part)
        return bool(wanted(now)) if callable(wanted) else bool(now == wanted)


@asynccontextmanager
async def watched(laptop: Laptop) -> AsyncIterator[Watched]:
    clock, seen = SystemClock(), Watched()
    system, session = BusLine(laptop.system_bus.address, clock), BusLine(laptop.session_bus.address, clock)
    sources = ((POWER, system), (POWER_PROFILES, system), (GAME_COUNT, session))
    following = [asyncio.create_task(BusSensor(source, line, clock).follow(seen.report)) for source, line in sources]
    await seen.until(on_battery=bool_or_reason, power_profile=known_or_reason, games=known_or_reason)
    yield seen
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    await system.close()
    await session.close()


def bool_or_reason(value: Any) -> bool:
    return isinstance(value, bool | Unavailable)


def known_or_reason(value: Any) -> bool:
    return value is not None


def says(words: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Unavailable) and words in str(value.reason)


@asynccontextmanager
async def another_program(laptop: Laptop) -> AsyncIterator[tuple[Bus, Target, str]]:
    """Somebody else's connection, and power-profiles-daemon as this version calls itself."""
    bus = await connect(laptop.system_bus.address)
    present, old = PROFILE_NAMES
    name, path = present if await bus.owner_of(present[0]) else old
    yield bus, Target(name, path, name), name
    await bus.close()


async def choose(laptop: Laptop, profile: str) -> None:
    async with another_program(laptop) as (bus, daemon, name):
        properties = Target(daemon.name, daemon.path, PROPERTIES)
        await bus.call(properties, "Set", "ssv", [name, "ActiveProfile", Variant("s", profile)])


async def test_a_laptop_on_its_charger_is_read_whole(laptop: Laptop) -> None:
    async with watched(laptop) as seen:
        await seen.until(
            on_battery=False,
            battery_percent=80.0,
            battery_state="charging",
            battery_warning="none",
            time_to_empty_s=says("not discharging"),
            power_profile="balanced",
            performance_degraded="",
            games=0,
        )


async def test_the_charger_is_taken_away_and_given_back(laptop: Laptop) -> None:
    async with watched(laptop) as seen:
        laptop.unplug()
        await seen.until(on_battery=True, battery_state="discharging")
        laptop.drain_to(45)
        await seen.until(on_battery=True, battery_percent=45.0, battery_warning="none")
        laptop.drain_to(15)
        await seen.until(on_battery=True, battery_percent=15.0, battery_warning="low")
        laptop.drain_to(4)
        await seen.until(battery_percent=4.0, battery_warning="critical")
        laptop.plug_in()
        await seen.until(on_battery=False, battery_state="charging", battery_warning="none")


async def test_the_rate_and_the_time_left_are_known_or_said_to_be_unknown(laptop: Laptop) -> None:
    """Right after the change newer versions know neither; never may 0 W or 0 s be reported."""
    async with watched(laptop) as seen:
        laptop.unplug()
        await seen.until(
            on_battery=True,
            battery_rate_w=lambda rate: rate == pytest.approx(9.5, abs=0.1) or says("does not report")(rate),
            time_to_empty_s=lambda time_s: says("does not report")(time_s) or time_s > 3600,
        )


async def test_a_battery_at_its_charge_threshold_is_not_in_use(laptop: Laptop) -> None:
    async with watched(laptop) as seen:
        laptop.reach_charge_threshold()
        await seen.until(battery_state="pending-charge", on_battery=False, battery_percent=80.0)


async def test_a_battery_can_be_taken_out(laptop: Laptop) -> None:
    async with watched(laptop) as seen:
        laptop.remove_battery()
        await seen.until(on_battery=False, **dict.fromkeys(BATTERY_PARTS, NO_BATTERY))


async def test_a_machine_without_battery_says_so(start_laptop: StartLaptop) -> None:
    async with watched(start_laptop(percent=None)) as seen:
        await seen.until(on_battery=False, **dict.fromkeys(BATTERY_PARTS, NO_BATTERY))


async def test_the_profile_that_a_person_chooses_is_heard_of(laptop: Laptop) -> None:
    async with watched(laptop) as seen:
        await choose(laptop, "power-saver")
        await seen.until(power_profile="power-saver")
        await choose(laptop, "performance")
        await seen.until(power_profile="performance")


async def test_the_profile_key_of_the_keyboard_is_heard_of(laptop: Laptop) -> None:
    async with watched(laptop) as seen:
        laptop.press_profile_key("low-power")
        await seen.until(power_profile="power-saver")


async def test_a_program_that_holds_a_profile_changes_it_for_as_long_as_it_lives(laptop: Laptop) -> None:
    async with watched(laptop) as seen:
        async with another_program(laptop) as (bus, daemon, _):
            await bus.call(daemon, "HoldProfile", "sss", ["performance", "encoding a film", "org.example.Films"])
            await seen.until(power_profile="performance")
        await seen.until(power_profile="balanced")


async def test_each_change_of_the_profile_is_reported_once(laptop: Laptop) -> None:
    async with watched(laptop) as seen:
        await choose(laptop, "performance")
        await seen.until(power_profile="performance")
        await choose(laptop, "balanced")
        await seen.until(power_profile="balanced")
        assert seen.reports == 3 + 2  # three sensors said what is, then there were two changes


async def test_a_laptop_on_a_lap_is_degraded(laptop: Laptop) -> None:
    async with watched(laptop) as seen:
        laptop.put_on_lap()
        await seen.until(performance_degraded="lap-detected")
        laptop.put_on_lap(False)
        await seen.until(performance_degraded="")


async def test_a_processor_that_is_too_hot_is_degraded(start_laptop: StartLaptop) -> None:
    laptop = start_laptop(has_firmware=False)
    async with watched(laptop) as seen:
        laptop.heat_up()
        await seen.until(performance_degraded="high-operating-temperature")
        laptop.heat_up(False)
        await seen.until(performance_degraded="")


async def test_games_are_counted_as_they_start_and_end(laptop: Laptop) -> None:
    async with watched(laptop) as seen:
        first = laptop.play()
        await seen.until(games=1)
        second = laptop.play()
        await seen.until(games=2)
        first.end()
        await seen.until(games=1)
        second.end()
        await seen.until(games=0)


async def test_looking_for_games_does_not_start_gamemode(laptop: Laptop) -> None:
    async with watched(laptop) as seen:
        await seen.until(games=0)
        bus = await connect(laptop.session_bus.address)
        assert await bus.owner_of("com.feralinteractive.GameMode") is None
        await bus.close()


@pytest.mark.parametrize(("daemon", "part"), [("upower", "on_battery"), ("power-profiles", "power_profile")])
async def test_a_daemon_that_crashes_is_missed_and_its_successor_believed(
    laptop: Laptop, daemon: str, part: str
) -> None:
    async with watched(laptop) as seen:
        before = seen.value(part)
        laptop.stop(daemon)
        await seen.until(**{part: lambda value: isinstance(value, Unavailable)})
        laptop.start(daemon)
        await seen.until(**{part: before})


async def test_what_happens_while_upower_is_away_is_known_when_it_is_back(laptop: Laptop) -> None:
    async with watched(laptop) as seen:
        laptop.stop("upower")
        await seen.until(on_battery=lambda value: isinstance(value, Unavailable))
        laptop.unplug()
        laptop.drain_to(33)
        laptop.start("upower")
        await seen.until(on_battery=True, battery_percent=33.0)


async def test_a_machine_whose_bus_dies_says_so_and_the_other_bus_is_not_touched(laptop: Laptop) -> None:
    async with watched(laptop) as seen:
        laptop.system_bus.stop()
        await seen.until(on_battery=says("has ended"), power_profile=says("has ended"), games=0)
