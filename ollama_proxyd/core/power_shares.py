"""How what a device draws is shared among the attempts that run on it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ollama_proxyd.core.battery_gauge import NOTHING_TOLD, Told
from ollama_proxyd.core.energy import ESTIMATE_ERROR, Source, worst
from ollama_proxyd.core.events import Timings

PREFILL_SHARE: Final = 1 / 15
"""What reading a token takes of what writing one takes: a prompt is read in batches."""


class Rates(NamedTuple):
    """Tokens per second of an attempt, those of the prompt counted by what they take."""

    prefill: float
    decode: float


@dataclass(slots=True, eq=False)
class Share:
    """One attempt's part; joules are those charged to it so far, before and after its first token.

    `mark_j`, `first_j` and `end_j` are what the consumer's `each_j` showed when it was charged last, at its first token
    and at its end.
    """

    consumer: "Consumer"
    mark_j: float
    first_j: float | None = None
    end_j: float | None = None
    rates: Rates | None = None
    """None until it has ended, and where its tokens are not known."""
    before_j: float = 0.0
    after_j: float = 0.0
    source: Source | None = None
    """None until something was charged."""
    error_j: float = 0.0

    @property
    def error_share(self) -> float:
        """How far what was charged may be wrong, as a share of it."""
        charged_j = self.before_j + self.after_j
        return self.error_j / charged_j if charged_j > 0 else ESTIMATE_ERROR

    def parts(self) -> tuple[float, float]:
        """Its expected joules since it was charged last, before and after the first token."""
        end_j = self.consumer.each_j if self.end_j is None else self.end_j
        first_j = end_j if self.first_j is None else min(max(self.first_j, self.mark_j), end_j)
        return first_j - self.mark_j, end_j - first_j

    def charge(self, joules: tuple[float, float], source: Source, error_share: float) -> None:
        """Charge it up to now."""
        before_j, after_j = joules
        self.before_j += before_j
        self.after_j += after_j
        self.mark_j = self.consumer.each_j if self.end_j is None else self.end_j
        if before_j + after_j > 0:
            if self.source is not source:
                self.source = source if self.source is None else worst(self.source, source)
            self.error_j += (before_j + after_j) * error_share


@dataclass(slots=True, eq=False)
class Consumer:
    """A device on which attempts run, or a backend of which no device is known."""

    id: str
    power_w: float = 0.0
    """Expected while it works."""
    idle_w: float = 0.0
    """Expected while something lies in its memory unused."""
    shares: dict[Share, None] = field(default_factory=dict)
    """The attempts under way, and those that have ended and are not charged in full."""
    at_work: int = 0
    each_j: float = 0.0
    """A clock: the expected joules of an attempt that was under way all the time."""
    active_j: float = 0.0
    """Expected of all attempts since they were charged last."""
    work_j: float = 0.0
    """Expected of all attempts ever."""
    work_s: float = 0.0
    """How long it worked."""
    told: Told = NOTHING_TOLD
    """What the battery tells of it."""
    tail_s: float = 0.0
    """How long it had an idle tail since that was charged last."""
    is_resident: bool = False
    """Whether a model lies in its memory."""
    left_s: float | None = None
    """When it worked last; None before it did."""
    owner: tuple[str, str] = ("", "")
    """The backend and the model that used it last."""

    def begin(self, power_w: float) -> Share:
        """One more attempt begins."""
        if not self.shares:
            self.each_j = self.active_j = 0.0
        self.power_w = max(power_w, self.power_w) if self.at_work else power_w
        self.at_work += 1
        share = Share(self, self.each_j)
        self.shares[share] = None
        return share

    def work(self, seconds: float) -> None:
        """Time passes while attempts are under way."""
        joules = self.power_w * seconds
        self.each_j += joules / self.at_work
        self.active_j += joules
        self.work_j += joules
        self.work_s += seconds

    def charge(self, joules: float, source: Source, error_share: float) -> None:
        """Charge the attempts: by their tokens where those are known of all, else equally at each moment.

        There may be a thousand, and nothing else runs meanwhile.
        """
        parts = [share.parts() for share in self.shares]
        weights = weighed(parts, [share.rates for share in self.shares])
        whole = sum(weights)
        for share, (before_j, after_j), weight in zip(self.shares, parts, weights, strict=True):
            own_j = joules * weight / whole if whole > 0 else 0.0
            read_j = own_j * before_j / (before_j + after_j) if before_j else 0.0
            read_j = min(read_j, own_j)  # a rounding error is no energy
            share.charge((read_j, own_j - read_j), source, error_share)

    def ended(self) -> Sequence[Share]:
        """The attempts that have ended, which are forgotten."""
        ended = [share for share in self.shares if share.end_j is not None]
        for share in ended:
            del self.shares[share]
        return ended


def weighed(parts: Sequence[tuple[float, float]], rates: Sequence[Rates | None]) -> Sequence[float]:
    """What each attempt weighs in what all of them cost."""
    if None not in rates:
        by_tokens = [
            before * rate.prefill + after * rate.decode
            for (before, after), rate in zip(parts, rates, strict=True)
            if rate is not None
        ]
        if sum(by_tokens) > 0:
            return by_tokens
    return [before + after for before, after in parts]


def by_phase(before_j: float, after_j: float, waited_s: float | None, timings: Timings) -> tuple[float, float, float]:
    """The joules before and after the first token, as those of reading, writing and loading.

    `waited_s` is the time to the first token of a stream. An answer in one piece is split as the backend's clock says.
    """
    load_s = max(timings.load_s, 0.0) if timings.load_s else 0.0
    if waited_s is not None:
        load_j = before_j * min(load_s / waited_s, 1.0) if waited_s > 0 else 0.0
        return before_j - load_j, after_j, load_j
    if timings.decode_s is None:
        return before_j, after_j, 0.0
    prompt_s, decode_s = max(timings.prompt_s or 0.0, 0.0), max(timings.decode_s, 0.0)
    total_j = before_j + after_j
    told_s = load_s + prompt_s + decode_s
    if not told_s > 0:
        return before_j, after_j, 0.0
    return total_j * prompt_s / told_s, total_j * decode_s / told_s, total_j * load_s / told_s
