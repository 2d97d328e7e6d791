"""Seeded days of requests: chat, completion as one types, bursts of embeddings, agents and batches."""

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter

from ollama_proxyd.core.requests import Operation
from ollama_proxyd.core.values import value

HOUR_S = 3600.0
BATCH_JOBS = 30


@dataclass(slots=True, eq=False)
class Job:
    """A request: when it comes, what it truly needs, and what became of it.

    `new_tokens` is the part of the prompt that no earlier turn of its conversation has. Times are None until known.
    """

    at_s: float
    program: str
    model: str
    operation: Operation
    prompt_tokens: int
    new_tokens: int
    output_tokens: int
    max_tokens: int | None = None
    background: bool = False
    conversation: int | None = None
    first_s: float | None = None
    done_s: float | None = None
    backend: str | None = None
    refused: str | None = None
    energy_j: float = 0.0
    """What its device drew while it worked for it."""

    @property
    def waited_s(self) -> float:
        """From its coming to the end of its answer."""
        return math.inf if self.done_s is None else self.done_s - self.at_s

    @property
    def ttft_s(self) -> float:
        """From its coming to the first word."""
        return math.inf if self.first_s is None else self.first_s - self.at_s


@value
class Traffic:
    """What a day has: its length, how busy it is, the chats' models, and which programs run."""

    chats: tuple[str, ...]
    hours: float = 6.0
    rate: float = 1.0
    programs: tuple[str, ...] = ("chat", "type", "embed", "batch")

    def jobs(self, seed: int) -> list[Job]:
        """The requests of one day, in their order; the same seed makes the same day."""
        rng = random.Random(seed)  # noqa: S311 - a simulation, no secret
        found = [job for name, make in PROGRAMS.items() if name in self.programs for job in make(rng, self)]
        return sorted((job for job in found if job.at_s < self.end_s), key=attrgetter("at_s"))

    @property
    def end_s(self) -> float:
        """When no more requests come."""
        return self.hours * HOUR_S


def _chat(rng: random.Random, day: Traffic) -> Iterator[Job]:
    """Conversations with think times; each turn has all earlier ones in its prompt."""
    at_s, conversation = 0.0, 0
    while (at_s := at_s + rng.expovariate(day.rate / 600.0)) < day.end_s:
        conversation, model, turn_s, context = conversation + 1, rng.choice(day.chats), at_s, 150
        for turn in range(1 + min(int(rng.expovariate(1 / 4.0)), 15)):
            new, output = _length(rng, 60, 1.0, 8, 3000), _length(rng, 180, 0.9, 5, 2000)
            fresh = new if turn else context + new
            yield Job(turn_s, "chat", model, Operation.CHAT, context + new, fresh, output, conversation=conversation)
            context += new + output
            turn_s += max(15.0, rng.lognormvariate(math.log(45), 0.8))


def _type(rng: random.Random, day: Traffic) -> Iterator[Job]:
    """Three bouts of completion as one types."""
    for bout in range(3):
        at_s = begins_s = day.end_s * (bout + 0.3) / 3
        while (at_s := at_s + rng.expovariate(day.rate / 8.0)) < begins_s + 1200:
            prompt, output = _length(rng, 700, 0.5, 50, 4000), _length(rng, 15, 0.7, 1, 64)
            yield Job(at_s, "type", "coder:1.5b", Operation.COMPLETION, prompt, prompt, output, max_tokens=64)


def _embed(rng: random.Random, day: Traffic) -> Iterator[Job]:
    """Bursts of embeddings, as an indexer sends them when files have changed."""
    for burst in range(int(day.hours * 60 / 40 * day.rate)):
        for each in range(15):
            prompt = _length(rng, 300, 0.4, 20, 2000)
            at_s = 1200 + burst * 2400 / day.rate + 0.3 * each
            yield Job(at_s, "embed", "embed:0.1b", Operation.EMBEDDING, prompt, prompt, 0)


def _batch(rng: random.Random, day: Traffic) -> Iterator[Job]:
    """Three batches in the background."""
    for batch in range(3):
        for each in range(int(BATCH_JOBS * day.rate)):
            prompt, output = _length(rng, 1500, 0.5, 200, 6000), _length(rng, 220, 0.6, 20, 1000)
            at_s = day.end_s * (batch + 0.5) / 3 + 2.0 * each
            yield Job(at_s, "batch", "chat:3b", Operation.CHAT, prompt, prompt, output, background=True)


def _agents(rng: random.Random, day: Traffic) -> Iterator[Job]:
    """Four agents at a time, with long prompts and short thoughts between."""
    for agent in range(int(4 * day.rate)):
        at_s = 10.0 * agent
        while (at_s := at_s + max(0.5, rng.expovariate(1 / 12.0))) < day.end_s:
            prompt, output = _length(rng, 2500, 0.5, 300, 8000), _length(rng, 120, 0.8, 10, 1500)
            yield Job(at_s, "agents", "chat:3b", Operation.CHAT, prompt, prompt, output)


PROGRAMS: Mapping[str, Callable[[random.Random, Traffic], Iterator[Job]]] = {
    "chat": _chat,
    "type": _type,
    "embed": _embed,
    "batch": _batch,
    "agents": _agents,
}


def _length(rng: random.Random, median: float, sigma: float, least: int, most: int) -> int:
    return int(min(max(rng.lognormvariate(math.log(median), sigma), least), most))
