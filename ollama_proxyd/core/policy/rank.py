"""Orders the backends for a request: those that may serve it, the best first, and why not the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TypeAlias

from ollama_proxyd.core.binding import device_of, why_unbound
from ollama_proxyd.core.fleet import BackendSpec, BackendView, FleetView, LoadedModel, Model
from ollama_proxyd.core.keeping import Memory
from ollama_proxyd.core.learning import Speed, Watts
from ollama_proxyd.core.memo import by_identity
from ollama_proxyd.core.modes import ModeRow, ModeSetting
from ollama_proxyd.core.policy.cost import Candidate, Demand, demand, price
from ollama_proxyd.core.policy.crowd import ALONE, at_work, crowd
from ollama_proxyd.core.policy.decision import Decision, Ranked, Rejected
from ollama_proxyd.core.policy.decision_reason import why_chosen, why_none
from ollama_proxyd.core.policy.eligibility import (
    LimitRule,
    Situation,
    fitness_rules,
    held,
    limit_rules,
    matches,
    unfit,
)
from ollama_proxyd.core.policy.failing import failing_of, may_be_tried, why_aside
from ollama_proxyd.core.policy.heat import critical_heat, heat_share, noise_share
from ollama_proxyd.core.policy.mode_limits import Tier, beyond, is_too_busy, late_j, refusing, standing, tier
from ollama_proxyd.core.policy.priors import expect
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.residence import gaps_of, keeping
from ollama_proxyd.core.policy.trial import known_until_s, trial
from ollama_proxyd.core.readings import SystemState, known
from ollama_proxyd.core.reasons import Reason

_Place: TypeAlias = tuple[Tier, float, tuple[bool, int, str], Ranked]
"""Where a backend stands: its tier, its cost, and what decides between equals."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The backends that can do the work, priced."""

    fleet: FleetView
    situation: Situation
    asked: Demand
    fit: tuple[tuple[Candidate, Ranked], ...]
    unable: tuple[Rejected, ...]
    failing: tuple[tuple[Candidate, Ranked], ...] = ()
    """Those that fit as well, but failed of late: for where no other can serve, the nearest to its next try first."""


def rank(query: Query, fleet: FleetView, system: SystemState, setting: ModeSetting) -> Decision:
    """Decide where a request goes; pure and total: each backend is either ranked or rejected."""
    return decide(assess(query, fleet, system, setting))


def assess(query: Query, fleet: FleetView, system: SystemState, setting: ModeSetting) -> Assessment:
    """Find the backends that can do the work, and what it would cost on each."""
    situation = Situation(query, setting, system, under_way=sum([view.in_flight for view in fleet]))
    fit, unable = _sift(fleet, situation)
    speeds = [each.view.speeds[each.model.name] for each in fit if each.model.name in each.view.speeds]
    asked = demand(query, setting.row, speeds)
    failing = failing_of([each for each in fit if each.view.breakers], query)
    aside = {id(each) for each in failing}
    priced = tuple([(each, price(each, asked)) for each in fit if id(each) not in aside])
    return Assessment(fleet, situation, asked, priced, unable, tuple([(each, price(each, asked)) for each in failing]))


def decide(assessment: Assessment) -> Decision:
    """Choose among the backends that were found fit."""
    situation, asked = assessment.situation, assessment.asked
    query, setting = situation.query, situation.setting
    ranked, limited = _order(assessment.fit, situation)
    if not ranked and assessment.failing:
        ranked = _last_resort(assessment.failing, situation)
    if (tried := trial(assessment.fit, ranked, query)) is not None:
        ranked = (tried, *[each for each in ranked if each is not tried])
    rejected = assessment.unable + limited + _set_aside(assessment, ranked)
    return Decision(
        ranked=ranked,
        rejected=rejected,
        mode=setting.chosen,
        effective_mode=setting.effective,
        mode_reason=setting.reason,
        reason=why_chosen(situation, asked, ranked) if ranked else why_none(query, rejected),
        expected_tokens=asked.output_tokens,
    )


def _last_resort(failing: Sequence[tuple[Candidate, Ranked]], situation: Situation) -> tuple[Ranked, ...]:
    """Failing backends that may serve where nothing else can, the nearest to its next try first."""
    query = situation.query
    triable = [each for each in failing if may_be_tried(each[0], query)]
    found = {each.backend_id: each for each in _order(triable, situation)[0]}
    return tuple(
        [
            best._replace(beyond=(why_aside(candidate, query), *best.beyond))
            for candidate, _ in triable
            if (best := found.get(candidate.view.spec.id)) is not None
        ]
    )


def _set_aside(assessment: Assessment, ranked: Sequence[Ranked]) -> tuple[Rejected, ...]:
    """The failing backends that are left alone, each with its reason."""
    query, used = assessment.situation.query, {each.backend_id for each in ranked}
    aside = (each for each, priced in assessment.failing if priced.backend_id not in used)
    return tuple([Rejected(each.view.spec.id, (why_aside(each, query),)) for each in aside])


def best_under(assessment: Assessment, setting: ModeSetting) -> Ranked | None:
    """The backend that another mode would choose; None where it had none."""
    found = assess(assessment.situation.query, assessment.fleet, assessment.situation.system, setting)
    ranked, _ = _order(found.fit, found.situation)
    return ranked[0] if ranked else None


def _sift(fleet: FleetView, situation: Situation) -> tuple[list[Candidate], tuple[Rejected, ...]]:
    """Part the backends that can do the work from those that cannot."""
    devices = situation.system.devices
    rules = fitness_rules(situation.query)
    working = at_work(fleet, devices, situation.query.background) if situation.under_way else {}
    row = situation.setting.row
    max_temp_c = row.max_temp_c if situation.query.hints.target is None else None
    fit: list[Candidate] = []
    unable: list[Rejected] = []
    for view in fleet:
        model = held(view, situation.query)
        rejections = unfit(view, model, situation, rules)
        if model is None or rejections:
            unable.append(Rejected(view.spec.id, rejections))
            continue
        learned = view.speeds.get(model.name), view.memory.load_s.get(model.name), gaps_of(view, model)
        candidate = _candidate(view, model, situation.system, row, max_temp_c, *learned)
        fit.append(candidate._replace(crowd=crowd(view, model, candidate.device, working)) if working else candidate)
    return fit, tuple(unable)


@by_identity
def _candidate(
    view: BackendView,
    model: Model,
    system: SystemState,
    row: ModeRow,
    max_temp_c: float | None,
    *learned: object,
) -> Candidate:
    """All that no request changes; what is learned in place is named, so that news of it counts at once."""
    settled = _settled(view.spec, view.degraded, view.loaded, view.speeds, view.watts, view.memory)
    compiled = _compiled(settled, model, system, row, max_temp_c, *learned)
    return compiled._replace(view=view)


@by_identity
def _settled(
    spec: BackendSpec,
    degraded: Reason | None,
    loaded: tuple[LoadedModel, ...] | None,
    speeds: Mapping[str, Speed],
    watts: Watts | None,
    memory: Memory,
) -> BackendView:
    """What a price rests on of a view: one object, while requests come and go."""
    return BackendView(spec, degraded=degraded, loaded=loaded, speeds=speeds, watts=watts, memory=memory)


@by_identity
def _compiled(
    view: BackendView, model: Model, system: SystemState, row: ModeRow, max_temp_c: float | None, *_learned: object
) -> Candidate:
    """The same for a backend without requests."""
    spec, devices, expected = view.spec, system.devices, expect(view, model)
    device = device_of(spec, devices)
    share, note = heat_share(device, max_temp_c) if device is not None else (0.0, why_unbound(spec, devices))
    noise, noise_note = noise_share(spec, device, expected.power_w, row.price_of_noise)
    return Candidate(
        view=view,
        model=model,
        device=device,
        crowd=ALONE,
        expected=expected,
        keeping=keeping(view, model, device, expected.power_w, row.price_of_time_w),
        heat_share=share,
        heat_note=note,
        noise_share=noise,
        noise_note=noise_note,
        standing=standing(view, device, known(system.games), row),
        critical=None if device is None else critical_heat(view, device),
        place=(not matches(model.name, spec.rules.preferred), -spec.priority, spec.id),
        known_until_s=known_until_s(view, model),
    )


def _order(
    fit: Sequence[tuple[Candidate, Ranked]], situation: Situation
) -> tuple[tuple[Ranked, ...], tuple[Rejected, ...]]:
    """Sort by tier, then by cost; equals by preference for the model, by priority, then by name."""
    places: list[_Place] = []
    limited: list[Rejected] = []
    rules = limit_rules(situation.query)
    for candidate, priced in fit:
        exceeded = beyond(candidate, priced, situation)
        refusals = refusing(exceeded, situation) if exceeded else ()
        if rules or candidate.critical is not None:
            refusals += _refusals(candidate, priced, situation, rules)
        if refusals:
            limited.append(Rejected(priced.backend_id, refusals))
        else:
            ranked = _beyond(priced, exceeded, situation) if exceeded else priced
            places.append((tier(exceeded, situation), ranked.cost_j, candidate.place, ranked))
    return tuple([place[-1] for place in _sorted(places)]), tuple(limited)


def _beyond(priced: Ranked, exceeded: tuple[Reason, ...], situation: Situation) -> Ranked:
    """The same with the limits that it exceeds, and what that costs."""
    added_j = late_j(exceeded, priced, situation)
    return priced._replace(beyond=exceeded, late_j=added_j, cost_j=priced.cost_j + added_j)


def _sorted(places: list[_Place]) -> list[_Place]:
    """The best first; where the cheapest within the limits is too busy, those beyond them stand beside it."""
    places.sort(key=_BY_PLACE)
    if len(places) > 1 and places[0][0] is Tier.WITHIN and is_too_busy(places[0][-1].beyond):
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
