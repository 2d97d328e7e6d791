"""Plays requests on simulated clusters of cards: what the policy saves beside rules of load balancers."""

import argparse
import random
import time
from collections.abc import Iterator, Sequence

from ollama_proxyd.core.fleet import Hardware, Profile
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.requests import Operation
from ollama_proxyd.services.settings import QueueSettings
from ollama_proxyd.sim.baselines import RULES, Baseline
from ollama_proxyd.sim.machines import Cooling, Device, Machine
from ollama_proxyd.sim.play import Contender, play_jobs
from ollama_proxyd.sim.product import Product
from ollama_proxyd.sim.traffic import Job

PLANS = {10: 900.0, 30: 300.0, 100: 300.0, 1000: 60.0}
"""How many seconds are played for each number of backends."""
PER_BACKEND = 0.08
"""Requests a second for each backend: some two fifths of what round robin carries."""
MODEL = "chat:8b"
SLOTS = 8
CARDS = (
    ("small", 72.0, 40.0, 1500.0, 0.15),
    ("middle", 300.0, 90.0, 4000.0, 0.08),
    ("large", 700.0, 160.0, 9000.0, 0.05),
)
"""Watts at work, tokens written and read a second, and seconds to the first token: assumptions of a plausible size."""
STILL = Cooling(0.01, 90, 0)


def cluster(number: int) -> Machine:
    """So many cards of three classes in turn, each with an engine that answers SLOTS requests at once."""
    devices = []
    for at in range(number):
        name, power_w, decode_tps, prefill_tps, first_s = CARDS[at % len(CARDS)]
        devices.append(
            Device(
                id=f"{name}{at}",
                hardware=Hardware.NVIDIA,
                decode_tps=decode_tps,
                token_s=0.002,
                prefill_tps=prefill_tps,
                first_s=first_s,
                power_w=power_w,
                load_gb_per_s=5.0,
                load_s=0.5,
                load_w=0.4 * power_w,
                resident_w=0.15 * power_w,
                memory_gb=24,
                slope=0.05,
                packaged=False,
                slots=SLOTS,
                tells_slots=True,
                profile=Profile(power_w, first_s, decode_tps),
            )
        )
    return Machine(f"cluster of {number}", tuple(devices), 0, None, STILL, STILL, chats=(MODEL,))


def jobs(number: int, seconds: float) -> Iterator[Job]:
    """Chats that come at random; the same number makes the same ones."""
    rng, at_s = random.Random(1), 0.0
    while (at_s := at_s + rng.expovariate(PER_BACKEND * number)) < seconds:
        prompt = int(min(max(rng.lognormvariate(6.2, 0.8), 20), 6000))
        answer = int(min(max(rng.lognormvariate(5.0, 0.7), 8), 1000))
        yield Job(at_s, "app", MODEL, Operation.CHAT, prompt, prompt, answer)


def contenders(number: int) -> Sequence[Contender]:
    """Two rules of load balancers, and the policy in three modes, which lets wait as many as all slots take."""
    rules = [Baseline(name, RULES[name]) for name in ("round robin", "least connections")]
    slots = SLOTS * number
    modes = (Mode.PERFORMANCE, Mode.BALANCED, Mode.EFFICIENCY)
    return [*rules, *(Product(each, queue=QueueSettings(slots), max_in_flight=2 * slots) for each in modes)]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench cluster", description="Simulated clusters of cards.")
    parser.add_argument("--backends", metavar="NUMBERS", default="10", help=f"of {','.join(map(str, PLANS))}")
    options = parser.parse_args()
    head = (
        "backends",
        "requests",
        "refused",
        "",
        "J each",
        "mean wait",
        "95 of 100 within",
        "first token, 95 of 100",
        "played in",
    )
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for number in map(int, options.backends.split(",")):
        for contender in contenders(number):
            asked, began_s = list(jobs(number, PLANS[number])), time.process_time()
            seen = play_jobs(cluster(number), asked, contender)
            told = f"{seen.energy_j:.0f} | {seen.waiting_s:.1f} s | {seen.p95_s:.1f} s | {seen.ttft_p95_s:.1f} s"
            spent_s = time.process_time() - began_s
            count = f"{number} | {len(asked)} | {seen.refused:.0f}"
            print(f"| {count} | {contender.name} | {told} | {spent_s:.0f} s |", flush=True)


if __name__ == "__main__":
    main()
