"""What no single request changes of its price: compiled for each kind of work and mode, followed as the fleet changes.

A table is never changed after it was made. A request that comes or goes costs work for its backend's chip alone.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import fields
from math import inf
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from ollama_proxyd.core.fleet import BackendView, FleetView
from ollama_proxyd.core.learning import Asker, context_of
from ollama_proxyd.core.model_names import canonical
from ollama_proxyd.core.policy.candidates import candidate_of
from ollama_proxyd.core.policy.cost import NEXT_TURN, Candidate, Demand, Line, LineKey, line, typical_output_tokens
from ollama_proxyd.core.policy.crowd import Working, at_work, crowd
from ollama_proxyd.core.policy.decision import Rejected
from ollama_proxyd.core.policy.eligibility import Situation, fitness_rules
from ollama_proxyd.core.policy.mode_limits import Tier, standing_tier
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.readings import known

MOST_TABLES = 64
"""So many kinds of work, each in its mode, have their tables kept."""

Entry: TypeAlias = Candidate | Rejected


class _Learned(NamedTuple):
    """A fact that changes in place: how it is read, by which name, and the place of its backend in the fleet."""

    read: Callable[[str], object]
    name: str
    at: int


class Table(NamedTuple):
    """The backends of a fleet for one kind of work at one moment, each fit for it or not."""

    fleet: FleetView
    situation: Situation
    working: Working
    entries: Sequence[Entry]
    """By their places in the fleet."""
    learned: Sequence[_Learned]
    seen: Sequence[object]
    """What those were."""
    order: Sequence[int]
    """The places of those that are fit, as they stand among equals."""
    numbers: Mapping[str, int]
    """The number of each backend in `order`."""
    by_chip: Mapping[str, Sequence[int]]
    unable: tuple[Rejected, ...]
    failing: Sequence[int]
    """The numbers of those with breakers."""
    is_endangered: bool
    """Whether heat would endanger the device of one."""
    known_until_s: float
    """Until when enough answers have shown the speed of each."""
    lines: dict[LineKey, tuple[Sequence[Line], Collection[int]]]
    """The least costs of `order`, and the places of those that have changed since."""
    typical: dict[Asker, float | None]
    tiers: dict[bool, Mapping[Tier, Sequence[int]]]
    """The numbers by tier, where the mode's limit of watts is lifted and where it is not."""

    def by_tier(self, *, lifts_power: bool) -> Mapping[Tier, Sequence[int]]:
        """The numbers of those that are fit, by where they stand in the mode."""
        if lifts_power not in self.tiers:
            found = defaultdict[Tier, list[int]](list)
            for number, each in enumerate(self.fit):
                found[standing_tier(each.standing, lifts_power=lifts_power)].append(number)
            self.tiers[lifts_power] = found
        return self.tiers[lifts_power]

    def candidate(self, number: int) -> Candidate:
        """One of those that are fit, by its number."""
        return _candidate(self.entries[self.order[number]])

    @property
    def fit(self) -> Sequence[Candidate]:
        """All that can do the work, as they stand among equals."""
        return [_candidate(self.entries[at]) for at in self.order]

    @property
    def in_fleet(self) -> Sequence[Candidate]:
        """The same by their places in the fleet."""
        return [each for each in self.entries if isinstance(each, Candidate)]

    def typical_tokens(self, asker: Asker) -> float | None:
        """How long answers to a program are, as was learned on all of them together."""
        if asker not in self.typical:
            speeds = [found for each in self.fit if (found := each.view.speeds.get(each.model.name)) is not None]
            self.typical[asker] = typical_output_tokens(speeds, asker)
        return self.typical[asker]

    def least_costs(self, asked: Demand) -> list[float]:
        """What a request costs at least on each that is fit, in their order."""
        prices = asked.price_of_time_w, asked.others_price_w
        key = LineKey(context_of(asked.prompt_tokens), *prices, is_shared=bool(asked.followers))
        lines = self._lines_for(key)
        read, write = asked.prompt_tokens, asked.output_tokens
        least = (1 - NEXT_TURN) * read if asked.cached_tokens else read  # the next turn may bear its part
        costs = [fixed_j + read_j * least + write_j * write for fixed_j, read_j, write_j in lines]
        for backend_id, cached_tokens in asked.cached_tokens.items():
            if (number := self.numbers.get(backend_id)) is not None:
                left = read - cached_tokens
                rest = self._lines_for(key._replace(context=context_of(left)))[number]
                write_j = min(rest.write_j, lines[number].write_j)
                costs[number] = rest.fixed_j + rest.read_j * (1 - NEXT_TURN) * left + write_j * write
        for backend_id, wait_s in asked.waits_s.items():
            if (number := self.numbers.get(backend_id)) is not None:
                costs[number] += asked.price_of_time_w * wait_s
        return costs

    def _lines_for(self, key: LineKey) -> Sequence[Line]:
        """The lines of all that are fit, those that have changed drawn anew."""
        if (known_lines := self.lines.get(key)) is None:
            lines: Sequence[Line] = [line(each, key) for each in self.fit]
        elif known_lines[1]:
            lines = self._relined(key, *known_lines)
        else:
            lines = known_lines[0]
        self.lines[key] = lines, ()
        return lines

    def followed(self, fleet: FleetView, situation: Situation) -> "Table":
        """The table of another moment."""
        if len(fleet) != len(self.fleet):
            return compiled(fleet, situation)
        news = [read(name) for read, name, _ in self.learned]
        anew, busier = self._changed(fleet, situation, news)
        if not anew and fleet is self.fleet and situation.query.background == self.situation.query.background:
            return self
        if any(fleet[at].spec is not self.fleet[at].spec for at in anew):
            return compiled(fleet, situation)
        entries, rules = list(self.entries), fitness_rules(situation.query) if anew else ()
        for at in anew:
            entries[at] = candidate_of(fleet[at], situation, rules)
        if any(_shape(entries[at]) != _shape(self.entries[at]) for at in anew):
            return _assembled(fleet, situation, entries)
        changed = anew | busier
        working, chips = self._at_work(fleet, situation, changed)
        touched = changed.union(*[self.by_chip.get(chip, ()) for chip in chips])
        _meet(fleet, entries, touched, working)
        is_news = any(now is not was for now, was in zip(news, self.seen, strict=True))
        return self._replace(
            fleet=fleet,
            situation=situation,
            working=working,
            entries=entries,
            seen=news,
            known_until_s=_known_until_s(entries) if is_news else self.known_until_s,
            lines={key: (lines, touched.union(stale)) for key, (lines, stale) in self.lines.items()},
            typical={} if is_news else self.typical,
        )

    def _at_work(self, fleet: FleetView, situation: Situation, changed: set[int]) -> tuple[Working, Iterable[str]]:
        """What is at work now, and the chips on which that has changed."""
        background, before = situation.query.background, self.situation.query.background
        devices = situation.system.devices
        if background != before or devices is not self.situation.system.devices:
            working, _ = at_work(fleet, devices, background, {})
            return working, working.keys() | self.working.keys()
        return at_work([fleet[at] for at in changed], devices, background, self.working)

    def _changed(self, fleet: FleetView, situation: Situation, news: Sequence[object]) -> tuple[set[int], set[int]]:
        """The places of what is no longer as it was, and of that of which only the requests under way have changed."""
        pairs = zip(self.learned, news, self.seen, strict=True)
        anew = {learned.at for learned, now, was in pairs if now is not was}
        if situation.system is not self.situation.system:
            anew.update([at for at, view in enumerate(fleet) if view.spec.is_local or view.spec.pci_address])
        if fleet is self.fleet:
            return anew, set()
        both = zip(fleet, self.fleet, strict=True)
        views = {at for at, (now_, was_) in enumerate(both) if now_ is not was_} - anew
        busier = {at for at in views if _REST(fleet[at]) == _REST(self.fleet[at])}
        return anew | (views - busier), busier

    def _relined(self, key: LineKey, lines: Sequence[Line], stale: Iterable[int]) -> Sequence[Line]:
        changed = list(lines)
        for at in stale:
            if isinstance(found := self.entries[at], Candidate):
                changed[self.numbers[found.view.spec.id]] = line(found, key)
        return changed


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
    working, _ = at_work(fleet, situation.system.devices, situation.query.background, {})
    by_chip = defaultdict[str, list[int]](list)
    for at in order:
        by_chip[_candidate(entries[at]).chip].append(at)
    _meet(fleet, entries, order, working)
    learned = [each for at in order for each in _learned(at, _candidate(entries[at]))]
    return Table(
        fleet=fleet,
        situation=situation,
        working=working,
        entries=entries,
        learned=learned,
        seen=[read(name) for read, name, _ in learned],
        order=order,
        numbers={_candidate(entries[at]).view.spec.id: number for number, at in enumerate(order)},
        by_chip=by_chip,
        unable=tuple([each for each in entries if isinstance(each, Rejected)]),
        failing=[number for number, at in enumerate(order) if _candidate(entries[at]).view.breakers],
        is_endangered=any(_candidate(entries[at]).critical is not None for at in order),
        known_until_s=_known_until_s(entries),
        lines={},
        typical={},
        tiers={},
    )


def _meet(fleet: FleetView, entries: list[Entry], places: Iterable[int], working: Working) -> None:
    """Have backends, as they are now, meet those that are at work on their chips."""
    for at in places:
        if isinstance(each := entries[at], Candidate):
            view = fleet[at]
            entries[at] = each._replace(view=view, crowd=crowd(view, each.model, working.get(each.chip)))


def _shape(entry: Entry) -> tuple[Any, ...]:
    """What the rest of a table rests on of one of its entries; of mappings it is which they are."""
    if isinstance(entry, Rejected):
        return (entry,)
    view = entry.view
    return entry.place, entry.chip, bool(view.breakers), entry.standing, entry.critical, *_sources(view)


def _sources(view: BackendView) -> tuple[int, int, bool]:
    return id(view.speeds), id(view.memory), view.loaded is None


def _learned(at: int, candidate: Candidate) -> Iterable[_Learned]:
    view, model = candidate.view, candidate.model
    yield _Learned(view.speeds.get, model.name, at)
    if view.loaded is not None:
        yield _Learned(view.memory.load_s.get, model.name, at)
        yield _Learned(view.memory.gaps_s.get, canonical(model.name), at)


def _known_until_s(entries: Iterable[Entry]) -> float:
    return min([each.known_until_s for each in entries if isinstance(each, Candidate)], default=inf)


def _candidate(entry: Entry) -> Candidate:
    assert isinstance(entry, Candidate)
    return entry
