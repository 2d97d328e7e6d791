"""What finished requests teach about a backend's speed and watts: weighted means, never from failures."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import field
from math import inf, log2
from typing import Any, NamedTuple, TypeAlias

from ollama_proxyd.core.slowing import NEIGHBOUR_SLOWDOWN, Slowing
from ollama_proxyd.core.values import replace, value

DECAY = 0.2
"""What a new sample weighs once there are many; the first ones weigh 1, 1/2, 1/3 … until that falls below this."""
MOST_WEIGHT = 1 / DECAY
"""More samples than these stand for no more: the older ones have faded."""
HALF_LIFE_S = 14 * 86400.0
"""After this time what was measured stands for half as much: firmware and engines change."""
ENOUGH_SAMPLES = 2
"""So many measurements count by themselves, without the prior."""
CONTEXTS = (512, 2048, 8192, 32768)
"""Where a longer context begins, in tokens of the prompt: speed is learned for each by itself."""
FASTEST_TPS = 100_000.0
"""No device writes faster; an engine that says so has a broken clock."""

MOST_LENGTHS = 64
"""Of so many programs and operations the lengths of answers are kept, for each model of a backend."""

Asker: TypeAlias = tuple[str, str]
"""A program by its name, and the operation that it asks for."""


class Length(NamedTuple):
    """How long answers are, in tokens, and how many have shown it."""

    tokens: float
    samples: int = 1

    def after(self, tokens: float, *, is_cut: bool) -> "Length":
        """The same after one more; one that was cut shows that they are at least so long."""
        if is_cut and tokens <= self.tokens:
            return self
        share = max(DECAY, 1 / (self.samples + 1))
        return Length(_mean(self.tokens, tokens, share), self.samples + 1)


Part: TypeAlias = str | tuple[str, int]
"""What is measured, of a longer context with its number."""


@value
class Speed:
    """Measured speed of one model on one backend; None until a request showed it.

    ttft_s: seconds to the first token of a short prompt. decode_tps: tokens per second after it.
    output_tokens: a typical answer. samples: how many requests taught this.
    """

    ttft_s: float | None = None
    decode_tps: float | None = None
    output_tokens: float | None = None
    samples: int = 0
    longer: Mapping[tuple[str, int], float] = field(default_factory=dict)
    """The same for longer contexts: `prefill_tps` and `decode_tps` by the number of the context."""
    beside: Mapping[str, float] = field(default_factory=dict)
    """How much longer another backend at work on the chip makes an answer, and each other of its own requests."""
    crowds: Mapping[Part, float] = field(default_factory=dict)
    """How many others of its batch slowed the answers that showed a speed of writing, where there were any."""
    lengths: Mapping[Asker, Length] = field(default_factory=dict)
    """The length of answers to each program and operation."""
    seen_once: frozenset[Part] = frozenset()
    """The parts that a single request has shown: that one may have been an exception."""
    weight: float | None = None
    """How many new requests it stands for; it falls with time. None: as many as taught it."""
    at_s: float = 0.0
    """When it was taught last, on the monotonic clock."""
    kin: str | None = None
    """The backend of the same kind that showed it, where this one has shown nothing; `samples` is 0 then."""
    guessed: frozenset[Part] = frozenset()
    """The parts that only its kin has shown: the first of its own takes their place."""

    def weight_at(self, now_s: float) -> float:
        """How many requests it stands for now: what was measured long ago may have changed since."""
        weight = float(self.samples) if self.weight is None else self.weight
        return min(weight, MOST_WEIGHT) * float(0.5 ** (max(now_s - self.at_s, 0.0) / HALF_LIFE_S))

    def weighs_until_s(self, least: float) -> float:
        """Until when it stands for at least so many requests."""
        weight = self.weight_at(self.at_s)
        return self.at_s + HALF_LIFE_S * (log2(weight) - log2(least)) if weight > 0 else -inf

    def prior(self, now_s: float) -> "Speed":
        """The same as a first guess for other conditions: what is seen there soon counts more."""
        return replace(self, weight=min(self.weight_at(now_s), 1.0), at_s=now_s)

    def first_guess(self) -> "Speed":
        """The same as if a single request had shown it: a second one counts by itself."""
        known = {"ttft_s": self.ttft_s, "decode_tps": self.decode_tps, "output_tokens": self.output_tokens}
        shown = frozenset(part for part, value in known.items() if value is not None)
        return replace(self.prior(self.at_s), samples=min(self.samples, 1), seen_once=shown | self.longer.keys())

    def slowed(self, backend_id: str, each: float, *, is_own: bool) -> "Speed":
        """The same with how others slow it; speeds that were shown in a batch follow, as alone they were not seen."""
        known = self.beside.get(backend_id, NEIGHBOUR_SLOWDOWN)
        times = {part: (1 + each * crowd) / (1 + known * crowd) for part, crowd in self.crowds.items() if is_own}
        return replace(
            self,
            beside={**self.beside, backend_id: each},
            decode_tps=self.decode_tps and self.decode_tps * times.get("decode_tps", 1.0),
            longer={part: speed * times.get(part, 1.0) for part, speed in self.longer.items()},
        )

    def slowdown(self, beside: Mapping[str, float], own_id: str) -> float:
        """How many times longer an answer takes beside so many other requests, by backend."""
        if not beside:
            return 1.0
        counts = {each: count if each == own_id else min(count, 1.0) for each, count in beside.items()}
        return 1 + sum([self.beside.get(each, NEIGHBOUR_SLOWDOWN) * count for each, count in counts.items()])

    def decode_in(self, tokens: float) -> float | None:
        """How fast it is known to write after such a prompt, alone."""
        part = _writing_after(tokens)
        known = self.decode_tps if isinstance(part, str) else self.longer.get(part)
        return known if self.is_sure(part) else None

    def crowd_in(self, tokens: float) -> float:
        """How many others of its batch that is known beside."""
        return self.crowds.get(_writing_after(tokens), 0.0)

    def is_sure(self, part: Part) -> bool:
        """Whether two requests have shown a part, so that it counts by itself."""
        return self.samples >= ENOUGH_SAMPLES and part not in self.seen_once

    @property
    def told_tps(self) -> float | None:
        """How fast it writes, with the shortest prompts that were seen."""
        part = self.nearest("decode_tps", 0) if self.decode_tps is None and self.longer else None
        return self.decode_tps if part is None else self.longer[part]

    def nearest(self, part: str, context: int) -> tuple[str, int] | None:
        """Where a part was seen that lies nearest to a context, a shorter one rather than a longer one."""
        places = [at for name, at in self.longer if name == part]
        return (part, min(places, key=lambda at: (abs(at - context), at))) if places else None


class Answer(NamedTuple):
    """What one answer showed of a backend's speed; None for what it did not."""

    ttft_s: float | None = None
    """Of a short prompt."""
    prefill_tps: float | None = None
    """Of a longer one."""
    read_tokens: float = 0.0
    """How much was read of the prompt: what was cached was not."""
    decode_tps: float | None = None
    context_tokens: float = 0.0
    """The length of the whole prompt."""
    output_tokens: float | None = None
    is_cut: bool = False
    """Whether that was as much as it might write: it would have been at least so long."""
    asker: Asker = ("", "")
    batch: float = 0.0
    """How many others of its own backend were under way beside it."""
    slowing: Slowing | None = None
    """What those showed that alone were under way beside it."""


def _writing_after(tokens: float) -> Part:
    """The speed of writing after a prompt of so many tokens."""
    context = context_of(tokens)
    return ("decode_tps", context) if context else "decode_tps"


def context_of(tokens: float) -> int:
    """The number of the context that a prompt of so many tokens makes: 0 is a short one."""
    return bisect_left(CONTEXTS, tokens)


def learn(speed: Speed | None, answer: Answer, at_s: float = 0.0) -> Speed:
    """The speed after one more whole answer; None and absurd values (not above zero, not finite) teach nothing.

    Configured values take no part here: `expected` weighs them at each decision, so a change counts at once.
    """
    before, tokens = speed or Speed(), _sane(answer.output_tokens)
    if answer.slowing is not None:
        shown_by = answer.slowing.backend_id
        now = answer.slowing.after(before.beside.get(shown_by, NEIGHBOUR_SLOWDOWN), DECAY)
        before = before.slowed(shown_by, now, is_own=bool(answer.batch))
    lengths = _lengths(before.lengths, answer, tokens)
    if answer.is_cut and (tokens or 0.0) <= (before.output_tokens or 0.0):
        tokens = None  # it tells no more than was known
    shown = _shown(answer, tokens)
    if not shown:
        return before if lengths is before.lengths else replace(before, lengths=lengths)
    weight = before.weight_at(at_s)
    share, seen_once = max(DECAY, 1 / (weight + 1)), before.seen_once
    short = {"ttft_s": before.ttft_s, "decode_tps": before.decode_tps, "output_tokens": before.output_tokens}
    known: dict[Any, Any] = {**short, **before.longer}
    for part, sample in shown:
        was = None if part in before.guessed else known.get(part)
        known[part] = sample if was is None else _mean(was, sample, share)
        if (was is None) != (part in seen_once):
            seen_once ^= {part}
    return Speed(
        known.pop("ttft_s"),
        known.pop("decode_tps"),
        known.pop("output_tokens"),
        samples=before.samples + 1,
        longer=known,
        beside=before.beside,
        crowds=_crowds(before, answer, share) if before.crowds or answer.batch else before.crowds,
        lengths=lengths,
        seen_once=seen_once,
        weight=weight + 1,
        at_s=at_s,
        guessed=before.guessed and before.guessed.difference([part for part, _ in shown]),
    )


def _shown(answer: Answer, output_tokens: float | None) -> Sequence[tuple[Part, float]]:
    """The parts of a speed that an answer shows."""
    parts: list[tuple[Part, float | None]] = [("output_tokens", output_tokens)]
    if answer.ttft_s is not None:
        parts.append(("ttft_s", _sane(answer.ttft_s)))
    if answer.prefill_tps is not None:
        parts.append((("prefill_tps", context_of(answer.read_tokens)), _fast(answer.prefill_tps)))
    if answer.decode_tps is not None:
        parts.append((_writing_after(answer.context_tokens), _fast(answer.decode_tps)))
    return [(part, value) for part, value in parts if value is not None]


def _lengths(before: Mapping[Asker, Length], answer: Answer, tokens: float | None) -> Mapping[Asker, Length]:
    """The lengths of answers after one more; the last ones are remembered."""
    if tokens is None:
        return before
    lengths = dict(before)
    known = lengths.pop(answer.asker, None)
    lengths[answer.asker] = Length(tokens) if known is None else known.after(tokens, is_cut=answer.is_cut)
    if len(lengths) > MOST_LENGTHS:
        lengths.pop(next(iter(lengths)))
    return lengths


def _crowds(before: Speed, answer: Answer, share: float) -> Mapping[Part, float]:
    """How many were beside the answers that showed each speed of writing, after one that weighs such a share."""
    part = _writing_after(answer.context_tokens)
    known = before.crowds.get(part, 0.0)
    if _fast(answer.decode_tps) is None or not (known or answer.batch):
        return before.crowds
    is_known = (before.decode_tps if isinstance(part, str) else before.longer.get(part)) is not None
    is_known = is_known and part not in before.guessed
    return {**before.crowds, part: known + (share if is_known else 1.0) * (answer.batch - known)}


def expected(prior: float, measured: float | None, *, is_sure: bool) -> float:
    """The value to expect: a first measurement weighs as much as the prior, two of them count by themselves."""
    sample = _sane(measured)
    if sample is None:
        return prior
    return sample if is_sure or not prior > 0 else _mean(prior, sample, 0.5)


def _mean(before: float, sample: float, weight: float) -> float:
    """The weighted geometric mean: a value ten times too high moves it no further than one ten times too low."""
    return float(before ** (1 - weight) * sample**weight)


def _fast(value: float | None) -> float | None:
    return value if value is not None and 0 < value <= FASTEST_TPS else None


def _sane(value: float | None) -> float | None:
    return value if value is not None and 0 < value < inf else None
