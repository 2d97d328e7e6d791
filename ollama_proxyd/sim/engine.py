"""One simulated engine and its device: what its work takes, and the joules that it truly spends."""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from ollama_proxyd.sim.machines import Device
from ollama_proxyd.sim.traffic import Job

SOON_S = 1e-9
THROTTLED_POWER = 0.5
"""The share of its watts that a device draws which is too hot."""
BATCH_POWER = 0.1
"""What each further sequence adds to a device's watts."""

Keep: TypeAlias = Callable[[Device, str], float]
"""How long an engine keeps an unused model, where it is not told."""


def keeps_long(_device: Device, _model: str) -> float:
    """What engines do by themselves."""
    return 300.0


class Phase(Enum):
    """What a request's work consists of, in this order."""

    WAKE = "wake"
    LOAD = "load"
    PREFILL = "prefill"
    DECODE = "decode"


PREPARING = (Phase.WAKE, Phase.LOAD)


@dataclass(slots=True, eq=False)
class Work:
    """A request in an engine; `left_s` is what the phase at hand needs at full speed."""

    job: Job
    keep_s: float | None
    """How long its model is kept after it; None as the engine does by itself."""
    first: asyncio.Future[None]
    done: asyncio.Future[None]
    phases: deque[tuple[Phase, float]] = field(default_factory=deque)
    left_s: float = 0.0
    spent_s: dict[Phase, float] = field(default_factory=lambda: dict.fromkeys(Phase, 0.0))
    cached_tokens: int = 0

    @property
    def phase(self) -> Phase:
        """What it does now."""
        return self.phases[0][0]


@dataclass(slots=True)
class Spent:
    """Joules of one device, by what they were spent for."""

    active_j: float = 0.0
    load_j: float = 0.0
    tail_j: float = 0.0

    @property
    def total_j(self) -> float:
        """All of them."""
        return self.active_j + self.load_j + self.tail_j


class Engine:
    """A device and its engine: slots that share it, a queue behind them, models in memory, sleep."""

    def __init__(self, device: Device, keep: Keep) -> None:
        self.device = device
        self._keep = keep
        self.active: list[Work] = []
        self.queue: deque[Work] = deque()
        self.resident: dict[str, float] = {}
        """When each model in memory leaves it, infinity while it works."""
        self._cached: dict[str, int | None] = {}
        """The conversation of which each model has the prefix."""
        self.sleeps_at_s = 0.0
        self.awake = not device.sleeps
        self.is_throttled = False
        self.spent = Spent()

    @property
    def in_flight(self) -> int:
        """How many requests it has."""
        return len(self.active) + len(self.queue)

    @property
    def prepares(self) -> bool:
        """Whether all that it does is to wake or to load."""
        return all(work.phase in PREPARING for work in self.active)

    def power_w(self) -> float:
        """What it draws now."""
        if self.active:
            full_w = self.device.power_w * (1 + BATCH_POWER * (len(self.active) - 1))
            working_w = self.device.load_w if self.prepares else full_w
            return working_w * (THROTTLED_POWER if self.is_throttled else 1.0)
        if self.resident:
            return self.device.resident_w
        return self.device.awake_w if self.awake else 0.0

    def spend(self, seconds: float, speed: float) -> None:
        """Let time pass, in which nothing changes."""
        power_w = self.power_w()
        if not self.active:
            self.spent.tail_j += power_w * seconds
            return
        if self.prepares:
            self.spent.load_j += power_w * seconds
        else:
            self.spent.active_j += power_w * seconds
        for work in self.active:
            work.job.energy_j += power_w * seconds / len(self.active)
            work.spent_s[work.phase] += seconds
            work.left_s -= seconds * (1.0 if work.phase in PREPARING else speed)

    def next_s(self, now_s: float, speed: float) -> float:
        """Seconds until something changes here."""
        if self.active:
            return min(work.left_s / (1.0 if work.phase in PREPARING else speed) for work in self.active)
        if self.resident:
            return min(self.resident.values()) - now_s
        return self.sleeps_at_s - now_s if self.awake and self.device.sleeps else math.inf

    def take(self, work: Work, now_s: float) -> None:
        """Begin a request, or let it wait for a slot."""
        if len(self.active) < self.device.slots:
            self._begin(work, now_s)
        else:
            self.queue.append(work)

    def leave(self, work: Work, now_s: float) -> None:
        """Stop a request whose client has gone."""
        if work in self.queue:
            self.queue.remove(work)
        elif work in self.active:
            self._end(work, now_s)

    def unload(self, model: str, now_s: float) -> None:
        """Let go of a model, unless it works."""
        if all(work.job.model != model for work in self.active) and model in self.resident:
            self._drop(model, now_s)

    def settle(self, now_s: float) -> None:
        """Let all happen that is due."""
        for work in [each for each in self.active if each.left_s <= SOON_S]:
            self._next_phase(work, now_s)
        while self.queue and len(self.active) < self.device.slots:
            self._begin(self.queue.popleft(), now_s)
        for model in [each for each, until_s in self.resident.items() if until_s <= now_s + SOON_S]:
            self._drop(model, now_s)
        is_unused = self.device.sleeps and not self.active and not self.resident
        if self.awake and is_unused and now_s >= self.sleeps_at_s - SOON_S:
            self.awake = False

    def _begin(self, work: Work, now_s: float) -> None:
        job, device = work.job, self.device
        if not self.awake:
            self.awake = True
            self.spent.load_j += device.wake_j
            job.energy_j += device.wake_j
            work.phases.append((Phase.WAKE, device.wake_s))
        if job.model not in self.resident:
            self._make_room(job.model, now_s)
            work.phases.append((Phase.LOAD, device.load_time_s(job.model)))
        else:
            work.phases.extend(self._preparing(job.model))
        self.resident[job.model] = math.inf
        has_prefix = job.conversation is not None and self._cached.get(job.model) == job.conversation
        work.cached_tokens = job.prompt_tokens - job.new_tokens if has_prefix else 0
        work.phases.append((Phase.PREFILL, device.prefill_time_s(job.model, job.prompt_tokens - work.cached_tokens)))
        work.phases.append((Phase.DECODE, device.decode_time_s(job.model, job.output_tokens)))
        self._cached[job.model] = job.conversation
        work.left_s = work.phases[0][1]
        self.active.append(work)

    def _preparing(self, model: str) -> list[tuple[Phase, float]]:
        """What is left of a load that is under way for another request."""
        for work in self.active:
            if work.job.model == model and work.phase in PREPARING:
                later_s = sum(seconds for phase, seconds in list(work.phases)[1:] if phase is Phase.LOAD)
                return [(Phase.LOAD, work.left_s + later_s)]
        return []

    def _make_room(self, model: str, now_s: float) -> None:
        sizes_gb = self.device.sizes_gb
        while self.resident and sum(sizes_gb[each] for each in (*self.resident, model)) > self.device.memory_gb:
            at_work = {work.job.model for work in self.active}
            unused = [each for each in self.resident if each not in at_work]
            if not unused:
                return
            self._drop(min(unused, key=lambda each: self.resident[each]), now_s)

    def _next_phase(self, work: Work, now_s: float) -> None:
        while work.phases and work.left_s <= SOON_S:
            phase, _ = work.phases.popleft()
            if phase is Phase.PREFILL and not work.first.done():
                work.first.set_result(None)
            work.left_s = work.phases[0][1] if work.phases else 0.0
        if not work.phases:
            self._end(work, now_s)
            if not work.done.done():
                work.done.set_result(None)

    def _end(self, work: Work, now_s: float) -> None:
        self.active.remove(work)
        model = work.job.model
        if all(each.job.model != model for each in self.active):
            keep_s = self._keep(self.device, model) if work.keep_s is None else work.keep_s
            self.resident[model] = now_s + keep_s
        self.sleeps_at_s = now_s + self.device.sleep_s

    def _drop(self, model: str, now_s: float) -> None:
        del self.resident[model]
        self._cached.pop(model, None)
        self.sleeps_at_s = max(self.sleeps_at_s, now_s + self.device.sleep_s)
