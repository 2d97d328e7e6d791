"""Compares modes and baselines on the same days, as rows for tables, plots and programs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.core.values import value
from ollama_proxyd.sim.baselines import baselines
from ollama_proxyd.sim.bound import lower_bound_j
from ollama_proxyd.sim.machines import MACHINES, Device
from ollama_proxyd.sim.play import Contender, Figures, mean, play
from ollama_proxyd.sim.product import Product
from ollama_proxyd.sim.traffic import Traffic

DAYS: Mapping[str, Callable[[tuple[str, ...]], Traffic]] = {
    "day": Traffic,
    "agents": lambda _: Traffic(("chat:3b",), hours=0.5, programs=("agents",)),
    "chat": lambda chats: Traffic(chats, programs=("chat",)),
}
"""What a machine may have to do: a mixed day of six hours, four agents for half an hour, or chats alone."""


@value
class Question:
    """What is to be simulated."""

    machine: str = "laptop"
    traffic: str = "day"
    modes: tuple[Mode, ...] = tuple(Mode)
    with_baselines: bool = False
    seeds: int = 1


def rows(question: Question) -> Iterator[dict[str, Any]]:
    """One row for each mode and baseline, as soon as it is known: the means over the seeds."""
    machine = MACHINES[question.machine]
    traffic = DAYS[question.traffic](machine.chats)
    contenders: list[Contender] = [Product(mode) for mode in question.modes]
    if question.with_baselines:
        contenders += baselines(machine)
    for contender in contenders:
        days = [play(machine, traffic, contender, seed) for seed in range(1, question.seeds + 1)]
        row = _row(contender.name, mean([figures for figures, _ in days]))
        row["share_percent"] = _shares([job.backend for _, jobs in days for job in jobs], machine.devices)
        if isinstance(contender, Product) and contender.mode is not Mode.AUTO:
            price_w = DEFAULT_TABLE[contender.mode].price_of_time_w
            bounds = [lower_bound_j(machine, jobs, price_w) / len(jobs) for _, jobs in days]
            cost_j = fmean([figures.cost_j(price_w) for figures, _ in days])
            row |= {
                "price_of_time_watts": price_w,
                "cost_joules": cost_j,
                "bound_joules": fmean(bounds),
                "gap_percent": 100 * (cost_j / fmean(bounds) - 1),
            }
        yield row


def _row(name: str, found: Figures) -> dict[str, Any]:
    return {
        "name": name,
        "requests": found.requests,
        "energy_joules": found.energy_j,
        "active_joules": found.active_j,
        "load_joules": found.load_j,
        "tail_joules": found.tail_j,
        "waiting_seconds": found.waiting_s,
        "p50_seconds": found.p50_s,
        "p95_seconds": found.p95_s,
        "ttft_p50_seconds": found.ttft_p50_s,
        "ttft_p95_seconds": found.ttft_p95_s,
        "missed_percent": found.missed_percent,
        "refused": found.refused,
        "background_seconds": found.background_s,
        "battery_hours": found.battery_h,
        "hottest_celsius": found.peak_c,
    }


def _shares(backends: Sequence[str | None], devices: Sequence[Device]) -> dict[str, float]:
    served = max(sum(each is not None for each in backends), 1)
    return {device.id: 100 * backends.count(device.id) / served for device in devices}
