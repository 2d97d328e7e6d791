"""Times the policy's decision among the four backends of the reference profile."""

import time

from ollama_proxyd.core.auto import choose
from ollama_proxyd.core.fleet import BackendSpec, BackendView, FleetView, Hardware, Health, Model, Profile
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import rank
from ollama_proxyd.core.readings import UNKNOWN_SYSTEM
from ollama_proxyd.core.requests import Api
from ollama_proxyd.core.thresholds import AutoSettings

DECISIONS = 2000
REFERENCE = {
    Hardware.NPU: Profile(power_w=3, ttft_s=0.8, decode_tps=10),
    Hardware.IGPU: Profile(power_w=12, ttft_s=0.35, decode_tps=22),
    Hardware.NVIDIA: Profile(power_w=55, ttft_s=0.15, decode_tps=65),
    Hardware.CPU: Profile(power_w=28, ttft_s=1.2, decode_tps=6),
}


def _fleet() -> FleetView:
    """Four healthy backends that hold the model among others, each with some measured speed."""
    models = tuple(Model(name) for name in ("other:1b", "bench:latest", "third:7b"))
    learned = {"bench:latest": Speed(ttft_s=0.3, decode_tps=20, output_tokens=180, samples=12)}
    return tuple(
        BackendView(
            spec=BackendSpec(
                hardware.value, hardware.value, Api.OLLAMA, "http://127.0.0.1:1", hardware, profile=profile
            ),
            health=Health.UP,
            models=models,
            loaded=(),
            in_flight=1,
            speeds=learned,
        )
        for hardware, profile in REFERENCE.items()
    )


def decision_us(rounds: int) -> tuple[float, ...]:
    """The mean time of one decision in each round, in microseconds."""
    fleet, query, auto = _fleet(), Query("bench", prompt_tokens=400), AutoSettings()
    modes = list(Mode)
    if (
        len(rank(query, fleet, UNKNOWN_SYSTEM, choose(Mode.PERFORMANCE, UNKNOWN_SYSTEM, DEFAULT_TABLE, auto)).ranked)
        != 4
    ):
        raise AssertionError("the four backends do not all rank: this would time refusals")
    found = []
    for _ in range(rounds):
        began_ns = time.perf_counter_ns()
        for at in range(DECISIONS):
            rank(query, fleet, UNKNOWN_SYSTEM, choose(modes[at % len(modes)], UNKNOWN_SYSTEM, DEFAULT_TABLE, auto))
        found.append((time.perf_counter_ns() - began_ns) / DECISIONS / 1000)
    return tuple(found)
