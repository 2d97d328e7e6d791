"""Orders the backends for a request: those that may serve it, the cheapest first, and why not the others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

from ollama_proxyd.core.binding import device_of, why_unbound
from ollama_proxyd.core.fleet import FleetView
from ollama_proxyd.core.modes import Mode, ModeRow, ModeSetting
from ollama_proxyd.core.policy.cost import Candidate, Demand, cost_under, demand, price, price_of_time_w
from ollama_proxyd.core.policy.decision import Decision, Ranked, Rejected
from ollama_proxyd.core.policy.decision_reason import why_chosen, why_none
from ollama_proxyd.core.policy.eligibility import (
    LimitRule,
    Situation,
    fitness_rules,
    held,
    limit_rules,
    matches,
    too_hot,
    unfit,
)
from ollama_proxyd.core.policy.failing import failing_of, may_be_tried, why_aside
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.reasons import Reason


@dataclass(frozen=True, slots=True)
class Assessment:
    """The backends that can do the work, priced; what another mode would make of them needs nothing else."""

    strict: Situation
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
    strict = Situation(query, setting, system, under_way=sum([view.in_flight for view in fleet]))
    fit, unable = _sift(fleet, strict)
    speeds = [each.view.speeds[each.model.name] for each in fit if each.model.name in each.view.speeds]
    asked = demand(query, setting.row, speeds)
    failing = failing_of([each for each in fit if each.view.breakers], query)
    aside = {id(each) for each in failing}
    priced = tuple([(each, price(each, asked)) for each in fit if id(each) not in aside])
    return Assessment(strict, asked, priced, unable, tuple([(each, price(each, asked)) for each in failing]))


def decide(assessment: Assessment) -> Decision:
    """Choose among the backends that were found fit."""
    strict, asked = assessment.strict, assessment.asked
    query, setting = strict.query, strict.setting
    situation, (ranked, limited) = strict, _order(assessment.fit, strict)
    if assessment.fit and not ranked:
        for situation in _concessions(strict):
            ranked, limited = _order(assessment.fit, situation)
            if ranked:
                break
    if not ranked:
        ranked = _last_resort(assessment, situation)
    setting = situation.setting
    rejected = assessment.unable + limited + _set_aside(assessment, ranked)
    if ranked:
        reason = why_chosen(query, setting, asked, ranked)
        if (situation is not strict or assessment.failing) and (against := _against(ranked[0], assessment)):
            reason = Reason("although", reason=reason, rejections=against)
    else:
        reason = why_none(query, setting, rejected)
    return Decision(
        ranked=ranked,
        rejected=rejected,
        mode=setting.chosen,
        effective_mode=setting.effective,
        mode_reason=setting.reason,
        reason=reason,
        expected_tokens=asked.output_tokens,
    )


def _last_resort(assessment: Assessment, situation: Situation) -> tuple[Ranked, ...]:
    """Failing backends within the limits, where nothing else can serve, the nearest to its next try first."""
    triable = [each for each in assessment.failing if may_be_tried(each[0], situation.query)]
    within, _ = _order(triable, situation) if triable else ((), ())
    return tuple([priced for _, priced in triable if priced in within])


def _set_aside(assessment: Assessment, ranked: Sequence[Ranked]) -> tuple[Rejected, ...]:
    """The failing backends that are left alone, each with its reason."""
    query, used = assessment.strict.query, {each.backend_id for each in ranked}
    aside = (each for each, priced in assessment.failing if priced.backend_id not in used)
    return tuple([Rejected(each.view.spec.id, (why_aside(each, query),)) for each in aside])


def best_under(assessment: Assessment, setting: ModeSetting) -> Ranked | None:
    """The backend that another mode would choose, with its terms in the mode at hand; None where it had none."""
    strict = replace(assessment.strict, setting=setting)
    best = _best_within(assessment, strict, setting.row)
    for situation in _concessions(strict) if best is None and assessment.fit else ():
        best = best or _best_within(assessment, situation, setting.row)
    return best


def _best_within(assessment: Assessment, situation: Situation, row: ModeRow) -> Ranked | None:
    """The cheapest backend at the price of a mode, within the limits of a situation."""
    rules, hints = limit_rules(situation), situation.query.hints
    price_w, max_temp_c = price_of_time_w(row, hints), row.max_temp_c if hints.target is None else None
    within = [
        (*_rank_key(candidate, cost_under(candidate, priced, price_w, max_temp_c)), priced)
        for candidate, priced in assessment.fit
        if not ((rules or candidate.device is not None) and _beyond(candidate, priced, situation, rules))
    ]
    return min(within, key=itemgetter(0, 1, 2, 3))[4] if within else None


def _concessions(strict: Situation) -> Iterator[Situation]:
    """Ever fewer limits: neither heat nor Auto's own choice leaves a person without an answer."""
    setting = strict.setting
    is_auto = setting.wanted is Mode.AUTO
    relaxed = replace(strict, setting=_without_limits(setting) if is_auto else _without_heat_limits(setting))
    yield relaxed
    yield replace(relaxed, spares_devices=False)


def _without_limits(setting: ModeSetting) -> ModeSetting:
    row = replace(setting.row, max_power_w=None, max_temp_c=None, max_fan_percent=None)
    reason = Reason("no_backend_within_limits", reason=setting.reason, mode_label=row.label)
    return replace(setting, row=row, reason=reason)


def _without_heat_limits(setting: ModeSetting) -> ModeSetting:
    return replace(setting, row=replace(setting.row, max_temp_c=None, max_fan_percent=None))


def _sift(fleet: FleetView, situation: Situation) -> tuple[list[Candidate], tuple[Rejected, ...]]:
    """Part the backends that can do the work from those that cannot."""
    devices = situation.system.devices
    rules = fitness_rules(situation.query)
    fit: list[Candidate] = []
    unable: list[Rejected] = []
    for view in fleet:
        model = held(view, situation.query)
        rejections = unfit(view, model, situation, rules)
        if model is None or rejections:
            unable.append(Rejected(view.spec.id, rejections))
            continue
        device = device_of(view.spec, devices)
        fit.append(Candidate(view, model, device, why_unbound(view.spec, devices) if device is None else None))
    return fit, tuple(unable)


def _order(
    fit: Sequence[tuple[Candidate, Ranked]], situation: Situation
) -> tuple[tuple[Ranked, ...], tuple[Rejected, ...]]:
    """Sort by cost; equals by preference for the model, by priority, then by name."""
    within: list[tuple[float, bool, int, str, Ranked]] = []
    beyond: list[Rejected] = []
    rules = limit_rules(situation)
    for candidate, priced in fit:
        rejections = _beyond(candidate, priced, situation, rules) if rules or candidate.device is not None else ()
        if rejections:
            beyond.append(Rejected(priced.backend_id, rejections))
        else:
            within.append((*_rank_key(candidate, priced.cost_j), priced))
    within.sort(key=itemgetter(0, 1, 2, 3))
    return tuple([entry[4] for entry in within]), tuple(beyond)


def _beyond(
    candidate: Candidate, priced: Ranked, situation: Situation, rules: Sequence[LimitRule]
) -> tuple[Reason, ...]:
    """Every limit that keeps a backend out."""
    view = candidate.view
    nos = tuple([no for rule in rules if (no := rule(view, priced, situation)) is not None])
    return nos if candidate.device is None else nos + too_hot(view, candidate.device, situation)


def _rank_key(candidate: Candidate, cost_j: float) -> tuple[float, bool, int, str]:
    spec = candidate.view.spec
    preferred = spec.rules.preferred
    is_preferred = bool(preferred) and matches(candidate.model.name, preferred)
    return cost_j, not is_preferred, -spec.priority, spec.id


def _against(best: Ranked, assessment: Assessment) -> tuple[Reason, ...]:
    """What spoke against the backend that serves because nothing else can."""
    strict = assessment.strict
    for candidate, priced in assessment.fit:
        if priced is best:
            return too_hot(candidate.view, candidate.device, strict)
    served = next(candidate for candidate, priced in assessment.failing if priced is best)
    return (why_aside(served, strict.query), *too_hot(served.view, served.device, strict))
