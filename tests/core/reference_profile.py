"""The four backends that the design is reckoned with, and short ways to ask the policy about them."""

from dataclasses import fields, replace
from typing import Any

from ollama_proxyd.core.auto import choose
from ollama_proxyd.core.fleet import BackendSpec, BackendView, FleetView, Hardware, Health, LoadedModel, Model, Profile
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode, ModeRow, ModeSetting
from ollama_proxyd.core.policy.decision import Decision, Ranked
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import rank
from ollama_proxyd.core.readings import UNKNOWN_SYSTEM, DeviceState, PowerState, Reading, SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Api, Hints
from ollama_proxyd.core.thresholds import AutoSettings

TINY = Model("tiny:latest", size_bytes=2_000_000_000)

PROFILES = {
    "npu": Profile(power_w=3, ttft_s=0.8, decode_tps=10),
    "igpu": Profile(power_w=12, ttft_s=0.35, decode_tps=22),
    "nvidia": Profile(power_w=55, ttft_s=0.15, decode_tps=65),
    "cpu": Profile(power_w=28, ttft_s=1.2, decode_tps=6),
}


def backend(backend_id: str = "npu", profile: Profile | None = None, **spec: Any) -> BackendView:
    """A healthy backend that holds and has loaded the tiny model."""
    hardware = spec.pop("hardware", Hardware(backend_id) if backend_id in PROFILES else Hardware.UNKNOWN)
    chosen = profile if profile is not None else PROFILES.get(backend_id, Profile())
    return BackendView(
        spec=BackendSpec(backend_id, backend_id, Api.OLLAMA, "", hardware=hardware, profile=chosen, **spec),
        health=Health.UP,
        models=(TINY,),
        loaded=(LoadedModel(TINY.name),),
    )


REFERENCE: FleetView = tuple(backend(backend_id) for backend_id in PROFILES)


def with_typical_answer(fleet: FleetView, tokens: float) -> FleetView:
    """The fleet after its model's answers turned out to have a length."""
    return tuple(replace(view, speeds={TINY.name: Speed(output_tokens=tokens, samples=9)}) for view in fleet)


def setting(mode: Mode = Mode.BALANCED, system: SystemState = UNKNOWN_SYSTEM) -> ModeSetting:
    return choose(mode, system, DEFAULT_TABLE, AutoSettings())


def priced(price_of_time_w: float, **limits: Any) -> ModeSetting:
    """A mode of one's own making."""
    row = ModeRow("Test", "", price_of_time_w, **limits)
    return ModeSetting(Mode.BALANCED, Mode.BALANCED, Reason("chosen"), row)


def device(name: str, power_state: PowerState = PowerState.AWAKE, **values: Any) -> DeviceState:
    """The only device of its class, with some readings."""
    readings = {key: Reading(value, 1.0) for key, value in values.items()}
    return DeviceState(name, Hardware(name), name, power_state, **readings)


def machine(*devices: DeviceState, **values: Any) -> SystemState:
    """A machine with some devices and readings."""
    return SystemState(devices=devices, **{key: Reading(value, 1.0) for key, value in values.items()})


def ask(
    fleet: FleetView = REFERENCE,
    mode: ModeSetting | Mode = Mode.BALANCED,
    system: SystemState = UNKNOWN_SYSTEM,
    **query: Any,
) -> Decision:
    """The decision for a request for the tiny model; Hints' fields and Query's may be given alike."""
    hints = {name: query.pop(name) for name in tuple(query) if name in [each.name for each in fields(Hints)]}
    in_force = setting(mode, system) if isinstance(mode, Mode) else mode
    return rank(Query(**{"model": "tiny", **query}, hints=Hints(**hints)), fleet, system, in_force)


def only(view: BackendView, **query: Any) -> Ranked:
    """What the request would cost on this backend, which must be able to serve it."""
    (ranked,) = ask((view,), **{"mode": Mode.PERFORMANCE, **query}).ranked
    return ranked


def order(decision: Decision) -> list[str]:
    return [ranked.backend_id for ranked in decision.ranked]


def rejections(decision: Decision) -> dict[str, tuple[Reason, ...]]:
    return {each.backend_id: each.rejections for each in decision.rejected}


def codes(decision: Decision) -> dict[str, list[str]]:
    return {backend_id: [no.code for no in nos] for backend_id, nos in rejections(decision).items()}
