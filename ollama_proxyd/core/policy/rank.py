"""Orders the backends for a request: those that may serve it, the cheapest first, and why not the others."""

from dataclasses import replace

from ollama_proxyd.core.fleet import BackendView, FleetView, Model
from ollama_proxyd.core.modes import Mode, ModeSetting
from ollama_proxyd.core.policy.cost import Demand, demand, price
from ollama_proxyd.core.policy.decision import Decision, Ranked, Rejected
from ollama_proxyd.core.policy.eligibility import Situation, beyond_limits, held, is_preferred, unfit
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.reasons import why_chosen, why_none
from ollama_proxyd.core.readings import SystemState

Fit = tuple[BackendView, Model]


def rank(query: Query, fleet: FleetView, system: SystemState, setting: ModeSetting) -> Decision:
    """Decide where a request goes; pure and total: each backend is either ranked or rejected."""
    situation = Situation(query, setting, system, under_way=sum(view.in_flight for view in fleet))
    fit, unable = _sift(fleet, situation)
    speeds = [view.speeds[model.name] for view, model in fit if model.name in view.speeds]
    asked = demand(query, setting.row, speeds)
    ranked, limited = _order(fit, asked, situation)
    if not ranked and setting.chosen is Mode.AUTO:
        setting = _without_limits(setting)
        ranked, limited = _order(fit, asked, replace(situation, setting=setting))
    rejected = unable + limited
    return Decision(
        ranked=ranked,
        rejected=rejected,
        mode=setting.chosen,
        effective_mode=setting.effective,
        mode_reason=setting.reason,
        reason=why_chosen(query, setting, asked, ranked) if ranked else why_none(query, setting, rejected),
    )


def _without_limits(setting: ModeSetting) -> ModeSetting:
    """Auto's own choice never leaves a person without an answer: a limit that nobody asked for gives way."""
    row = replace(setting.row, max_power_w=None, max_temp_c=None, max_fan_percent=None)
    reason = f"{setting.reason}; nothing that can serve this is within the limits of {setting.row.label}"
    return replace(setting, row=row, reason=reason)


def _sift(fleet: FleetView, situation: Situation) -> tuple[list[Fit], tuple[Rejected, ...]]:
    """Part the backends that can do the work from those that cannot."""
    fit: list[Fit] = []
    unable: list[Rejected] = []
    for view in fleet:
        model = held(view, situation.query)
        rejections = unfit(view, model, situation)
        if model is None or rejections:
            unable.append(Rejected(view.spec.id, rejections))
        else:
            fit.append((view, model))
    return fit, tuple(unable)


def _order(fit: list[Fit], asked: Demand, situation: Situation) -> tuple[tuple[Ranked, ...], tuple[Rejected, ...]]:
    """Price each backend and sort by cost; equals by preference for the model, by priority, then by name."""
    within: list[tuple[float, bool, int, str, Ranked]] = []
    beyond: list[Rejected] = []
    for view, model in fit:
        priced = price(view, model, asked)
        rejections = beyond_limits(view, priced, situation)
        if rejections:
            beyond.append(Rejected(view.spec.id, rejections))
        else:
            spec = view.spec
            within.append((priced.cost_j, not is_preferred(view, model), -spec.priority, spec.id, priced))
    within.sort(key=lambda entry: entry[:4])
    return tuple(entry[4] for entry in within), tuple(beyond)
