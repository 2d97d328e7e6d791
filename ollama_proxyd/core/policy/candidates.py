"""Whether a backend can do a piece of work, and then all of its price that no request changes."""

from collections.abc import Mapping, Sequence

from ollama_proxyd.core.binding import chip_of, device_of, why_unbound
from ollama_proxyd.core.fleet import BackendSpec, BackendView, LoadedModel, Model
from ollama_proxyd.core.house import Machine
from ollama_proxyd.core.keeping import Memory
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.memo import by_identity
from ollama_proxyd.core.model_names import matches
from ollama_proxyd.core.modes import ModeRow
from ollama_proxyd.core.policy.cost import Candidate
from ollama_proxyd.core.policy.crowd import ALONE
from ollama_proxyd.core.policy.decision import Rejected
from ollama_proxyd.core.policy.eligibility import FitnessRule, Situation, held, unfit
from ollama_proxyd.core.policy.heat import critical_heat, heat_share, noise_share
from ollama_proxyd.core.policy.mode_limits import standing
from ollama_proxyd.core.policy.priors import expect
from ollama_proxyd.core.policy.residence import keeping, upkeep
from ollama_proxyd.core.policy.trial import known_until_s
from ollama_proxyd.core.readings import DeviceState, SystemState, known
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.watts import Watts

_NOT_SEEN = Speed()


def candidate_of(view: BackendView, situation: Situation, rules: Sequence[FitnessRule]) -> Candidate | Rejected:
    """A backend as it can do the work, alone; else every reason why not."""
    model = held(view, situation.query)
    rejections = unfit(view, model, situation, rules)
    if model is None or rejections:
        return Rejected(view.spec.id, rejections)
    system, row = situation.system, situation.setting.row
    device = device_of(view.spec, system.devices)
    settled = _settled(view.spec, view.degraded, view.loaded, view.speeds, view.watts, view.memory)
    max_temp_c = row.max_temp_c if situation.query.hints.target is None else None
    learned = view.speeds.get(model.name), view.memory.load_s.get(model.name)
    found = _compiled(settled, model, device, row, max_temp_c, *learned)
    note = why_unbound(view.spec, system.devices) if device is None else found.heat_note
    found = found._replace(view=view, heat_note=note, standing=standing(view, device, known(system.games), row))
    return found if view.machine is None else _elsewhere(found, view.machine, system)


def _elsewhere(found: Candidate, machine: Machine, system: SystemState) -> Candidate:
    """The same on another machine: its joules count too, and so does the network until answers have shown it."""
    weight = machine.weight(on_battery_here=known(system.on_battery) is True)
    is_seen = found.view.speeds.get(found.model.name, _NOT_SEEN).is_sure("ttft_s")
    network_s = 0.0 if is_seen or machine.rtt_s is None else machine.rtt_s
    return found._replace(elsewhere_w=machine.power_w * weight, network_s=network_s)


def taught(before: Candidate, view: BackendView, row: ModeRow) -> Candidate:
    """The same backend once nothing but what is learned of it has changed."""
    expected, model, kept = expect(view, before.model), before.model, before.keeping
    if upkeep(view, model, expected.power_w) is not kept.costs:
        kept = keeping(view, model, before.device, expected.power_w, row.price_of_time_w)
    return before._replace(view=view, expected=expected, keeping=kept, known_until_s=known_until_s(view, model))


def in_mode(found: Candidate, view: BackendView, situation: Situation) -> Candidate:
    """The same backend in another mode; `view` has what is in its memory there."""
    row, device, power_w = situation.setting.row, found.device, found.expected.power_w
    max_temp_c = row.max_temp_c if situation.query.hints.target is None else None
    share, note = heat_share(device, max_temp_c) if device is not None else (0.0, found.heat_note)
    noise, noise_note = noise_share(view.spec, device, power_w, row.price_of_noise, row.max_fan_percent)
    return found._replace(
        view=view,
        keeping=keeping(view, found.model, device, power_w, row.price_of_time_w),
        heat_share=share,
        heat_note=note,
        noise_share=noise,
        noise_note=noise_note,
        standing=standing(view, device, known(situation.system.games), row),
    )


def is_only_taught(now: Candidate, before: Candidate) -> bool:
    """Whether a backend differs from before at most in how fast it is known to be: a mode asks the same of both."""
    is_same = now.device is before.device and now.heat_note is before.heat_note and now.model is before.model
    is_kept = now.keeping is before.keeping and now.view.watts is before.view.watts
    return is_same and is_kept and now.expected.power_w == before.expected.power_w


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
    view: BackendView,
    model: Model,
    device: DeviceState | None,
    row: ModeRow,
    max_temp_c: float | None,
    *_learned: object,
) -> Candidate:
    """The same for a backend without requests; what is learned in place is named, so that news of it counts at once."""
    spec, expected = view.spec, expect(view, model)
    share, note = heat_share(device, max_temp_c) if device is not None else (0.0, None)
    noise, noise_note = noise_share(spec, device, expected.power_w, row.price_of_noise, row.max_fan_percent)
    return Candidate(
        view=view,
        model=model,
        device=device,
        chip=chip_of(spec, device),
        crowd=ALONE,
        expected=expected,
        keeping=keeping(view, model, device, expected.power_w, row.price_of_time_w),
        heat_share=share,
        heat_note=note,
        noise_share=noise,
        noise_note=noise_note,
        standing=(),
        critical=None if device is None else critical_heat(view, device),
        place=(not matches(model.name, spec.rules.preferred), -spec.priority, spec.id),
        known_until_s=known_until_s(view, model),
    )
