"""What no single request changes of its price: compiled for each kind of work and mode, followed as the fleet changes.

A table is never changed after it was made. A request that comes or goes costs work for its backend alone: what it
means for those on its chip is reckoned when they are looked at.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from itertools import compress
from operator import attrgetter, call, is_not
from typing import Any, NamedTuple, TypeAlias

from ollama_proxyd.core.binding import is_same_device
from ollama_proxyd.core.fleet import BackendView, FleetView
from ollama_proxyd.core.learning import Asker, Speed
from ollama_proxyd.core.policy.candidates import candidate_of, taught
from ollama_proxyd.core.policy.cost import Candidate, Demand, typical_output_tokens
from ollama_proxyd.core.policy.crowd import Working, at_work, crowd, own_crowd
from ollama_proxyd.core.policy.decision import Rejected
from ollama_proxyd.core.policy.eligibility import Situation, fitness_rules
from ollama_proxyd.core.policy.least_costs import Alone, Fit, Lines
from ollama_proxyd.core.policy.mode_limits import Tier, standing_tier
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.sparing import may_spare
from ollama_proxyd.core.policy.trial import all_known_until_s
from ollama_proxyd.core.readings import SystemState, known

MOST_TABLES = 64
"""So many kinds of work, each in its mode, have their tables kept."""

Entry: TypeAlias = Candidate | Rejected
_Fact: TypeAlias = tuple[Callable[[str], object], str, list[int]]


class _Learned(NamedTuple):
    """Facts that change in place: how each is read, by which name, and the places in the fleet that rest on it."""

    ways: Sequence[Callable[[str], object]]
    names: Sequence[str]
    at: Sequence[Sequence[int]]

    def read(self) -> list[object]:
        """What they are now."""
        return list(map(call, self.ways, self.names))


class Table(NamedTuple):
    """The backends of a fleet for one kind of work at one moment, each fit for it or not."""

    fleet: FleetView
    situation: Situation
    working: Working
    entries: Sequence[Entry]
    """By their places in the fleet, each without those that are at work."""
    learned: _Learned
    seen: Sequence[object]
    """What those were."""
    places: Mapping[str, int]
    """The place of each backend in the fleet."""
    order: Sequence[int]
    """The places of those that are fit, as they stand among equals."""
    numbers: Mapping[str, int]
    """The number of each backend in `order`."""
    able: frozenset[str]
    """The backends in `order`."""
    number_at: Mapping[int, int]
    """The same by its place in the fleet."""
    shared: Mapping[str, Sequence[int]]
    """The numbers of those on each chip that several share."""
    unable: tuple[Rejected, ...]
    failing: Sequence[int]
    """The numbers of those with breakers."""
    is_endangered: bool
    """Whether heat would endanger the device of one."""
    known_until_s: float
    """Until when enough answers have shown the speed of each."""
    lines: Lines
    """The least costs of `order`."""
    typical: dict[Asker, float | None]
    tiers: dict[bool, Mapping[Tier, Sequence[int]]]
    """The numbers by tier, where the mode's limit of watts is lifted and where it is not."""
    met: dict[int, Candidate]
    """What `candidate` has found."""
    others: dict[int, Any]
    """What is kept of it in other modes."""

    def by_tier(self, *, lifts_power: bool) -> Mapping[Tier, Sequence[int]]:
        """The numbers of those that are fit, by where they stand in the mode."""
        if lifts_power not in self.tiers:
            found = defaultdict[Tier, list[int]](list)
            for number, at in enumerate(self.order):
                found[standing_tier(_candidate(self.entries[at]).standing, lifts_power=lifts_power)].append(number)
            self.tiers[lifts_power] = found
        return self.tiers[lifts_power]

    def candidate(self, number: int) -> Candidate:
        """One of those that are fit, by its number, beside those that are at work on its chip."""
        if (found := self.met.get(number)) is None:
            found = self.met[number] = self._beside(number)
        return found

    def is_unknown(self, number: int, now_s: float) -> bool:
        """Whether too few answers have shown the speed of one of them."""
        return _candidate(self.entries[self.order[number]]).known_until_s <= now_s

    @property
    def in_fleet(self) -> Sequence[Candidate]:
        """All that can do the work, by their places in the fleet."""
        return [self.candidate(number) for number in sorted(range(len(self.order)), key=self.order.__getitem__)]

    def typical_tokens(self, asker: Asker) -> float | None:
        """How long answers to a program are, as was learned on all of them together."""
        if asker not in self.typical:
            self.typical[asker] = typical_output_tokens(filter(None, self.speeds), asker)
        return self.typical[asker]

    @property
    def speeds(self) -> Sequence[Speed | None]:
        """What was learned of each that is fit."""
        fit = map(self.entries.__getitem__, self.order)
        return [each.view.speeds.get(each.model.name) for each in fit if type(each) is Candidate]

    def least_costs(self, asked: Demand, cost_j: Callable[[int], float] | None = None) -> list[float]:
        """What a request costs at least on each that is fit, in their order; `cost_j` may tell what it costs there."""
        return self.lines.least_costs(asked, self._fit, self.working, cost_j)

    def alike(self, asked: Demand) -> Sequence[int | None]:
        """The same number for those on which a request costs the same, None for those without their like."""
        return self.lines.alike(asked, self._fit)

    @property
    def _fit(self) -> Fit:
        return Fit(len(self.order), self.numbers, self.shared, self._alone)

    def _alone(self, number: int) -> Alone:
        """One of those that are fit as it is now, and what it would meet if nothing else were at work on its chip."""
        view, found = self.fleet[at := self.order[number]], _candidate(self.entries[at])
        return found, view, own_crowd(view, found.model, self.working.get(found.chip))

    def _beside(self, number: int) -> Candidate:
        view, found = self.fleet[at := self.order[number]], _candidate(self.entries[at])
        met = crowd(view, found.model, self.working.get(found.chip))
        return Candidate._make((view, *found[1:4], met, *found[5:]))

    def followed(self, fleet: FleetView, situation: Situation) -> "Table":
        """The table of another moment."""
        if len(fleet) != len(self.fleet):
            return compiled(fleet, situation)
        news = self.learned.read()
        is_news = any(map(is_not, news, self.seen))
        anew, busier = self._changed(fleet, situation)
        if not anew and not busier and not is_news and fleet is self.fleet:
            return self
        if any(fleet[at].spec is not self.fleet[at].spec for at in anew):
            return compiled(fleet, situation)
        entries, rules = list(self.entries), fitness_rules(situation.query) if anew else ()
        learned = {at for each in compress(self.learned.at, map(is_not, news, self.seen)) for at in each} - anew
        is_same = True
        for at in anew:
            entries[at] = candidate_of(fleet[at], situation, rules)
            is_same &= _shape(entries[at]) == _shape(self.entries[at])
        for at in learned:
            entries[at] = after = taught(before := _candidate(entries[at]), fleet[at], situation.setting.row)
            is_same &= after.keeping.has_tail is before.keeping.has_tail
        if not is_same:
            return _assembled(fleet, situation, entries)
        changed = anew | busier | learned
        return self._replace(
            fleet=fleet,
            situation=situation,
            working=self._at_work(fleet, situation, changed),
            entries=entries,
            seen=news,
            known_until_s=all_known_until_s(entries) if is_news else self.known_until_s,
            lines=self.lines.followed(map(self.number_at.__getitem__, changed & self.number_at.keys())),
            typical={} if is_news else self.typical,
            met={},
        )

    def _at_work(self, fleet: FleetView, situation: Situation, changed: set[int]) -> Working:
        """What is at work now."""
        devices, background = situation.system.devices, situation.query.background
        if devices is not self.situation.system.devices:
            return at_work(fleet, devices, background, {})
        return at_work(map(fleet.__getitem__, changed), devices, background, self.working)

    def _changed(self, fleet: FleetView, situation: Situation) -> tuple[set[int], set[int]]:
        """The places of what is no longer as it was, and of that of which only the requests under way have changed."""
        anew = set[int]()
        if situation.system is not self.situation.system:
            now, was = situation.system, self.situation.system
            anew.update([at for at, view in enumerate(fleet) if _is_sensed_anew(view, now, was)])
        busier, now_, was_ = set[int](), situation.query.background, self.situation.query.background
        if now_ != was_:
            busier.update([self.places[each] for each in now_.keys() | was_ if now_.get(each) != was_.get(each)])
        if fleet is not self.fleet:
            for at in compress(range(len(fleet)), map(is_not, fleet, self.fleet)):
                (busier if _REST(fleet[at]) == _REST(self.fleet[at]) else anew).add(at)
        return anew, busier - anew


_REST = attrgetter(*[each.name for each in fields(BackendView) if each.name not in {"in_flight", "checked_at_s"}])
_tables: dict[Hashable, Table] = {}


def table_of(fleet: FleetView, situation: Situation) -> Table:
    """The table for a request; those of whole kinds are kept, and followed from the last moment that was asked for."""
    query = situation.query
    if query.hints.target is not None or query.tried or query.able is not None:
        return compiled(fleet, situation)
    key = (_kind(query), id(situation.setting.row), known(situation.system.games))
    known_table = _tables.pop(key, None)
    if known_table is None and len(_tables) >= MOST_TABLES:
        del _tables[next(iter(_tables))]
    table = compiled(fleet, situation) if known_table is None else known_table.followed(fleet, situation)
    _tables[key] = table
    return table


def _kind(query: Query) -> Hashable:
    """What decides who is fit for a request."""
    needs = query.needs_vision, query.has_image_urls, query.may_fetch_here
    return query.model, query.synonyms, query.operation, needs, query.hints.frontend


def compiled(fleet: FleetView, situation: Situation) -> Table:
    """The table of a fleet, from nothing."""
    rules = fitness_rules(situation.query)
    return _assembled(fleet, situation, [candidate_of(view, situation, rules) for view in fleet])


def _assembled(fleet: FleetView, situation: Situation, entries: list[Entry]) -> Table:
    places = [at for at, each in enumerate(entries) if isinstance(each, Candidate)]
    order = sorted(places, key=lambda at: _candidate(entries[at]).place)
    working = at_work(fleet, situation.system.devices, situation.query.background, {})
    by_chip = defaultdict[str, list[int]](list)
    for number, at in enumerate(order):
        by_chip[_candidate(entries[at]).chip].append(number)
    learned = _learned(entries, order)
    numbers = {_candidate(entries[at]).view.spec.id: number for number, at in enumerate(order)}
    return Table(
        fleet=fleet,
        situation=situation,
        working=working,
        entries=entries,
        learned=learned,
        seen=learned.read(),
        places={view.spec.id: at for at, view in enumerate(fleet)},
        order=order,
        numbers=numbers,
        able=frozenset(numbers),
        number_at={at: number for number, at in enumerate(order)},
        shared={chip: numbers for chip, numbers in by_chip.items() if len(numbers) > 1},
        unable=tuple([each for each in entries if isinstance(each, Rejected)]),
        failing=[number for number, at in enumerate(order) if _candidate(entries[at]).view.breakers],
        is_endangered=any(_candidate(entries[at]).critical is not None for at in order),
        known_until_s=all_known_until_s(entries),
        lines=Lines(),
        typical={},
        tiers={},
        met={},
        others={},
    )


def _shape(entry: Entry) -> tuple[Any, ...]:
    """What the rest of a table rests on of one of its entries; of mappings it is which they are."""
    if isinstance(entry, Rejected):
        return (entry,)
    view, memory = entry.view, entry.view.memory
    sources = id(view.speeds), id(memory.load_s), id(memory.gaps_s), view.loaded is None, entry.keeping.has_tail
    return entry.place, entry.chip, bool(view.breakers), entry.standing, entry.critical, *sources


def _learned(entries: Sequence[Entry], order: Iterable[int]) -> _Learned:
    """What is looked at before each decision; times between requests are those of all backends together."""
    found, gaps = list[_Fact](), dict[tuple[int, str], _Fact]()
    for at in order:
        view, model, keeping = (each := _candidate(entries[at])).view, each.model, each.keeping
        found.append((view.speeds.get, model.name, [at]))
        if view.loaded is not None:
            found.append((view.memory.load_s.get, model.name, [at]))
        if keeping.has_tail:
            key = id(view.memory.gaps_s), keeping.asked_as
            gaps.setdefault(key, (partial(may_spare, view), keeping.asked_as, []))[-1].append(at)
    return _Learned(*zip(*found, *gaps.values(), strict=True)) if found else _Learned((), (), ())


def _is_sensed_anew(view: BackendView, now: SystemState, was: SystemState) -> bool:
    """Whether this machine says something else of a backend than before, games apart."""
    if not (view.spec.is_local or view.spec.pci_address or view.machine):
        return False
    return view.machine is not None or not is_same_device(view.spec, now.devices, was.devices)


def _candidate(entry: Entry) -> Candidate:
    assert isinstance(entry, Candidate)
    return entry
