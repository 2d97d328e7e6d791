"""The outcome of routing: every backend ranked or rejected, with its reasons by name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from typing import NamedTuple, overload

from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.crowd import ALONE, Crowd
from ollama_proxyd.core.policy.residence import Residence
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.tariff import Tariff
from ollama_proxyd.core.values import replace, value

MOST_ALTERNATIVES = 8
"""So many of the other backends are told of a request that was served."""


class Ranked(NamedTuple):
    """A backend that can serve, and what that would cost."""

    backend_id: str
    model: str
    """The backend's own name for the model."""
    cost_j: float
    energy_j: float
    latency_ms: float
    """Estimated time to the first token."""
    power_w: float
    time_s: float
    """Estimated time to the end, the wait for a slot included."""
    queue_wait_s: float
    prefill_s: float
    decode_s: float
    stay: Residence = Residence()
    heat_j: float = 0.0
    money: float = 0.0
    money_j: float = 0.0
    price_of_time_w: float = 0.0
    told: tuple[Sequence[Reason | None], ...] = ()
    """What is to be said of its estimates, and of its device."""
    is_guess: bool = False
    """Whether watts or speed are neither configured nor measured, but taken from the class of hardware."""
    is_length_known: bool = False
    """Whether the model's answers have shown how long they are, or the request writes none."""
    tariff: Tariff | None = None
    """What its tokens cost."""
    crowd: Crowd = ALONE
    """What the requests under way on the same chip mean for it."""
    delay_j: float = 0.0
    """What it costs those that they take longer."""
    noise_j: float = 0.0
    """What the fan's noise and the heat in the lap count, in a mode that minds them."""
    elsewhere_j: float = 0.0
    """What the work draws on another machine, as it counts here."""
    network_s: float = 0.0
    """How long a request is under way to another machine, and its answer back."""
    cached_tokens: float = 0.0
    """How much of the prompt it is likely to have in its cache."""
    cached_s: float = 0.0
    """How much longer it would read without."""
    late_j: float = 0.0
    beyond: tuple[Reason, ...] = ()
    """The limits of the mode that it exceeds, and what else asks to spare it."""

    @property
    def notes(self) -> tuple[Reason, ...]:
        """What is estimated, how it was known, and what adds to the price or takes from it."""
        cached = Reason("prefix_cached", tokens=self.cached_tokens) if self.cached_tokens else None
        found = (*chain.from_iterable(self.told), self.money_note, self.crowd.note, cached)
        return tuple([each for each in found if each is not None])

    @property
    def money_note(self) -> Reason | None:
        """What the service takes for the tokens; None where they are free."""
        if self.tariff is None:
            return None
        costs, values = self.tariff.costs, {"money": self.money, "money_joules": self.money_j}
        return Reason("money_counted", currency=costs.currency, price_per_kwh=costs.electricity_per_kwh, **values)

    @property
    def prefill_j(self) -> float:
        """What reading the prompt draws."""
        return self.power_w * self.crowd.share * self.prefill_s

    @property
    def decode_j(self) -> float:
        """What writing the answer draws."""
        return self.power_w * self.crowd.share * self.decode_s

    @property
    def terms(self) -> Mapping[str, float]:
        """Every term of the formula by its name, with its unit as suffix."""
        return {
            "queue_wait_s": self.queue_wait_s,
            "network_s": self.network_s,
            "cached_tokens": self.cached_tokens,
            "prefill_s": self.prefill_s,
            "decode_s": self.decode_s,
            "time_s": self.time_s,
            "prefill_j": self.prefill_j,
            "decode_j": self.decode_j,
            **self.stay._asdict(),
            "energy_j": self.energy_j,
            "heat_j": self.heat_j,
            "money": self.money,
            "money_j": self.money_j,
            "noise_j": self.noise_j,
            "other_machine_j": self.elsewhere_j,
            "delay_j": self.delay_j,
            "late_j": self.late_j,
            "price_of_time_w": self.price_of_time_w,
            "cost_j": self.cost_j,
            "power_w": self.power_w,
            "latency_ms": self.latency_ms,
        }


class Ranking(Sequence[Ranked]):
    """The backends of `backend_ids` in their order, the best first; each is priced when it is asked for.

    `by_least` gives the ids of so many of them by the least that each can cost.
    """

    def __init__(
        self, backend_ids: frozenset[str], rest: Iterator[Ranked], by_least: Callable[[int], Sequence[str]]
    ) -> None:
        self.backend_ids = backend_ids
        self._rest = rest
        self._by_least = by_least
        self._found: list[Ranked] = []

    @classmethod
    def led_by(cls, first: Ranked, others: Sequence[Ranked]) -> "Ranking":
        """The same backends with one of them before all others."""
        backend_ids = others.backend_ids if isinstance(others, Ranking) else frozenset([e.backend_id for e in others])
        rest = (each for each in others if each is not first)
        return cls(backend_ids, chain((first,), rest), partial(names_of, others))

    @property
    def priced(self) -> Sequence[Ranked]:
        """Those that were asked for by now."""
        return tuple(self._found)

    def names(self, count: int) -> list[str]:
        """The ids of the first of them; those that were not asked for stand by the least that they cost."""
        names = [each.backend_id for each in self._found]
        if len(names) < min(count, len(self.backend_ids)):
            names += [each for each in self._by_least(count) if each not in names]
        return names[:count]

    def __len__(self) -> int:
        return len(self.backend_ids)

    @overload
    def __getitem__(self, at: int) -> Ranked: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Ranked]: ...
    def __getitem__(self, at: int | slice) -> Ranked | Sequence[Ranked]:
        found = self._found
        if isinstance(at, int) and 0 <= at < len(found):
            return found[at]
        count = len(self.backend_ids)
        needed = at.indices(count)[1] if isinstance(at, slice) else range(count)[at] + 1
        found += islice(self._rest, max(needed - len(found), 0))
        return found[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(self.backend_ids)

    def __repr__(self) -> str:
        return repr(tuple(self))


def names_of(ranked: Sequence[Ranked], count: int) -> Sequence[str]:
    """The ids of the first of them; no more is priced for that."""
    return ranked.names(count) if isinstance(ranked, Ranking) else [each.backend_id for each in ranked[:count]]


class Rejected(NamedTuple):
    """A backend that cannot serve this request now, and every rule that says so."""

    backend_id: str
    rejections: tuple[Reason, ...]


@value
class Decision:
    """Where a request goes; every backend is in exactly one of the two lists.

    `ranked` has those within the limits of the mode first, and the cheapest first in each group. `mode` is what was
    chosen, `effective_mode` what Auto made of it.
    `expected_tokens` is the length of the answer that every estimate is for.
    """

    ranked: Sequence[Ranked]
    rejected: tuple[Rejected, ...]
    mode: Mode
    effective_mode: Mode
    mode_reason: Reason
    reason: Reason
    expected_tokens: float = 0.0

    def alternatives(self, backend_id: str | None) -> Sequence[Ranked]:
        """The best of the others beside the backend that served."""
        others = [each for each in self.ranked[: MOST_ALTERNATIVES + 1] if each.backend_id != backend_id]
        return others[:MOST_ALTERNATIVES]

    def named_alternatives(self, backend_id: str | None) -> tuple[str, ...]:
        """The ids of the same; those that the decision did not look at stand by the least that they cost."""
        names = [each for each in names_of(self.ranked, MOST_ALTERNATIVES + 1) if each != backend_id]
        return tuple(names[:MOST_ALTERNATIVES])

    @property
    def settled(self) -> "Decision":
        """The same with those alone that were priced, and without all that the others rest on."""
        return replace(self, ranked=self.ranked.priced) if isinstance(self.ranked, Ranking) else self

    def remembered(self, backend_id: str | None) -> "Decision":
        """The same for the books: of a large fleet the best of those and the one that served."""
        settled = self.settled
        if len(settled.ranked) <= MOST_ALTERNATIVES + 1:
            return settled
        best, others = settled.ranked[: MOST_ALTERNATIVES + 1], settled.ranked[MOST_ALTERNATIVES + 1 :]
        return replace(settled, ranked=(*best, *[each for each in others if each.backend_id == backend_id]))

    @property
    def backend_ids(self) -> frozenset[str]:
        """The backends that can serve."""
        ranked = self.ranked
        return ranked.backend_ids if isinstance(ranked, Ranking) else frozenset([each.backend_id for each in ranked])

    @property
    def why_first(self) -> str:
        """The code of why the first is the first, without what a reason adds of former attempts, waits and limits."""
        reason = self.reason
        while isinstance(inner := reason.values.get("reason"), Reason):
            reason = inner
        return reason.code

    @property
    def conceded(self) -> tuple[Reason, ...]:
        """The limits that give way to the backend that was chosen."""
        return self.ranked[0].beyond if self.ranked else ()
