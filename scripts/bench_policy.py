#!/usr/bin/env python3
"""Prints how long one routing decision takes: the median of many, for several sizes of fleet and lists of models."""

import sys
import timeit
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
ROUNDS, DECISIONS = 51, 100

PROFILES = {
    Hardware.NPU: Profile(power_w=3, ttft_s=0.8, decode_tps=10),
    Hardware.IGPU: Profile(power_w=12, ttft_s=0.35, decode_tps=22),
    Hardware.NVIDIA: Profile(power_w=55, ttft_s=0.15, decode_tps=65),
    Hardware.CPU: Profile(power_w=28, ttft_s=1.2, decode_tps=6),
}


def fleet(rounds: int, models: int) -> FleetView:
    """Backends of the reference profile, some of them at work, all of them measured."""
    held = tuple(Model(f"model-{at}:latest", size_bytes=4_000_000_000) for at in range(models))
    return tuple(
        BackendView(
            spec=BackendSpec(f"{hardware.value}{at}", hardware.value, Api.OLLAMA, "", hardware, profile=profile),
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


def decision_us(backends: FleetView) -> float:
    """Microseconds of one decision."""
    setting = choose(Mode.BALANCED, MACHINE, DEFAULT_TABLE, AutoSettings())
    query = Query(backends[0].models[-1].name.removesuffix(":latest"), prompt_tokens=300)
    times_s = timeit.repeat(lambda: rank(query, backends, MACHINE, setting), number=DECISIONS, repeat=ROUNDS)
    return median(times_s) / DECISIONS * 1e6


def main() -> None:
    """Print the table."""
    for rounds, models in ((1, 1), (1, 50), (4, 1), (4, 50)):
        backends = fleet(rounds, models)
        print(f"{len(backends):3} backends with {models:3} models each: {decision_us(backends):7.1f} µs a decision")
    print(f"the goal is less than {GOAL_US} µs for four backends")


if __name__ == "__main__":
    main()
