"""Which requests try a backend of which too little is known."""

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.fleet import BackendView, FleetView
from ollama_proxyd.core.learning import HALF_LIFE_S, Speed
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import PowerState
from ollama_proxyd.core.requests import Priority
from tests.core.reference_profile import REFERENCE, TINY, ask, device, machine, order

NPU, IGPU, NVIDIA, CPU = REFERENCE


def seen(view: BackendView, samples: int, at_s: float = 0.0) -> BackendView:
    """The backend after so many answers, each as fast as configured."""
    profile = view.spec.profile
    return replace(view, speeds={TINY.name: Speed(profile.ttft_s, profile.decode_tps, 200, samples, at_s=at_s)})


FLEET: FleetView = (NPU, seen(IGPU, 50), seen(NVIDIA, 9))


def test_an_idle_backend_that_was_never_asked_is_tried_and_the_reason_says_so() -> None:
    decision = ask(FLEET)
    assert (decision.reason.code, order(decision)) == ("trial", ["npu", "igpu", "nvidia"])
    assert "as a trial: too few answers have shown what it needs; without it igpu with 113 J" in str(decision.reason)


@pytest.mark.parametrize(
    "fleet",
    [
        (seen(NPU, 2), *FLEET[1:]),
        (replace(NPU, in_flight=1, slots=4), *FLEET[1:]),
        (NPU, seen(IGPU, 3), seen(NVIDIA, 0)),
        (seen(NPU, 50), seen(IGPU, 50), CPU),
    ],
    ids=["seen twice", "tried by another", "too few requests for what it costs", "more than four times as dear"],
)
def test_else_the_cheapest_serves(fleet: FleetView) -> None:
    assert ask(fleet).reason.code == "cheapest"


def test_what_was_seen_long_ago_is_tried_again() -> None:
    fleet = (seen(NPU, 9), seen(IGPU, 50, at_s=2 * HALF_LIFE_S), seen(NVIDIA, 50, at_s=2 * HALF_LIFE_S))
    assert ask(fleet).reason.code == "cheapest"
    assert ask(fleet, now_s=2 * HALF_LIFE_S).reason.code == "trial"


@pytest.mark.parametrize(
    "wish",
    [
        {"target": "igpu"},
        {"max_latency_ms": 9000},
        {"max_power_watts": 100},
        {"time_left_s": 99.0},
        {"latency_critical": True},
        {"priority": Priority.HIGH},
        {"tried": frozenset({"nvidia"})},
        {"able": frozenset({"npu", "igpu", "nvidia"})},
    ],
    ids=lambda wish: next(iter(wish)),
)
def test_a_request_with_a_limit_or_a_hurry_tries_nothing(wish: dict[str, Any]) -> None:
    assert ask(FLEET, **wish).reason.code != "trial"


@pytest.mark.parametrize("priority", [Priority.NORMAL, Priority.BEST_EFFORT])
def test_no_trial_wakes_a_graphics_card_or_loads_a_model_on_it(priority: Priority) -> None:
    fleet = (seen(IGPU, 50), NVIDIA)
    asleep, awake = (machine(device("nvidia", state)) for state in (PowerState.ASLEEP, PowerState.AWAKE))
    assert ask(fleet, system=awake, priority=priority).reason.code == "trial"
    assert ask(fleet, system=asleep, priority=priority).reason.code == "cheapest"
    assert ask((fleet[0], replace(NVIDIA, loaded=())), system=awake, priority=priority).reason.code == "cheapest"


def test_a_model_is_loaded_for_a_trial_where_that_is_cheap() -> None:
    assert ask((replace(NPU, loaded=()), seen(IGPU, 50))).reason.code == "trial"


def test_while_any_is_busy_nothing_is_tried_since_others_seem_cheap() -> None:
    assert ask(FLEET, waits_s={"nvidia": 2.0}).reason.code != "trial"


def test_a_backend_beyond_the_limits_of_the_mode_is_not_tried() -> None:
    assert ask((seen(NPU, 50), IGPU, NVIDIA, CPU), Mode.ULTRA_EFFICIENCY).reason.code != "trial"


def test_a_question_changes_nothing() -> None:
    assert ask(FLEET) == ask(FLEET)
