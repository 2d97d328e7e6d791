#!/usr/bin/env python3
"""Prints how long one routing decision takes: the median of many, for several sizes of fleet."""

import sys
import timeit
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ollama_proxyd.core.auto import choose
from ollama_proxyd.core.fleet import BackendSpec, BackendView, FleetView, Hardware, Health, LoadedModel, Model, Profile
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import rank
from ollama_proxyd.core.readings import DeviceState, PowerState, Reading, SystemState
from ollama_proxyd.core.requests import Api
from ollama_proxyd.core.thresholds import AutoSettings

GOAL_US = 100
ROUNDS, DECISIONS = 15, 2000
SIZES = (4, 10, 100, 1000)

PROFILES = {
    Hardware.NPU: Profile(power_w=3, ttft_s=0.8, decode_tps=10),
    Hardware.IGPU: Profile(power_w=12, ttft_s=0.35, decode_tps=22),
    Hardware.NVIDIA: Profile(power_w=55, ttft_s=0.15, decode_tps=65),
    Hardware.CPU: Profile(power_w=28, ttft_s=1.2, decode_tps=6),
}


def fleet(rounds: int, models: int, *, is_local: bool = True) -> FleetView:
    """Backends of the reference profile, some of them at work, all of them measured."""
    held = tuple(Model(f"model-{at}:latest", size_bytes=4_000_000_000) for at in range(models))
    return tuple(
        BackendView(
            spec=BackendSpec(
                f"{hardware.value}{at}", hardware.value, Api.OLLAMA, "", hardware, profile=profile, is_local=is_local
            ),
            health=Health.UP,
            models=held,
            loaded=(LoadedModel(held[-1].name),),
            in_flight=at % 2,
            speeds={held[-1].name: Speed(profile.ttft_s, profile.decode_tps, 150.0, samples=9)},
        )
        for at in range(rounds)
        for hardware, profile in PROFILES.items()
    )


MACHINE = SystemState(
    games=Reading(value=0, at_s=0.0),
    devices=tuple(
        DeviceState(
            hardware.value,
            hardware,
            hardware.value,
            PowerState.AWAKE,
            temperature_c=Reading(60.0, 0.0),
            critical_c=Reading(100.0, 0.0),
            slope_c_per_s=Reading(0.8, 0.0),
            fan_percent=Reading(35.0, 0.0),
            throttling=Reading("", 0.0),
        )
        for hardware in PROFILES
    ),
)
"""Every device is known, and warming up."""


def decision_us(backends: FleetView, *, is_busy: bool) -> float:
    """Microseconds of one decision; before each a request comes or goes where the fleet is busy."""
    setting = choose(Mode.BALANCED, MACHINE, DEFAULT_TABLE, AutoSettings())
    query = Query(backends[0].models[-1].name.removesuffix(":latest"), prompt_tokens=300)
    views, places = list(backends), cycle(range(len(backends)))

    def decide() -> None:
        if is_busy:
            at = next(places)
            views[at] = replace(views[at], in_flight=1 - views[at].in_flight)
        rank(query, tuple(views) if is_busy else backends, MACHINE, setting)

    decide()
    decisions = max(DECISIONS // len(backends), 5)
    return median(timeit.repeat(decide, number=decisions, repeat=ROUNDS)) / decisions * 1e6


def main() -> None:
    """Print the table."""
    kinds = (("on this machine", True), ("on others", False))
    for size in SIZES:
        for where, is_local in kinds:
            backends = fleet(-(-size // len(PROFILES)), 1, is_local=is_local)[:size]
            idle_us, busy_us = decision_us(backends, is_busy=False), decision_us(backends, is_busy=True)
            print(f"{size:5} backends {where:15}: {idle_us:8.1f} µs a decision, {busy_us:8.1f} µs while requests come")
    print(f"the goal is less than {GOAL_US} µs for four backends")


if __name__ == "__main__":
    main()
