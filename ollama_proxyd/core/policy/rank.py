"""Orders the backends for a request: those that may serve it, the best first, and why not the others."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from math import isfinite
from operator import itemgetter
from typing import TypeAlias

from ollama_proxyd.core.fleet import FleetView
from ollama_proxyd.core.modes import ModeRow, ModeSetting
from ollama_proxyd.core.policy.alike import Cheapest
from ollama_proxyd.core.policy.balancing import balanced
from ollama_proxyd.core.policy.cost import Candidate, Demand, demand, price, price_of_time_w
from ollama_proxyd.core.policy.decision import Decision, Ranked, Ranking, Rejected
from ollama_proxyd.core.policy.decision_reason import why_chosen, why_none
from ollama_proxyd.core.policy.eligibility import LimitRule, Situation, limit_rules
from ollama_proxyd.core.policy.failing import failing_of, may_be_tried, why_aside
from ollama_proxyd.core.policy.least_costs import FEW
from ollama_proxyd.core.policy.mode_limits import (
    Tier,
    beyond,
    give_way,
    is_strict,
    is_too_busy,
    late_j,
    lifts_power,
    refusing,
    tier,
)
from ollama_proxyd.core.policy.other_mode import in_other_mode
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.table import Table, table_of
from ollama_proxyd.core.policy.trial import Outlook, trial
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.values import value

_Place: TypeAlias = tuple[Tier, float, tuple[bool, int, str], Ranked]
"""Where a backend stands: its tier, its cost, and what decides between equals."""
_EQUAL = 1e-9
"""What is cheaper by less than this share is as dear: sums of the same terms differ in their last digits."""


@value
class Assessment:
    """The backends that can do the work, and what is asked of them."""

    fleet: FleetView
    situation: Situation
    asked: Demand
    table: Table
    failing: tuple[Candidate, ...] = ()
    """Those that fit as well, but failed of late: for where no other can serve, the nearest to its next try first."""


def rank(query: Query, fleet: FleetView, system: SystemState, setting: ModeSetting) -> Decision:
    """Decide where a request goes; pure and total: each backend is either ranked or rejected."""
    return decide(assess(query, fleet, system, setting))


def assess(query: Query, fleet: FleetView, system: SystemState, setting: ModeSetting) -> Assessment:
    """Find the backends that can do the work, and what is asked of them."""
    situation = Situation(query, setting, system, under_way=sum([view.in_flight for view in fleet]))
    table = table_of(fleet, situation)
    asker = query.hints.asker.program.name, query.operation._value_
    asked = demand(query, setting.row, table.typical_tokens(asker))
    failing = failing_of([table.candidate(number) for number in table.failing], query) if table.failing else ()
    return Assessment(fleet, situation, asked, table, failing)


def in_mode(assessment: Assessment, setting: ModeSetting) -> Assessment:
    """The same request, fleet and moment in another mode; nothing is looked at anew."""
    query, fleet, row = assessment.situation.query, assessment.fleet, setting.row
    situation = Situation(query, setting, assessment.situation.system, assessment.situation.under_way)
    table = in_other_mode(assessment.table, fleet, situation)
    price_w = price_of_time_w(row, query.hints)
    asked = assessment.asked._replace(price_of_time_w=price_w, others_price_w=row.price_of_time_w)
    failing = failing_of([table.candidate(number) for number in table.failing], query) if table.failing else ()
    return Assessment(fleet, situation, asked, table, failing)


def decide(assessment: Assessment) -> Decision:
    """Choose among the backends that were found fit."""
    situation, asked, table = assessment.situation, assessment.asked, assessment.table
    query, setting = situation.query, situation.setting
    ranked, limited, least_j = _ordered(assessment)
    within = table.by_tier(lifts_power=lifts_power(situation)).get(Tier.WITHIN, ())
    last_resort = _last_resort(assessment) if assessment.failing and not ranked else ()
    if last_resort:
        ranked = last_resort
    elif (tried := trial(table, ranked, query, Outlook(within, least_j))) is not None:
        ranked = Ranking.led_by(tried, ranked)
    if query.hints.frontend is not None:
        ranked = balanced(ranked, query, assessment.fleet)
    aside = _set_aside(assessment, last_resort) if assessment.failing else ()
    rejected = table.unable + limited + aside
    reason = why_chosen(situation, asked, ranked, is_any_within=bool(within)) if ranked else why_none(query, rejected)
    modes = setting.chosen, setting.effective, setting.reason
    return Decision(ranked, rejected, *modes, reason, expected_tokens=asked.output_tokens)


def _ordered(assessment: Assessment) -> tuple[Sequence[Ranked], tuple[Rejected, ...], Sequence[float]]:
    """The backends in their order, those that a limit keeps out, and what each costs at least where nothing does."""
    table = assessment.table
    aside = _ids_of(assessment.failing)
    if _may_refuse(assessment):
        return *_order([each for each in table.in_fleet if each.view.spec.id not in aside], assessment), ()
    if len(table.order) == 1 and not aside:
        return (_priced(table.candidate(0), assessment),), (), ()
    priced = _Priced(assessment)
    least_j = table.least_costs(assessment.asked, priced.cost_j)
    return _ranking(priced, least_j, aside), (), least_j


def _ids_of(failing: Sequence[Candidate]) -> AbstractSet[str]:
    return {each.view.spec.id for each in failing} if failing else frozenset()


def _may_refuse(assessment: Assessment) -> bool:
    """Whether a limit, or heat, may keep a backend out that fits."""
    situation = assessment.situation
    return assessment.table.is_endangered or is_strict(situation) or bool(limit_rules(situation.query))


def _ranking(priced: "_Priced", least_j: Sequence[float], aside: AbstractSet[str]) -> Ranking:
    """The same as `_order` for a request that nothing refuses, each priced when it is asked for."""
    table = priced.assessment.table
    groups = _groups(priced, least_j, aside)

    def by_least(count: int) -> list[str]:
        numbers = list[int]()
        for each in groups:
            numbers += sorted(each, key=least_j.__getitem__) if len(numbers) < count else ()
        fleet, order = table.fleet, table.order
        return [fleet[order[number]].spec.id for number in numbers[:count]]

    rest = chain.from_iterable([_in_order(least_j, numbers, priced) for numbers in groups])
    return Ranking(table.able - aside if aside else table.able, rest, by_least)


class _Priced(dict[int, Ranked]):
    """What a request costs on each backend by its number; each is priced when it is asked for."""

    __slots__ = ("assessment",)

    def __init__(self, assessment: Assessment) -> None:
        self.assessment = assessment

    def __missing__(self, number: int) -> Ranked:
        found = self[number] = _priced(self.assessment.table.candidate(number), self.assessment)
        return found

    def cost_j(self, number: int) -> float:
        """What it costs on one."""
        return self[number].cost_j


def _groups(priced: _Priced, least_j: Sequence[float], aside: AbstractSet[str]) -> list[Sequence[int]]:
    """The numbers of those that can serve; all of a group come before those of the next."""
    table, situation = priced.assessment.table, priced.assessment.situation
    tiers = table.by_tier(lifts_power=lifts_power(situation))
    if aside:
        left = {table.numbers[each] for each in aside}
        tiers = {each: [number for number in numbers if number not in left] for each, numbers in tiers.items()}
    groups = [tiers[each] for each in sorted(tiers) if tiers[each]]
    within, over = tiers.get(Tier.WITHIN), tiers.get(Tier.BEYOND)
    if within and over and _is_one(within, over, least_j, priced):
        groups[:2] = [sorted([*within, *over])]
    return groups


def _is_one(within: Sequence[int], over: Sequence[int], least_j: Sequence[float], priced: _Priced) -> bool:
    """Whether the limits of the mode give way to those beyond them."""
    best = _cheapest(least_j, within, priced)
    if not is_too_busy(best.beyond) and min([least_j[number] for number in over]) >= best.cost_j:
        return False
    return give_way(best, _cheapest(least_j, over, priced))


def _cheapest(least_j: Sequence[float], numbers: Sequence[int], priced: _Priced) -> Ranked:
    """The first of `_in_order`."""
    return priced[numbers[0]] if len(numbers) == 1 else next(_in_order(least_j, numbers, priced))


def _in_order(least_j: Sequence[float], numbers: Sequence[int], priced: _Priced) -> Iterator[Ranked]:
    """Some backends, the cheapest first, by what each costs at least: one is priced as soon as it may come next.

    Of many alike the least costs are the same and the first comes first; of a few some are known in full.
    """
    is_few = len(least_j) <= FEW
    equal = _EQUAL if is_few else -_EQUAL
    alike = [None] * len(least_j) if is_few else priced.assessment.table.alike(priced.assessment.asked)
    is_sorted = isfinite(sum([least_j[number] for number in numbers]))
    found = Cheapest(priced.__getitem__, alike)
    for number in sorted(numbers, key=least_j.__getitem__) if is_sorted else numbers:
        while is_sorted and (best_j := found.least_j) is not None and least_j[number] >= best_j + equal * abs(best_j):
            yield found.take()
        found.add(number)
    while found.least_j is not None:
        yield found.take()


def _priced(candidate: Candidate, assessment: Assessment) -> Ranked:
    """What a request costs on a backend, with the limits that it exceeds there."""
    priced = price(candidate, assessment.asked)
    exceeded = beyond(candidate, priced, assessment.situation)
    return _beyond(priced, exceeded, assessment.situation) if exceeded else priced


def _last_resort(assessment: Assessment) -> tuple[Ranked, ...]:
    """Failing backends that may serve where nothing else can, the nearest to its next try first."""
    query = assessment.situation.query
    triable = [each for each in assessment.failing if may_be_tried(each, query)]
    found = {each.backend_id: each for each in _order(triable, assessment)[0]}
    return tuple(
        [
            best._replace(beyond=(why_aside(candidate, query), *best.beyond))
            for candidate in triable
            if (best := found.get(candidate.view.spec.id)) is not None
        ]
    )


def _set_aside(assessment: Assessment, used: Sequence[Ranked]) -> tuple[Rejected, ...]:
    """The failing backends that are left alone, each with its reason."""
    query, used_ids = assessment.situation.query, {each.backend_id for each in used}
    aside = (each for each in assessment.failing if each.view.spec.id not in used_ids)
    return tuple([Rejected(each.view.spec.id, (why_aside(each, query),)) for each in aside])


def has_no_choice(assessment: Assessment, row: ModeRow) -> bool:
    """Whether a mode sends a request where it went: there by name, or to the only one that fits.

    What is in memory changes how long a model stays, so it must be unknown; and no limit may refuse anything.
    """
    query, table = assessment.situation.query, assessment.table
    if query.hints.target is not None:
        return True
    is_refused = row.strict or query.hints.strict_limits or table.is_endangered or limit_rules(query)
    if len(table.order) != 1 or assessment.failing or is_refused:
        return False
    return table.candidate(0).view.loaded is None


def best_under(assessment: Assessment, setting: ModeSetting) -> Ranked | None:
    """The backend that another mode would choose; None where it had none."""
    found = in_mode(assessment, setting)
    if _may_refuse(found):
        ranked, *_ = _ordered(found)
        return ranked[0] if ranked else None
    if len(found.table.order) == 1 and not found.failing:
        return _priced(found.table.candidate(0), found)
    priced = _Priced(found)
    least_j = found.table.least_costs(found.asked, priced.cost_j)
    groups = _groups(priced, least_j, _ids_of(found.failing))
    return _cheapest(least_j, groups[0], priced) if groups else None


def _order(fit: Sequence[Candidate], assessment: Assessment) -> tuple[tuple[Ranked, ...], tuple[Rejected, ...]]:
    """Sort by tier, then by cost; equals by preference for the model, by priority, then by name."""
    situation = assessment.situation
    places: list[_Place] = []
    limited: list[Rejected] = []
    rules = limit_rules(situation.query)
    for candidate in fit:
        ranked = _priced(candidate, assessment)
        refusals = refusing(ranked.beyond, situation) + _refusals(candidate, ranked, situation, rules)
        if refusals:
            limited.append(Rejected(ranked.backend_id, refusals))
        else:
            places.append((tier(ranked.beyond, situation), ranked.cost_j, candidate.place, ranked))
    return tuple([place[-1] for place in _sorted(places)]), tuple(limited)


def _beyond(priced: Ranked, exceeded: tuple[Reason, ...], situation: Situation) -> Ranked:
    """The same with the limits that it exceeds, and what that costs."""
    added_j = late_j(exceeded, priced, situation)
    return Ranked._make((*priced[:2], priced.cost_j + added_j, *priced[3:-2], added_j, exceeded))


def _sorted(places: list[_Place]) -> list[_Place]:
    """The best first; where the cheapest within the limits gives way, those beyond stand beside it."""
    places.sort(key=_BY_PLACE)
    over = next((place[-1] for place in places if place[0] is Tier.BEYOND), None)
    if over is not None and places[0][0] is Tier.WITHIN and give_way(places[0][-1], over):
        equals = [(Tier.WITHIN if place[0] is Tier.BEYOND else place[0], *place[1:]) for place in places]
        return sorted(equals, key=_BY_PLACE)
    return places


def _refusals(
    candidate: Candidate, priced: Ranked, situation: Situation, rules: Sequence[LimitRule]
) -> tuple[Reason, ...]:
    """Every limit of the request that a backend exceeds, and the heat that would endanger its device."""
    found = [rule(candidate.view, priced, situation) for rule in rules]
    return tuple([each for each in (*found, candidate.critical) if each is not None])


_BY_PLACE = itemgetter(0, 1, 2)
