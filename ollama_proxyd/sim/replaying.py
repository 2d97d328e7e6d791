"""What the last days would have cost in another mode: their requests again, on this machine's backends as measured."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from statistics import fmean, median
from typing import Any

from ollama_proxyd.core.fleet import Hardware, Profile
from ollama_proxyd.core.history import OK, Values
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.residence import idle_power_w
from ollama_proxyd.core.requests import WRITING, Operation, Priority
from ollama_proxyd.core.values import value
from ollama_proxyd.sim.machines import Cooling, Device, Machine
from ollama_proxyd.sim.paces import Pace, forecast_pace, measured_pace, typical_pace
from ollama_proxyd.sim.play import Figures, play_jobs
from ollama_proxyd.sim.product import Product
from ollama_proxyd.sim.traffic import Job

MOST_REQUESTS = 500
"""The latest ones; so a replay takes seconds."""
MOST_PAUSE_S = 900.0
"""Longer pauses are cut to this: by then models have left the memory, and nothing happens."""
_SIZE_GB = 1.0
"""How large a model is, which the history does not tell; all of a backend's fit into its memory."""
_COOL = Cooling(0.0, 60.0, 0.0)
"""Heat is not known of the past."""
_PLAYED = frozenset(each.value for each in (*WRITING, Operation.EMBEDDING))
"""What is simulated: words and their embedding."""


@value
class MeasuredDevice(Device):
    """A backend as its answers have shown it."""

    paces: Mapping[str, Pace] = field(default_factory=dict)

    @property
    def sizes_gb(self) -> Mapping[str, float]:
        """The models that it is known to hold."""
        return dict.fromkeys(self.paces, _SIZE_GB)

    def token_time_s(self, model: str) -> float:
        """Seconds for a token."""
        return self.paces[model].token_s

    def prefill_time_s(self, model: str, tokens: int) -> float:
        """Seconds to the first token of a prompt."""
        pace = self.paces[model]
        return pace.first_s + tokens / pace.prefill_tps

    def load_time_s(self, model: str) -> float:
        """Seconds to load a model."""
        return self.paces[model].load_s


@value
class Replay:
    """What is played: a machine, requests, the mode that each had, and what they came to in truth."""

    machine: Machine
    jobs: Callable[[], list[Job]]
    modes: Mapping[int, Mode]
    found: int
    recorded_j: float | None
    recorded_s: float
    unknown: tuple[str, ...]


def replay_of(requests: Sequence[Values], attempts: Sequence[Values]) -> Replay | None:
    """What can be played of the rows of some days, None where that is nothing."""
    attempts = [row for row in attempts if row["operation"] in _PLAYED]
    names = _Names(attempts)
    devices = tuple(_devices(names, attempts))
    held = {model for device in devices for model in device.paces}
    answered = [row for row in requests if row["result"] == OK and row["model"] is not None]
    answered = [row for row in answered if row["operation"] in _PLAYED]
    embedding = Operation.EMBEDDING.value
    told = [row for row in answered if row["completion_tokens"] is not None or row["operation"] == embedding]
    usable = sorted([row for row in told if names.of(row["model"]) in held], key=_came_s)[-MOST_REQUESTS:]
    if not usable:
        return None
    modes = {at: Mode(row["effective_mode"] or Mode.BALANCED.value) for at, row in enumerate(usable)}
    joules = [row["energy_j"] for row in usable]
    return Replay(
        Machine("this machine", devices, 0.0, None, _COOL, _COOL, contention=0.0),
        lambda: _jobs(usable, names),
        modes,
        len(requests),
        None if None in joules else sum(joules) / len(usable),
        fmean(row["total_s"] for row in usable),
        tuple(_unknown(devices, len(requests), len(usable))),
    )


def compared(replay: Replay, modes: Sequence[Mode]) -> dict[str, Any]:
    """How each mode compares with the modes that were in force, both simulated in the same way."""
    was = play_jobs(replay.machine, replay.jobs(), Product(replay.modes[0], then=replay.modes))
    rows = [_row(mode.value, play_jobs(replay.machine, replay.jobs(), Product(mode)), was) for mode in modes]
    return {
        "requests": len(replay.modes),
        "found": replay.found,
        "recorded": {"energy_joules": replay.recorded_j, "waiting_seconds": replay.recorded_s},
        "as_it_was": _row("as it was", was, was),
        "rows": rows,
        "unknown": list(replay.unknown),
    }


def _row(name: str, found: Figures, was: Figures) -> dict[str, Any]:
    return {
        "name": name,
        "energy_joules": found.energy_j,
        "active_joules": found.active_j,
        "load_joules": found.load_j,
        "tail_joules": found.tail_j,
        "waiting_seconds": found.waiting_s,
        "refused": found.refused,
        "energy_percent": _change(found.energy_j, was.energy_j),
        "waiting_percent": _change(found.waiting_s, was.waiting_s),
    }


def _change(now: float, before: float) -> float | None:
    return 100 * (now / before - 1) if before > 0 else None


def _came_s(row: Values) -> float:
    return float(row["unix_s"]) - float(row["total_s"])


def _jobs(rows: Sequence[Values], names: "_Names") -> list[Job]:
    """The requests again, at their times but for long pauses."""
    jobs, at_s, last_s = [], 0.0, _came_s(rows[0])
    for row in rows:
        came_s = _came_s(row)
        at_s, last_s = at_s + min(came_s - last_s, MOST_PAUSE_S), came_s
        prompt, output = row["prompt_tokens"] or 1, row["completion_tokens"] or 0
        background = row["priority"] == Priority.BEST_EFFORT.name.lower()
        operation, model = Operation(row["operation"]), names.of(row["model"])
        jobs.append(Job(at_s, row["program"], model, operation, prompt, prompt, output, background=background))
    return jobs


class _Names:
    """Backends have names of their own for one model; the history shows together which were chosen between."""

    def __init__(self, attempts: Sequence[Values]) -> None:
        self._same: dict[str, str] = {}
        for row in attempts:
            for other in alternatives(row):
                one, two = self.of(row["model"]), self.of(other["model"])
                if one != two:
                    self._same[two] = one

    def of(self, model: str) -> str:
        """The name that stands for all."""
        while model in self._same:
            model = self._same[model]
        return model


def alternatives(row: Values) -> Sequence[Mapping[str, Any]]:
    """The backends that were priced beside the chosen one."""
    found = json.loads(row["alternatives"] or "[]")
    return [each for each in found if each.get("energy_j") and each.get("time_s")]


@dataclass(slots=True)
class _Known:
    """What the history has of one backend, by model."""

    hardware: Hardware = Hardware.UNKNOWN
    shown: dict[str, list[Values]] = field(default_factory=lambda: defaultdict(list))
    forecast: dict[str, list[Pace]] = field(default_factory=lambda: defaultdict(list))
    forecast_w: list[float] = field(default_factory=list)


def _devices(names: _Names, attempts: Sequence[Values]) -> Iterator[MeasuredDevice]:
    """Each backend with what its answers showed, and what was forecast of it for the others."""
    known: dict[str, _Known] = defaultdict(_Known)
    for row in attempts:
        at = known[row["backend"]]
        at.hardware = Hardware(row["hardware"])
        if row["result"] == OK and row["busy_s"] > 0:
            at.shown[names.of(row["model"])].append(row)
        for other in alternatives(row):
            at = known[other["backend"]]
            at.forecast[names.of(other["model"])].append(forecast_pace(row, other["time_s"]))
            at.forecast_w.append(other["energy_j"] / other["time_s"])
    for backend, at in sorted(known.items()):
        paces = {model: typical_pace(found) for model, found in at.forecast.items()}
        paces |= {model: measured_pace(rows) for model, rows in at.shown.items()}
        power_w = _power_w([row for rows in at.shown.values() for row in rows])
        if paces:
            yield _device(backend, at.hardware, paces, power_w or median(at.forecast_w or [0.0]))


def _power_w(rows: Sequence[Values]) -> float:
    """Watts above idle while it answers."""
    busy_s = sum(row["busy_s"] - (row["load_s"] or 0.0) for row in rows)
    return sum(row["prefill_j"] + row["decoding_j"] for row in rows) / busy_s if busy_s > 0 else 0.0


def _device(backend: str, hardware: Hardware, paces: Mapping[str, Pace], power_w: float) -> MeasuredDevice:
    """A backend; its owner's configuration is what was measured, so that the policy knows it."""
    tps = [1 / pace.token_s for pace in paces.values() if pace.token_s > 0]
    speed = median(tps) if tps else None
    profile = Profile(power_w=power_w or None, decode_tps=speed)
    idle_w = idle_power_w(profile, hardware)
    return MeasuredDevice(
        backend,
        hardware,
        decode_tps=speed or 1.0,
        token_s=0.0,
        prefill_tps=1.0,
        first_s=0.0,
        power_w=power_w,
        load_gb_per_s=1.0,
        load_s=0.0,
        load_w=power_w,
        resident_w=idle_w,
        memory_gb=inf,
        slope=1.0,
        profile=profile,
        paces=paces,
    )


def _unknown(devices: Sequence[MeasuredDevice], found: int, used: int) -> Iterator[str]:
    """What the history does not tell, and what stands in its place."""
    if used < found:
        left_out = f"failed, given from the cache, without tokens told, or older than the last {MOST_REQUESTS}"
        yield f"{found - used} of {found} requests: {left_out}"
    for device in devices:
        if guessed := [model for model, pace in device.paces.items() if not pace.is_measured]:
            yield f"{device.id} never answered with {', '.join(sorted(guessed))}: by the forecasts of then"
    yield "idle watts of unused models are typical ones of their class; all models of a backend fit into its memory"
    yield "heat, battery, other programs' load and cached prompts are left out"
    yield "backends that no request could have gone to are not known, nor who named one: all go where the mode says"
    yield f"pauses above {MOST_PAUSE_S / 60:.0f} minutes are shortened"
