"""Owns what is known of the machine's state; sensors report to it, and policy and Auto read its cell."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.merging import merge, without_readings
from ollama_proxyd.core.plausibility import CONFIRMED_S, Screen
from ollama_proxyd.core.readings import Reading, Sensed, SystemState, Unavailable
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.tuning import Tuning
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import Clock, PolledSensor, SignalSensor
from ollama_proxyd.services.settings import QuietHours
from ollama_proxyd.services.tasks import Tasks
from ollama_proxyd.services.watching import Pace, Together, first_of, follow, poll

MINUTES_PER_DAY = 24 * 60
LONGEST_SLEEP_S = 600.0
"""Local time can jump (suspend, summer time, travel), so the hour is looked at again at least this often."""

NO_QUIET_HOURS = Unavailable.because("quiet_hours_off")
THE_HOUR = "the hour"


class Sensing:
    """The one owner of the machine's state.

    A sensor's report adds to what it said of the machine before and replaces what it said of devices. Where nothing
    changed the cell is not set.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said: dict[str, Sensed] = {}
        self._screens: defaultdict[str, Screen] = defaultdict(Screen)
        self._passed: dict[str, Sensed] = {}
        """What counts of what was said."""
        self._signals: frozenset[str] = frozenset()
        """The sensors that speak only of changes."""
        self._doubted_s: Cell[float | None] = Cell(None)
        """Since when something that such a sensor said is unconfirmed."""
        self._lost: dict[str, Unavailable] = {}
        self._specs: tuple[BackendSpec, ...] = ()
        self._woken = asyncio.Event()
        self.system: Cell[SystemState] = Cell(SystemState())

    def report(self, name: str, sensed: Sensed) -> None:
        """Take note of what a sensor says."""
        self.report_all([(name, sensed)])

    def report_all(self, told: Sequence[tuple[str, Sensed]]) -> None:
        """Take note of what sensors say at one moment."""
        for name, sensed in told:
            self._note(name, sensed)
        self._merge()

    def _note(self, name: str, sensed: Sensed) -> None:
        before = self._said.get(name, Sensed())
        self._said[name] = Sensed({**before.system, **sensed.system}, sensed.devices)
        self._passed[name] = self._screens[name].passed(self._said[name])
        self._lost.pop(name, None)
        if name in self._signals:
            self._doubted_s.set(self._oldest_doubt_s())

    def mark_lost(self, name: str, reason: Reason) -> None:
        """Until its next report nothing that a sensor said counts; that its devices are there still does."""
        self._lost[name] = Unavailable(reason)
        self._merge()

    def _oldest_doubt_s(self) -> float | None:
        doubts = (self._screens[name].doubted_s for name in self._signals)
        return min((each for each in doubts if each is not None), default=None)

    async def _hear_silence(self) -> None:
        """Take the silence of a sensor that speaks only of changes for the same word again; never returns."""
        while True:
            await self._doubted_s.until(lambda since_s: since_s is not None)
            doubted_s = self._doubted_s.value or 0.0
            await self._clock.sleep(max(doubted_s + CONFIRMED_S - self._clock.monotonic(), 0))
            now_s = self._clock.monotonic()
            for name in self._signals & self._said.keys():
                since_s = self._screens[name].doubted_s
                if since_s is not None and now_s - since_s >= CONFIRMED_S:
                    self._passed[name] = self._screens[name].passed(_at(self._said[name], now_s))
            self._doubted_s.set(self._oldest_doubt_s())
            self._merge()

    def set_backends(self, specs: Sequence[BackendSpec]) -> None:
        """From now on the hottest device is the hottest of those that these backends run on."""
        self._specs = tuple(specs)
        self._merge()

    def watch(self, polled: Sequence[PolledSensor], signals: Sequence[SignalSensor], tasks: Tasks, pace: Pace) -> None:
        """Ask the one, at a pace, and follow the other sensors from now on."""
        self._signals = frozenset(sensor.name for sensor in signals)
        if polled:
            tasks.start("poll", poll(polled, Together(self.report_all).report, self.mark_lost, pace, tasks))
        if signals:
            tasks.start("silence", self._hear_silence())
        for sensor in signals:
            tasks.start(sensor.name, follow(sensor, self.report, self.mark_lost, pace, tasks))

    def look_at_the_hour(self, quiet: QuietHours | None) -> float:
        """Take note of whether these are quiet hours; returns the seconds after which to look again."""
        if quiet is None:
            self.report(THE_HOUR, Sensed({"quiet_hours": NO_QUIET_HOURS}))
            return LONGEST_SLEEP_S
        minute = self._clock.local_minute()
        is_quiet = Reading(quiet.include(int(minute)), self._clock.monotonic())
        self.report(THE_HOUR, Sensed({"quiet_hours": is_quiet}))
        return min(seconds_to_boundary(quiet, minute), LONGEST_SLEEP_S)

    async def follow_the_hour(self, tuning: Cell[Tuning]) -> None:
        """Keep the quiet hours current, and apply changed ones at once; never returns."""
        async with Tasks("sensing") as tasks:
            following: asyncio.Task[None] | None = None
            async for quiet in tuning.changes():
                if following is not None:
                    following.cancel()
                following = tasks.start("hour", self._keep_looking(QuietHours.of(quiet)))

    async def _keep_looking(self, quiet: QuietHours | None) -> None:
        while True:
            wait_s = self.look_at_the_hour(quiet)
            if quiet is None:
                return
            await first_of(self._clock.sleep(wait_s), self._woken.wait())
            self._woken.clear()

    def wake(self, _: object) -> None:
        """The machine may have slept: look at the hour now."""
        self._woken.set()

    def _merge(self) -> None:
        said = [
            without_readings(sensed, self._lost[name]) if name in self._lost else sensed
            for name, sensed in self._passed.items()
        ]
        self.system.set(merge(said, self.system.value, self._specs))


def _at(said: Sensed, now_s: float) -> Sensed:
    """The same words, said now."""
    parts = {name: replace(part, at_s=now_s) for name, part in said.system.items() if isinstance(part, Reading)}
    return replace(said, system={**said.system, **parts})


def seconds_to_boundary(quiet: QuietHours, minute: float) -> float:
    """Seconds until the quiet hours begin or end next, at least one; `minute` counts from local midnight."""
    ahead = ((edge - minute) % MINUTES_PER_DAY for edge in (quiet.start_minute, quiet.end_minute))
    return max(min(each for each in ahead) * 60, 1.0)
