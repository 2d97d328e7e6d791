"""A simulated machine in virtual time: its engines, the heat that they make, and where its joules truly go."""

import asyncio
import math
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from ollama_proxyd.sim.engine import SOON_S, Engine, Keep, Work, keeps_long
from ollama_proxyd.sim.machines import Cooling, Machine
from ollama_proxyd.sim.traffic import Job

STEP_S = 5.0
"""While something works, heat is looked at so often at least."""
THROTTLED = 0.7
"""The share of its speed that a device keeps which is too hot."""


class Heat:
    """The temperature of one part of the machine."""

    def __init__(self, cooling: Cooling, ambient_c: float) -> None:
        self._cooling = cooling
        self._ambient_c = ambient_c
        self.now_c = self.peak_c = self.before_c = ambient_c + cooling.c_per_w * cooling.idle_w
        """`before_c` is what it was when time passed last."""
        self.slope_c_per_s = 0.0

    def spend(self, seconds: float, power_w: float) -> None:
        """Let time pass at so many watts."""
        cooling, self.before_c = self._cooling, self.now_c
        target_c = self._ambient_c + cooling.c_per_w * (power_w + cooling.idle_w)
        self.slope_c_per_s = (target_c - self.now_c) / cooling.tau_s
        self.now_c = target_c + (self.now_c - target_c) * math.exp(-seconds / cooling.tau_s)
        self.peak_c = max(self.peak_c, self.now_c)


class World:
    """A machine in virtual time; whatever changes goes through it, so that time passes evenly for all.

    What rests costs nothing to play: the watts of an engine without work change only when it is looked at.
    """

    def __init__(self, machine: Machine, keep: Keep = keeps_long) -> None:
        self.machine = machine
        self.engines = {device.id: Engine(device, keep) for device in machine.devices}
        self._engines = tuple(self.engines.values())
        self.package = Heat(machine.package, machine.ambient_c)
        self.card = Heat(machine.card, machine.ambient_c)
        self._loop = asyncio.get_running_loop()
        self._now_s = self._loop.time()
        self._working: dict[Engine, None] = {}
        self._rested_s = dict.fromkeys(self._engines, self._now_s)
        """Until when what each engine without work draws is in its books."""
        self._watts = {
            heat: {engine: engine.power_w() for engine in self._engines if self.heat_of(engine) is heat}
            for heat in (self.package, self.card)
        }
        self._due: list[tuple[float, int, Engine]] = []
        """When each engine without work is to be looked at, the next first."""
        self._looks = count()
        self._timer: asyncio.TimerHandle | None = None
        self._rested: asyncio.Future[None] | None = None
        self.lasted_s = 0.0
        """When the last answer of the day ended."""

    @property
    def spent_j(self) -> float:
        """Joules above the floor, of all devices."""
        for engine in self._engines:
            self._book_rest(engine)
        return sum(engine.spent.total_j for engine in self._engines)

    def heat_of(self, engine: Engine) -> Heat:
        """The part that an engine warms."""
        return self.package if engine.device.packaged else self.card

    def metered(self, engine: Engine) -> tuple[float, float]:
        """Watts and joules as the engine's own sensor has them: that of the processor covers its package."""
        if not engine.device.packaged:
            self._book_rest(engine)
            return engine.power_w(), engine.spent.total_j
        idle_w, engines = self.machine.package.idle_w, [each for each in self._engines if each.device.packaged]
        for each in engines:
            self._book_rest(each)
        energy_j = sum(each.spent.total_j for each in engines) + idle_w * self._now_s
        return sum(each.power_w() for each in engines) + idle_w, energy_j

    def begin(self, backend_id: str, job: Job, keep_s: float | None = None) -> Work:
        """Send a request to an engine."""
        work = Work(job, keep_s, self._loop.create_future(), self._loop.create_future())
        engine = self.engines[backend_id]
        self.change(engine, lambda now_s: engine.take(work, now_s))
        return work

    def change(self, engine: Engine, what: Callable[[float], None]) -> None:
        """Change something of an engine at this moment."""
        self.catch_up()
        self._book_rest(engine)
        what(self._now_s)
        self._go_on(engine)

    def catch_up(self) -> None:
        """Let the time pass that has passed."""
        seconds = self._loop.time() - self._now_s
        if seconds > 0:
            self._spend(seconds)
            self._now_s += seconds

    @property
    def rests(self) -> bool:
        """Whether nothing works, no model is in memory, and all that sleeps does so."""
        return not any(each.active or each.resident or (each.awake and each.device.sleeps) for each in self._engines)

    async def rested(self) -> None:
        """Wait for that, so that the last request pays its tail as well."""
        if not self.rests:
            self._rested = self._loop.create_future()
            await self._rested

    def _book_rest(self, engine: Engine) -> None:
        """Put what an engine without work has drawn into its books."""
        if engine not in self._working:
            engine.spend(self._now_s - self._rested_s[engine], 1.0)
            self._rested_s[engine] = self._now_s

    def _spend(self, seconds: float) -> None:
        for engine in self._working:
            engine.is_throttled = self.heat_of(engine).now_c > self.machine.throttle_c
            self._watts[self.heat_of(engine)][engine] = engine.power_w()
        speeds = [self._speed(engine) for engine in self._working]
        for heat, watts in self._watts.items():
            heat.spend(seconds, sum(watts.values()))
        for engine, speed in zip(self._working, speeds, strict=True):
            engine.spend(seconds, speed)

    def _speed(self, engine: Engine) -> float:
        """The share of its full speed at which each of an engine's requests goes on."""
        slower = 1 + engine.device.slope * max(len(engine.active) - 1, 0)
        if engine.device.packaged:
            others = [each for each in self._working if each is not engine and each.device.packaged]
            slower *= 1 + self.machine.contention * len(others)
        return (THROTTLED if engine.is_throttled else 1.0) / slower

    def _go_on(self, changed: Engine | None = None) -> None:
        """Let all happen that is due, and look again when the next thing is."""
        looked_at = dict(self._working) if changed is None else {**self._working, changed: None}
        while self._due and self._due[0][0] <= self._now_s + SOON_S:
            looked_at[heappop(self._due)[-1]] = None
        for engine in looked_at:
            self._settle(engine)
        next_s = min([engine.next_s(self._now_s, self._speed(engine)) for engine in self._working], default=math.inf)
        if self._due:
            next_s = min(next_s, self._due[0][0] - self._now_s)
        if self._working:
            next_s = min(next_s, STEP_S)
        if self._rested is not None and self.rests and not self._rested.done():
            self._rested.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if next_s == math.inf else self._loop.call_later(max(next_s, 0.0), self._look)

    def _settle(self, engine: Engine) -> None:
        """Let all happen that is due at an engine."""
        self._book_rest(engine)
        engine.settle(self._now_s)
        if engine.active:
            if engine not in self._working:
                engine.is_throttled = self.heat_of(engine).before_c > self.machine.throttle_c
                self._working[engine] = None
        else:
            self._working.pop(engine, None)
            self._rested_s[engine] = self._now_s
            due_s = self._now_s + engine.next_s(self._now_s, 1.0)
            if due_s < math.inf:
                heappush(self._due, (due_s, next(self._looks), engine))
        self._watts[self.heat_of(engine)][engine] = engine.power_w()

    def _look(self) -> None:
        self._timer = None
        self.catch_up()
        self._go_on()
