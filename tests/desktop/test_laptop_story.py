"""A day of a laptop: what happens to the machine changes where the next request goes, and the bus tells why, once."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ollama_proxyd.edges.demo.fleet import DemoFleet, start_demo
from tests.desktop.laptop import Game, Laptop
from tests.e2e.harness import Daemon, backend, config_of
from tests.edges.dbus_api.bus_desk import Program, until_named
from tests.upstreams.sysfs_tree import NPU, NVIDIA_GPU, XE_GPU, SysfsTree
from tests.upstreams.sysfs_tree import laptop as sysfs_of_a_laptop

pytestmark = pytest.mark.real

PATIENCE_S = 60.0
REQUEST = {"prompt_tokens": 100, "max_tokens": 200}
"""The request whose way is asked for at every step."""
CPU_TEMPERATURE = "class/hwmon/hwmon0/temp1_input"
WAKING = {"nvidia": {"wake_s": 10, "wake_joules": 50}}
"""A card that sleeps so deeply that in a hurry another device is faster."""
WHERE = {"nvidia": {"pci_address": NVIDIA_GPU}, "npu": {"pci_address": NPU}}
SENTENCES_FROM = {"EffectiveModeChanged": 2}
"""Which argument of a signal explains the others in words that may change with the numbers."""


@dataclass(frozen=True)
class Step:
    """Something that happens to the machine, and what has to come of it.

    mode, route, why: the mode in force, where the request goes, and words of the reason. says: every signal besides
    PropertiesChanged that the daemon sends, in any order, each as often as here.
    """

    what: str
    act: Callable[[], Any]
    mode: str
    route: str
    why: str
    says: tuple[tuple[Any, ...], ...] = ()


@dataclass
class Day:
    """A laptop, the daemon on it, and a program on its session bus that writes down what the daemon says."""

    laptop: Laptop
    sysfs: SysfsTree
    daemon: Daemon
    web: aiohttp.ClientSession
    program: Program
    games: list[Game] = field(default_factory=list)
    told: list[tuple[str, str, list[Any]]] = field(default_factory=list)

    async def decision(self) -> dict[str, Any]:
        """Where the request would go now, and why."""
        async with self.web.post(f"{self.daemon.url}/routing/explain", json=REQUEST) as response:
            decision: dict[str, Any] = await response.json()
        return decision

    async def until(self, mode: str, route: str) -> None:
        """Wait until the request would go that way in that mode."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            decision = await self.decision()
            if (decision["effective_mode"], decision["backend"]) == (mode, route):
                return
            assert time.monotonic() < deadline_s, decision
            await asyncio.sleep(0.01)

    async def take(self, step: Step) -> float:
        """Live through a step; returns the milliseconds from the event to the changed route."""
        before_s = time.monotonic()
        step.act()
        await self.until(step.mode, step.route)
        latency_ms = 1000 * (time.monotonic() - before_s)
        assert await self.heard(len(step.says)) == Counter(step.says), step.what
        assert step.why in (await self.decision())["mode_reason"], step.what
        return latency_ms

    async def heard(self, count: int) -> Counter[tuple[Any, ...]]:
        """The signals since this was asked last, once there are so many."""
        heard: Counter[tuple[Any, ...]] = Counter()
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            signals = await self.program.heard()
            self.told += signals
            named = [(member, *body) for _, member, body in signals if member != "PropertiesChanged"]
            heard.update(signal[: 1 + SENTENCES_FROM.get(signal[0], len(signal))] for signal in named)
            if heard.total() >= count or time.monotonic() > deadline_s:
                return heard

    def values_told(self) -> dict[tuple[str, str], list[Any]]:
        """Every value of every property that was told to have changed, by object and name."""
        values: dict[tuple[str, str], list[Any]] = {}
        for path, member, body in self.told:
            if member == "PropertiesChanged":
                for name, value in body[1].items():
                    values.setdefault((path, name), []).append(value)
        return values

    def unplug_at_80(self) -> None:
        self.laptop.percent = 80
        self.laptop.unplug()

    def play(self) -> None:
        self.games.append(self.laptop.play())

    def stop_playing(self) -> None:
        self.games.pop().end()


def config(fleet: DemoFleet, sysfs_root: Path) -> dict[str, Any]:
    """The four simulated devices as if they were this laptop's own."""
    backends = []
    for spec in fleet.specs:
        hardware, profile = spec.hardware.value, spec.profile
        characteristics = {
            "power_watts": profile.power_w,
            "avg_latency_ms": profile.ttft_s * 1000,
            "max_tokens_per_second": profile.decode_tps,
            **WAKING.get(hardware, {"wake_s": 0, "wake_joules": 0}),
        }
        more = {"characteristics": characteristics, **WHERE.get(hardware, {})}
        backends.append(backend(hardware, spec.endpoint, "ollama", hardware, **more))
    return config_of(
        *backends,
        efficiency={"default_mode": "Auto", "auto": {"dwell_s": 0}, "quiet_hours": {"enabled": False}},
        sensors={"sysfs_root": str(sysfs_root), "idle_interval_s": 0.1, "busy_interval_s": 0.1},
    )


@pytest.fixture
async def day(laptop: Laptop, tmp_path: Path) -> AsyncIterator[Day]:
    """The morning: the laptop is on its charger with a nearly full battery, its card is awake, the daemon is ready."""
    laptop.charge_to(90)
    sysfs = sysfs_of_a_laptop(tmp_path / "sys")
    sysfs.wake(NVIDIA_GPU)
    fleet = await start_demo(time_scale=0.01)
    (tmp_path / "daemon").mkdir()
    buses = {
        "DBUS_SYSTEM_BUS_ADDRESS": laptop.system_bus.address,
        "DBUS_SESSION_BUS_ADDRESS": laptop.session_bus.address,
    }
    daemon = Daemon(tmp_path / "daemon", config(fleet, sysfs.root), buses)
    program = await Program.start(laptop.session_bus.address)
    async with aiohttp.ClientSession() as web:
        await asyncio.to_thread(daemon.ready)
        await until_named(program)
        yield Day(laptop, sysfs, daemon, web, program)
    await program.stop()
    await asyncio.to_thread(daemon.stop)
    await fleet.close()


def changes(before: str, after: str) -> tuple[str, str, str]:
    """The signal that says that Auto has changed the mode."""
    return ("EffectiveModeChanged", before, after)


def story(day: Day) -> tuple[Step, ...]:
    """The battery moves by at most 20 % at once, since a larger step is not believed for a while."""
    laptop, sysfs = day.laptop, day.sysfs
    fast, fair, thrifty, ultra = "Performance", "Balanced", "Efficiency", "UltraEfficiency"
    to_battery, to_mains = ("PowerSourceChanged", True), ("PowerSourceChanged", False)
    at = {percent: ("BatteryLevelChanged", percent) for percent in (15, 30, 35, 45, 55, 62, 75, 80, 90)}
    warm = tuple(("ThermalWarning", device, 80.0) for device in ("cpu", XE_GPU))  # they share a die
    full = "with the battery at 90 %"
    return (
        Step(
            "unplugged at 80 %",
            day.unplug_at_80,
            fair,
            "igpu",
            "on battery at 80 %",
            (to_battery, at[80], changes(fast, fair)),
        ),
        Step("drained to 62 %", lambda: laptop.drain_to(62), fair, "igpu", "on battery at 62 %", (at[62],)),
        Step(
            "drained to 45 %",
            lambda: laptop.drain_to(45),
            thrifty,
            "npu",
            "on battery at 45 %, below 50 %",
            (at[45], changes(fair, thrifty)),
        ),
        Step("drained to 30 %", lambda: laptop.drain_to(30), thrifty, "npu", "on battery at 30 %", (at[30],)),
        Step(
            "drained to 15 %",
            lambda: laptop.drain_to(15),
            ultra,
            "npu",
            "on battery at 15 %, below 20 %",
            (at[15], changes(thrifty, ultra)),
        ),
        Step("plugged in", laptop.plug_in, fair, "igpu", "on mains power", (to_mains, changes(ultra, fair))),
        Step("charged to 35 %", lambda: laptop.charge_to(35), fair, "igpu", "on mains power", (at[35],)),
        Step("charged to 55 %", lambda: laptop.charge_to(55), fair, "igpu", "on mains power", (at[55],)),
        Step("charged to 75 %", lambda: laptop.charge_to(75), fair, "igpu", "on mains power", (at[75],)),
        Step("charged to 90 %", lambda: laptop.charge_to(90), fast, "nvidia", full, (at[90], changes(fair, fast))),
        Step(
            "hot",
            lambda: sysfs.write(CPU_TEMPERATURE, 80000),
            thrifty,
            "npu",
            "the hottest device is at 80 °C",
            (*warm, changes(fast, thrifty)),
        ),
        Step("cool", lambda: sysfs.write(CPU_TEMPERATURE, 55000), fast, "nvidia", full, (changes(thrifty, fast),)),
        Step("on a lap", laptop.put_on_lap, thrifty, "npu", "lap-detected", (changes(fast, thrifty),)),
        Step("off the lap", lambda: laptop.put_on_lap(False), fast, "nvidia", full, (changes(thrifty, fast),)),
        Step("a game starts", day.play, fast, "igpu", full),
        Step("the game ends", day.stop_playing, fast, "nvidia", full),
        Step("the card falls asleep", lambda: sysfs.sleep(NVIDIA_GPU), fast, "igpu", full),
        Step("the card wakes up", lambda: sysfs.wake(NVIDIA_GPU), fast, "nvidia", full),
        Step(
            "UPower dies",
            lambda: laptop.stop("upower"),
            fair,
            "igpu",
            "no reading asks for another mode",
            (changes(fast, fair),),
        ),
        Step("UPower is back", lambda: laptop.start("upower"), fast, "nvidia", full, (changes(fair, fast),)),
    )


async def test_each_event_of_a_day_changes_the_route_and_is_told_once(
    day: Day, capsys: pytest.CaptureFixture[str]
) -> None:
    await day.until("Performance", "nvidia")
    await day.program.heard()
    steps = story(day)
    took_ms = [await day.take(step) for step in steps]
    assert not await day.heard(0)
    told = day.values_told()
    modes = [step.mode for step in steps]
    changed = [now for before, now in pairwise(["Performance", *modes]) if now != before]
    assert told["Efficiency", "EffectiveMode"] == changed
    assert told["SystemState", "OnBattery"] == [True, False]
    assert told["SystemState", "BatteryPercent"] == [80, 62, 45, 30, 15, 35, 55, 75, 90, -1, 90]
    for (path, name), values in told.items():
        assert all(before != after for before, after in pairwise(values)), f"{path} tells {name} twice: {values}"
    lines = [
        f"{ms:9.1f} ms  {step.what} -> {step.mode}, {step.route}\n" for step, ms in zip(steps, took_ms, strict=True)
    ]
    with capsys.disabled():
        sys.stdout.write("\nfrom the event to the changed route:\n" + "".join(lines))
