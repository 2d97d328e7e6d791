"""A power domain is what one energy counter covers: each of its joules is charged once."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from ollama_proxyd.core.battery_gauge import Look, Told
from ollama_proxyd.core.energy import ESTIMATE_ERROR, Account, Interval, Source, Split, split, worst
from ollama_proxyd.core.gauge import MOST_OFF, Gauge, Mean, Measured, believed, between
from ollama_proxyd.core.power_shares import Consumer, Rates, Share

CONTEXT_S: Final = 60.0
"""A card that is awake for longer after its last work is awake for other reasons."""
LEAST_ERROR: Final = 0.15
"""Of an estimate, however well the last ones were met."""
MOSTLY: Final = 0.9

Key: TypeAlias = tuple[str, Account, Source]
"""The id of a device or backend, the account, and the source."""


class Expected(NamedTuple):
    """What is charged next, by consumer, as far as is known without a reading."""

    active_j: dict[Consumer, float]
    tail_j: dict[Consumer, float]
    seconds: float
    awake_s: float


class SoFar(NamedTuple):
    """The joules of an attempt before and after its first token, from where they are known, and how well."""

    before_j: float
    after_j: float
    source: Source
    error_share: float


class PowerDomain:
    """The machine: attempts begin and end, instruments are read, and each joule finds its account.

    Each moment is estimated from the expected watts of what runs. A reading scales the estimates since the reading
    before to what was measured. Without instruments the estimates stand.
    """

    def __init__(self, domain_id: str, now_s: float, *, is_shared: bool, can_sleep: bool) -> None:
        self.id = domain_id
        self._is_shared = is_shared
        self._can_sleep = can_sleep
        self._now_s = self._charged_s = now_s
        self._last: Gauge | None = None
        """The last reading, however long ago."""
        self._has_told = False
        """Whether it ever told what was drawn."""
        self._guessed_j = 0.0
        """What was charged since that by estimate."""
        self._awake_s = 0.0
        self._is_asleep = False
        self.is_measured = False
        """Whether instruments tell now what it draws."""
        self.consumers: dict[str, Consumer] = {}
        self.sums: defaultdict[Key, float] = defaultdict(float)
        self.errors: defaultdict[Key, float] = defaultdict(float)
        """How far each sum may be wrong, in joules."""
        self.tails: defaultdict[tuple[str, str], float] = defaultdict(float)
        """Joules of idle tails by the backend and the model that caused them."""
        self._base_w, self._tail_w, self._scale = Mean(), Mean(), Mean()
        """What it draws with nothing of ours, with a tail, and what work needs as a multiple of the expected."""
        self._unused_w = Mean()

    @property
    def drawn_j(self) -> float | None:
        """What it drew since the daemon's start; None where its own instruments never told."""
        return sum(self.sums.values()) if self._has_told else None

    @property
    def base_w(self) -> float | None:
        """What it draws where nothing of ours is there; None where that was never seen."""
        return self._base_w.value

    @property
    def unused_w(self) -> float | None:
        """What it draws more with unused models in memory; None where that was never seen."""
        return self._unused_w.value

    def consumer(self, consumer_id: str) -> Consumer:
        """A device of the domain by its id."""
        if (found := self.consumers.get(consumer_id)) is None:
            found = self.consumers[consumer_id] = Consumer(consumer_id)
        return found

    def first(self, share: Share, now_s: float) -> None:
        """The first token of an attempt came."""
        self.advance(now_s)
        share.first_j = share.consumer.each_j

    def end(self, share: Share, now_s: float, rates: Rates | None) -> bool:
        """An attempt has ended: whether it is charged in full. Else the next reading charges it."""
        self.advance(now_s)
        consumer = share.consumer
        consumer.at_work -= 1
        consumer.left_s = now_s
        share.end_j, share.rates = consumer.each_j, rates
        if self.is_measured:
            return False
        before_j, after_j = share.parts()
        consumer.active_j -= before_j + after_j
        told = self._told(consumer)
        before_j, after_j = before_j * told.factor, after_j * told.factor
        share.charge((before_j, after_j), told.source, told.error_share)
        self._guessed_j += before_j + after_j
        self._enter((consumer.id, Account.ACTIVE, told.source), before_j + after_j, told.error_share)
        del consumer.shares[share]
        return True

    def _enter(self, key: Key, joules: float, error_share: float) -> None:
        self.sums[key] += joules
        self.errors[key] += joules * error_share

    def so_far(self, share: Share) -> SoFar:
        """What an attempt has cost as far as is known."""
        if share.end_j == share.mark_j and share.source is not None:
            return SoFar(share.before_j, share.after_j, share.source, share.error_share)
        (before_j, after_j), told = share.parts(), self._told(share.consumer)
        open_j, charged_j = (before_j + after_j) * told.factor, share.before_j + share.after_j
        source = share.source or told.source
        error_share, total_j = share.error_share, charged_j + open_j
        if open_j > 0:
            source = worst(source, told.source)
            error_share = (charged_j * error_share + open_j * told.error_share) / total_j
        before_j, after_j = share.before_j + before_j * told.factor, share.after_j + after_j * told.factor
        return SoFar(before_j, after_j, source, error_share)

    def advance(self, now_s: float) -> None:
        """Let time pass."""
        seconds = now_s - self._now_s
        if seconds <= 0:
            return
        self._now_s = now_s
        if not self._is_asleep:
            self._awake_s += seconds
        for each in self.consumers.values():
            if each.at_work:
                each.work(seconds)
            elif self._has_tail(each):
                each.tail_s += seconds

    def settle(self, now_s: float, gauge: Gauge | None, *, is_asleep: bool = False) -> Sequence[Share]:
        """Charge everything up to now, by a new reading where there is one; returns the ended attempts among it."""
        last = self._last
        if gauge is not None and last is not None and self.is_measured and gauge.at_s <= last.at_s:
            return ()
        gauge = believed(last, gauge)
        self.advance(now_s)
        measured = None if gauge is None or last is None else between(last, gauge)
        if measured is not None:
            self._has_told = True
            measured = measured._replace(energy_j=max(measured.energy_j - self._guessed_j, 0.0))
        self._charge(measured)
        if gauge is not None:
            self._last, self._guessed_j = gauge, 0.0
        self.is_measured, self._is_asleep = gauge is not None, is_asleep and self._can_sleep
        if self._is_asleep:
            self._base_w.value, self._base_w.spread = 0.0, 0.0
        return [share for each in self.consumers.values() if each.shares for share in each.ended()]

    def end_tail(self, consumer: Consumer) -> None:
        """Charge an idle tail by estimate."""
        joules = self._tail_j(consumer)
        self._guessed_j += joules
        self._enter((consumer.id, Account.IDLE_TAIL, Source.ESTIMATED), joules, ESTIMATE_ERROR)
        self.tails[consumer.owner] += joules
        consumer.tail_s = 0.0

    def _tail_j(self, consumer: Consumer) -> float:
        """Expected of an idle tail since that was charged last."""
        return (consumer.idle_w if self._tail_w.value is None else self._tail_w.value) * consumer.tail_s

    def _charge(self, measured: Measured | None) -> None:
        expected = self._expected()
        base_j = None if self._base_w.value is None else self._base_w.value * self._awake_s
        tail_j, active_j = sum(expected.tail_j.values()), sum(expected.active_j.values())
        if measured is None:
            source, error_share = Source.ESTIMATED, ESTIMATE_ERROR
            charged_j = self._charge_by_estimate(expected.active_j) if expected.active_j else 0.0
            parts = Split(base_j or 0.0, tail_j, charged_j)
            self._guessed_j += sum(parts)
        else:
            source, error_share = measured.source, measured.error_share
            parts = split(measured.energy_j, Interval(base_j, tail_j, active_j, self._is_shared))
            self._learn(parts, expected, active_j)
            self._charge_attempts(expected.active_j, parts.active_j, source, self._error(measured, parts.active_j))
        if parts.base_j > 0:
            self._enter((self.id, Account.BASE, source), parts.base_j, error_share)
        if measured is not None:
            error_share = self._error(measured, parts.tail_j)
        if expected.tail_j:
            self._charge_tails(expected.tail_j, parts.tail_j, source, error_share)
        self._charged_s, self._awake_s = self._now_s, 0.0
        for each in self.consumers.values():
            each.active_j = each.tail_s = 0.0

    def _expected(self) -> Expected:
        expected = Expected({}, {}, self._now_s - self._charged_s, self._awake_s)
        for each in self.consumers.values():
            if each.shares:
                expected.active_j[each] = each.active_j
            if each.tail_s:
                expected.tail_j[each] = self._tail_j(each)
        return expected

    def _charge_tails(
        self, expected: Mapping[Consumer, float], tail_j: float, source: Source, error_share: float
    ) -> None:
        whole_j = sum(expected.values())
        for consumer, part_j in expected.items():
            joules = tail_j * part_j / whole_j if whole_j else 0.0
            self._enter((consumer.id, Account.IDLE_TAIL, source), joules, error_share)
            self.tails[consumer.owner] += joules

    def _charge_attempts(
        self, expected: Mapping[Consumer, float], active_j: float, source: Source, error_share: float
    ) -> None:
        whole_j, count = sum(expected.values()), sum([len(each.shares) for each in expected])
        of_each = Source.ATTRIBUTED if source is Source.MEASURED and count > 1 else source
        for consumer, part_j in expected.items():
            joules = active_j * part_j / whole_j if whole_j else 0.0
            consumer.charge(joules, of_each, error_share)
            self._enter((consumer.id, Account.ACTIVE, source), joules, error_share)

    def _charge_by_estimate(self, expected: Mapping[Consumer, float]) -> float:
        """Charge each what its work is expected to need; returns the sum."""
        charged_j = 0.0
        for consumer, part_j in expected.items():
            told = self._told(consumer)
            consumer.charge(part_j * told.factor, told.source, told.error_share)
            self._enter((consumer.id, Account.ACTIVE, told.source), part_j * told.factor, told.error_share)
            charged_j += part_j * told.factor
        return charged_j

    def _learn(self, parts: Split, expected: Expected, active_j: float) -> None:
        seconds = expected.seconds
        if seconds <= 0:
            return
        if active_j:
            if self._base_w.value is not None:
                off = min(max(parts.active_j / active_j, 1 / MOST_OFF), MOST_OFF)
                self._scale.add(off, seconds)
        elif self._is_shared or (not expected.tail_j and expected.awake_s >= MOSTLY * seconds):
            self._base_w.add(parts.base_j / seconds, seconds)
        elif max([each.tail_s for each in expected.tail_j], default=0.0) >= MOSTLY * seconds:
            self._tail_w.add(parts.tail_j / seconds, seconds)
            if self._base_w.value is not None and all(each.is_resident for each in expected.tail_j):
                self._unused_w.add(parts.tail_j / seconds, seconds)

    def _has_tail(self, consumer: Consumer) -> bool:
        """Whether a model lies unused in its memory, or the context of one that left keeps a card awake."""
        if self._is_asleep:
            return False
        left_s = consumer.left_s
        is_context = self._can_sleep and left_s is not None and self._now_s - left_s <= CONTEXT_S
        return consumer.is_resident or is_context

    def _told(self, consumer: Consumer) -> Told:
        """What its work needs: as its own instruments showed when they worked, else as the battery shows."""
        if self._scale.value is None:
            return consumer.told
        return Told(self._scale.value, Source.ESTIMATED, max(self._scale.spread / self._scale.value, LEAST_ERROR))

    def _error(self, measured: Measured, joules: float) -> float:
        """How far a part of a measurement may be wrong: that of an estimate where the base is unknown."""
        if self._base_w.value is None:
            return ESTIMATE_ERROR
        unsure_j = self._base_w.spread * self._awake_s
        return measured.error_share + (unsure_j / joules if joules > 0 else 0.0)


def look_at(domains: Iterable[PowerDomain], at_s: float, battery_w: float) -> Look:
    """What the battery's gauge is compared with: what instruments measured, and what is expected of all else."""
    told, blind = dict[str, float](), list[PowerDomain]()
    for domain in domains:
        if domain.drawn_j is None:
            blind.append(domain)
        else:
            told[domain.id] = domain.drawn_j
    tail_j = sum([joules for each in blind for (_, of, _), joules in each.sums.items() if of is Account.IDLE_TAIL])
    consumers = [consumer for each in blind for consumer in each.consumers.values()]
    work_j, work_s = {each.id: each.work_j for each in consumers}, {each.id: each.work_s for each in consumers}
    return Look(at_s, battery_w, told, tail_j, work_j, work_s)
