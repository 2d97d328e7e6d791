"""Idle backends are alike only where all that their price rests on is the same."""

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.breaker import Breaker
from ollama_proxyd.core.faults import Fault, Work
from ollama_proxyd.core.fleet import BackendView, FleetView, Hardware, LoadedModel, Profile
from ollama_proxyd.core.keeping import Memory
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import assess
from ollama_proxyd.core.readings import UNKNOWN_SYSTEM, DeviceState, PowerState, Reading, SystemState
from ollama_proxyd.core.tariff import Tariff
from ollama_proxyd.core.watts import Watts
from tests.core.reference_profile import PROFILES, TINY, backend, setting

CARD = PROFILES["nvidia"]
PLACES = {"a": "0000:01:00.0", "b": "0000:02:00.0"}
MEMORY = Memory()


def card(backend_id: str, profile: Profile = CARD, **spec: Any) -> BackendView:
    found = backend(backend_id, profile, hardware=Hardware.NVIDIA, pci_address=PLACES[backend_id], **spec)
    return replace(found, loaded=(), memory=MEMORY)


def are_alike(one: BackendView, other: BackendView, mode: Mode = Mode.BALANCED, **facts: Any) -> bool:
    """Whether they are, where the device of the second one says so much more of itself."""
    cool = DeviceState(PLACES["a"], Hardware.NVIDIA, "a card", PowerState.AWAKE, Reading(50.0, 0.0))
    return told((one, other), SystemState(devices=(cool, replace(cool, id=PLACES["b"], **facts))), mode)


def told(fleet: FleetView, system: SystemState, mode: Mode = Mode.BALANCED) -> bool:
    """Whether two are, as a request is told."""
    found = assess(Query(TINY.name, prompt_tokens=300), fleet, system, setting(mode))
    found.table.least_costs(found.asked)
    first, second = found.table.alike(found.asked)
    return first is not None and first == second


@pytest.mark.parametrize("mode", [Mode.BALANCED, Mode.QUIET])
def test_two_cards_of_which_the_same_is_known_are_alike(mode: Mode) -> None:
    assert are_alike(card("a"), card("b"), mode)


@pytest.mark.parametrize(
    "facts",
    [
        {"in_flight": 1},
        {"loaded": (LoadedModel(TINY.name),)},
        {"loaded": None},
        {"slots": 4},
        {"speeds": {TINY.name: Speed(ttft_s=9.0, decode_tps=1.0, samples=3)}},
        {"speeds": {TINY.name: Speed(beside={"b": 0.9})}},
        {"watts": Watts(20.0, 900.0)},
        {"breakers": (Breaker(Fault.RATE_LIMIT, Work(TINY.name)),)},
        {"memory": replace(MEMORY, load_s={TINY.name: 99.0})},
        {"memory": replace(MEMORY, idle_w=50.0)},
        {"memory": replace(MEMORY, start_s=9.0)},
        {"memory": replace(MEMORY, is_kept_by_us=True)},
        {"memory": replace(MEMORY, gaps_s={TINY.name: (9.0,) * 9})},
    ],
    ids=str,
)
def test_one_of_which_something_else_is_known_is_not(facts: dict[str, Any]) -> None:
    assert not are_alike(card("a"), replace(card("b"), **facts))


@pytest.mark.parametrize(
    "other",
    [
        card("b", replace(CARD, power_w=20.0)),
        card("b", replace(CARD, keep_alive_s=5.0)),
        card("b", tariff=Tariff(1.0, 1.0)),
    ],
    ids=["watts", "stay", "tariff"],
)
def test_one_of_which_something_else_is_configured_is_not(other: BackendView) -> None:
    assert not are_alike(card("a"), other)


@pytest.mark.parametrize(
    ("mode", "facts"),
    [
        (Mode.BALANCED, {"power_state": PowerState.ASLEEP}),
        (Mode.BALANCED, {"temperature_c": Reading(84.0, 0.0), "slope_c_per_s": Reading(1.0, 0.0)}),
        (Mode.QUIET, {"temperature_c": Reading(89.0, 0.0)}),
        (Mode.QUIET, {"fan_percent": Reading(99.0, 0.0)}),
        (Mode.BALANCED, {"temperature_c": Reading(99.0, 0.0), "critical_c": Reading(90.0, 0.0)}),
        (Mode.BALANCED, {"throttling": Reading("heat", 0.0)}),
    ],
    ids=["asleep", "warm", "hot", "loud", "in danger", "throttled"],
)
def test_one_whose_device_is_as_the_other_is_not_is_not(mode: Mode, facts: dict[str, Any]) -> None:
    assert not are_alike(card("a"), card("b"), mode, **facts)


def test_one_that_changes_is_told_apart_at_once_and_is_alike_again_once_it_is_as_before() -> None:
    speeds = dict[str, Speed]()
    one, other = card("a"), replace(card("b"), speeds=speeds)
    assert told((one, other), UNKNOWN_SYSTEM)
    assert not told((one, replace(other, in_flight=1)), UNKNOWN_SYSTEM)
    assert told((one, other), UNKNOWN_SYSTEM)
    speeds[TINY.name] = Speed(ttft_s=9.0, decode_tps=1.0, samples=3)
    assert not told((one, other), UNKNOWN_SYSTEM)
    del speeds[TINY.name]
    assert told((one, other), UNKNOWN_SYSTEM)
