"""Orders the backends for a request: those that may serve it, the cheapest first, and why not the others."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ollama_proxyd.core.binding import device_of, why_unbound
from ollama_proxyd.core.fleet import FleetView
from ollama_proxyd.core.modes import Mode, ModeSetting
from ollama_proxyd.core.policy.cost import Candidate, Demand, demand, price
from ollama_proxyd.core.policy.decision import Decision, Ranked, Rejected
from ollama_proxyd.core.policy.decision_reason import why_chosen, why_none
from ollama_proxyd.core.policy.eligibility import Situation, beyond_limits, held, is_preferred, too_hot, unfit
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.reasons import Reason


def rank(query: Query, fleet: FleetView, system: SystemState, setting: ModeSetting) -> Decision:
    """Decide where a request goes; pure and total: each backend is either ranked or rejected."""
    strict = Situation(query, setting, system, under_way=sum(view.in_flight for view in fleet))
    fit, unable = _sift(fleet, strict)
    speeds = [each.view.speeds[each.model.name] for each in fit if each.model.name in each.view.speeds]
    asked = demand(query, setting.row, speeds)
    for situation in _concessions(strict) if fit else (strict,):
        setting = situation.setting
        ranked, limited = _order(fit, asked, situation)
        if ranked:
            break
    rejected = unable + limited
    if ranked:
        reason = why_chosen(query, setting, asked, ranked)
        if situation is not strict and (against := _against(ranked[0], fit, strict)):
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


def _concessions(strict: Situation) -> Iterator[Situation]:
    """The limits as they are, then ever fewer: neither heat nor Auto's own choice leaves a person without an answer."""
    yield strict
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
    fit: list[Candidate] = []
    unable: list[Rejected] = []
    for view in fleet:
        model = held(view, situation.query)
        rejections = unfit(view, model, situation)
        if model is None or rejections:
            unable.append(Rejected(view.spec.id, rejections))
            continue
        device = device_of(view.spec, devices)
        fit.append(Candidate(view, model, device, why_unbound(view.spec, devices) if device is None else None))
    return fit, tuple(unable)


def _order(
    fit: Sequence[Candidate], asked: Demand, situation: Situation
) -> tuple[tuple[Ranked, ...], tuple[Rejected, ...]]:
    """Price each backend and sort by cost; equals by preference for the model, by priority, then by name."""
    within: list[tuple[float, bool, int, str, Ranked]] = []
    beyond: list[Rejected] = []
    for candidate in fit:
        view, model = candidate.view, candidate.model
        priced = price(candidate, asked)
        rejections = beyond_limits(view, priced, situation) + too_hot(view, candidate.device, situation)
        if rejections:
            beyond.append(Rejected(view.spec.id, rejections))
        else:
            spec = view.spec
            within.append((priced.cost_j, not is_preferred(view, model), -spec.priority, spec.id, priced))
    within.sort(key=lambda entry: entry[:4])
    return tuple(entry[4] for entry in within), tuple(beyond)


def _against(best: Ranked, fit: Sequence[Candidate], strict: Situation) -> tuple[Reason, ...]:
    """What spoke against the backend that serves because nothing else can."""
    served = next(candidate for candidate in fit if candidate.view.spec.id == best.backend_id)
    return too_hot(served.view, served.device, strict)
