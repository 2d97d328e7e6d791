"""The four backends that the design is reckoned with, and short ways to ask the policy about them."""

from dataclasses import replace
from typing import Any

from ollama_proxyd.core.fleet import (
    BackendSpec,
    BackendView,
    FleetView,
    Hardware,
    Health,
    Kind,
    LoadedModel,
    Model,
    Profile,
)
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.modes import DEFAULT_TABLE, AutoSettings, Mode, ModeRow, ModeSetting, choose
from ollama_proxyd.core.policy.decision import Decision, Ranked, Rejection
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import rank
from ollama_proxyd.core.readings import UNKNOWN_SYSTEM, SystemState
from ollama_proxyd.core.requests import Hints

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
        spec=BackendSpec(backend_id, backend_id, Kind.OLLAMA, "", hardware=hardware, profile=chosen, **spec),
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
    return ModeSetting(Mode.BALANCED, Mode.BALANCED, "a test", row)


def ask(fleet: FleetView = REFERENCE, mode: ModeSetting | Mode = Mode.BALANCED, **query: Any) -> Decision:
    """The decision for a request for the tiny model; Hints' fields and Query's may be given alike."""
    hints = {name: query.pop(name) for name in tuple(query) if name in Hints.__slots__}
    in_force = setting(mode) if isinstance(mode, Mode) else mode
    return rank(Query(**{"model": "tiny", **query}, hints=Hints(**hints)), fleet, UNKNOWN_SYSTEM, in_force)


def only(view: BackendView, **query: Any) -> Ranked:
    """What the request would cost on this backend, which must be able to serve it."""
    (ranked,) = ask((view,), **{"mode": Mode.PERFORMANCE, **query}).ranked
    return ranked


def order(decision: Decision) -> list[str]:
    return [ranked.backend_id for ranked in decision.ranked]


def rejections(decision: Decision) -> dict[str, tuple[Rejection, ...]]:
    return {each.backend_id: each.rejections for each in decision.rejected}


def codes(decision: Decision) -> dict[str, list[str]]:
    return {backend_id: [no.code.value for no in nos] for backend_id, nos in rejections(decision).items()}
