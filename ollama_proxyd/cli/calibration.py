"""Measures what a model costs on a backend: a few answers of known sizes, asked through the daemon itself."""

import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ollama_proxyd.cli.failures import Failed

if TYPE_CHECKING:
    from ollama_proxyd.cli.client import Client

WORDS = ("time", "river", "stone", "light", "paper", "green", "window", "music", "winter", "garden", "letter", "bridge")
SHORT, LONG = 24, 900
"""Words of the two prompts."""
SHORTENED = 4
"""The long prompt is so many times shorter for a model that cannot read it."""
WRITTEN, SCARCELY = 48, 8
"""Tokens that are written after each."""
REPEATED = 2
"""Two measurements of a speed replace what was assumed of it."""
CUT_SHORT = "stopped"
"""What a row says that Ctrl-C cut short."""
CHAT, EMBEDDING = "/v1/chat/completions", "/v1/embeddings"
_number = itertools.count(time.time_ns() % 10**9)


@dataclass(frozen=True, slots=True)
class Target:
    """A model on a backend; `asleep` where its device sleeps now."""

    backend: str
    model: str
    asleep: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer as its client saw it; joules are None where the daemon does not know them."""

    read: int
    written: int
    first_s: float
    total_s: float
    energy_j: float | None
    source: str | None
    error_percent: float | None = None
    """How far the joules may be wrong, by the daemon's own word."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request: how many words are read, how many tokens written; the first one only has the model loaded."""

    words: int
    tokens: int
    is_first: bool = False


STEPS = (Step(SHORT, 1, is_first=True), *(Step(SHORT, WRITTEN), Step(LONG, SCARCELY)) * REPEATED)


def targets(status: Any, *, every_model: bool) -> list[Target]:
    """What can be measured: each backend that serves, with a model in memory before others, or with all of them."""
    found = []
    for backend in status["backends"]:
        if not backend["enabled"] or backend["health"] != "up" or not backend["models"]:
            continue
        loaded = [model for model in backend["loaded_models"] or () if model in backend["models"]]
        models = backend["models"] if every_model else (loaded or backend["models"])[:1]
        found += [Target(backend["id"], model, bool(backend["asleep"])) for model in models]
    return found


def measure(daemon: "Client", target: Target, tell: Callable[[], None]) -> dict[str, Any]:
    """What one model costs on one backend; `tell` is called after each request. The row tells a refusal, or Ctrl-C."""
    samples: list[Sample] = []
    path, why = CHAT, None
    for step in STEPS:
        try:
            path, sample = _answered(daemon, target, path, step)
        except (Failed, KeyboardInterrupt) as ended:
            why = ended.message if isinstance(ended, Failed) else CUT_SHORT
            break
        if not step.is_first:
            samples.append(sample)
        tell()
    return reckoned(target, samples, why)


def _answered(daemon: "Client", target: Target, path: str, step: Step) -> tuple[str, Sample]:
    """One answer and the way it came: a model of embeddings refuses to talk, one of a short context to read much."""
    try:
        return path, _ask(daemon, target, path, step)
    except Failed as refused:
        is_talk = step.is_first and path == CHAT
        if not is_talk and step.words == SHORT:
            raise
        other = (EMBEDDING, step) if is_talk else (path, Step(step.words // SHORTENED, step.tokens))
        try:
            return other[0], _ask(daemon, target, *other)
        except Failed:
            raise refused from None


def reckoned(target: Target, samples: Sequence[Sample], why: str | None = None) -> dict[str, Any]:
    """Seconds and joules for each token read and written; None where the answers do not tell.

    Long prompts tell what reading costs, beside the short ones, which tell what writing costs.
    """
    most_of_short = 2 * min([each.read for each in samples], default=0)
    short = [each for each in samples if each.read <= most_of_short]
    long = [each for each in samples if each.read > most_of_short]
    writing_s = _mean([(each.total_s - each.first_s) / (each.written - 1) for each in short if each.written > 1])
    reading_s, spread_s = None, _spread([each.total_s for each in short])
    if short and long:
        more = fmean(each.read for each in long) - fmean(each.read for each in short)
        reading_s = _longer_s(short, long) / more or None
    writing_j, reading_j = _joules(short, long)
    sources = {each.source for each in samples if each.source}
    source = max(sources, key=("measured", "attributed", "estimated").index) if sources else None
    return {
        "backend": target.backend,
        "model": target.model,
        "answers": len(samples),
        "read_seconds_per_token": reading_s,
        "written_seconds_per_token": writing_s,
        "read_joules_per_token": reading_j,
        "written_joules_per_token": writing_j,
        "energy_source": source,
        "time_error_percent": spread_s,
        "energy_error_percent": _energy_error(samples, short),
        "error": why,
    }


def _longer_s(short: Sequence[Sample], long: Sequence[Sample]) -> float:
    """How much later long prompts have been read than short ones; 0 where each alone differs by as much."""
    firsts = [[each.first_s for each in group] for group in (short, long)]
    longer_s = fmean(firsts[1]) - fmean(firsts[0])
    return longer_s if longer_s > max(max(group) - min(group) for group in firsts) else 0.0


def _energy_error(samples: Sequence[Sample], short: Sequence[Sample]) -> float | None:
    """What repeated answers differ by, and at least what the daemon says of each."""
    told = [each.error_percent for each in samples if each.error_percent is not None]
    spread = _spread([each.energy_j for each in short if each.energy_j is not None])
    return max([*told, *([] if spread is None else [spread])], default=None)


def _joules(short: Sequence[Sample], long: Sequence[Sample]) -> tuple[float | None, float | None]:
    """Joules for each token written and read, from two sums with these two unknowns."""
    one, other = _sum(short), _sum(long)
    if one is None or other is None:
        return None, None
    (read, written, energy_j), (read2, written2, energy2_j) = one, other
    determinant = read * written2 - read2 * written
    if not determinant:
        return None, energy2_j / read2
    reading_j = (energy_j * written2 - energy2_j * written) / determinant
    writing_j = (read * energy2_j - read2 * energy_j) / determinant
    return _shown(writing_j), _shown(reading_j)


def _shown(value: float) -> float | None:
    """A cost; None where what it is taken from differed by more than the cost itself, so that nothing is known."""
    return value if value > 0 else None


def _sum(samples: Sequence[Sample]) -> tuple[float, float, float] | None:
    joules = [each.energy_j for each in samples if each.energy_j is not None]
    if not joules or len(joules) < len(samples):
        return None
    return sum(each.read for each in samples), sum(each.written for each in samples), sum(joules)


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _spread(values: Sequence[float]) -> float | None:
    """How far repeated measurements lie from their mean, in percent."""
    if len(values) < REPEATED or not (mean := fmean(values)):
        return None
    return 100 * (max(values) - min(values)) / 2 / mean


def _ask(daemon: "Client", target: Target, path: str, step: Step) -> Sample:
    """One request through the daemon, which learns from it as from any; raises Failed."""
    text = " ".join((str(next(_number)), *itertools.islice(itertools.cycle(WORDS), step.words)))
    body: dict[str, Any] = {"model": target.model}
    if path == EMBEDDING:
        body |= {"input": text}
    else:
        asked = f"{text}\nWrite a long story with these words."
        body |= {"messages": [{"role": "user", "content": asked}], "stream": True, "max_tokens": step.tokens}
    headers = {"X-Target-Backend": target.backend, "X-Include-Energy": "true", "Cache-Control": "no-store"}
    usage: dict[str, Any] = {}
    begun_s, first_s, pieces = time.monotonic(), None, 0
    for frame in _frames(daemon, path, body, headers):
        if "error" in frame:
            raise Failed(str(frame["error"].get("message") if isinstance(frame["error"], dict) else frame["error"]))
        usage = frame.get("usage") or usage
        if any((choice.get("delta") or {}).get(key) for choice in frame.get("choices", ()) for key in _WORDS):
            pieces += 1
            first_s = first_s or time.monotonic() - begun_s
    total_s = time.monotonic() - begun_s
    read = usage.get("prompt_tokens") or step.words
    written = 0 if path == EMBEDDING else usage.get("completion_tokens") or pieces
    energy = (usage.get(key) for key in ("energy_j", "energy_source", "energy_error_percent"))
    return Sample(read, written, first_s or total_s, total_s, *energy)


_WORDS = ("content", "reasoning", "reasoning_content")


def _frames(daemon: "Client", path: str, body: Any, headers: dict[str, str]) -> Iterator[Any]:
    for line in daemon.lines(path, body, headers):
        text = line.removeprefix("data: ").strip()
        if text.startswith("{"):
            yield json.loads(text)
