"""How a front end that does not go by energy chooses, and what stays as it is."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.fleet import FleetView, Health
from ollama_proxyd.core.frontends import Balancing, Frontend
from ollama_proxyd.core.policy.decision import Decision
from tests.core.reference_profile import REFERENCE, ask, device, machine, order

FLEET: FleetView = REFERENCE
OTHERS = [each for each in Balancing if each is not Balancing.ENERGY]


def at(balancing: Balancing, turn: int, fleet: FleetView = FLEET, **more: Any) -> Decision:
    return ask(fleet, frontend=Frontend("chat", balancing=balancing, sticky_header="X-Chat"), turn=turn, **more)


def first(balancing: Balancing, turn: int, fleet: FleetView = FLEET) -> str:
    return at(balancing, turn, fleet).ranked[0].backend_id


def equals(fleet: FleetView = FLEET) -> set[str]:
    """The backends within the limits of the mode."""
    return {each.backend_id for each in ask(fleet).ranked if not each.beyond}


def test_round_robin_takes_each_backend_in_turn() -> None:
    taken = Counter(first(Balancing.ROUND_ROBIN, turn) for turn in range(3 * len(equals())))
    assert taken == dict.fromkeys(equals(), 3)


def test_limits_of_the_mode_that_give_way_to_save_joules_hold_for_who_does_not_go_by_them() -> None:
    fleet, hot = FLEET[1:], machine(*[device(each, temperature_c=86.0) for each in ("igpu", "nvidia")])
    assert order(ask(fleet, system=hot))[0] == "igpu"
    assert {at(Balancing.ROUND_ROBIN, turn, fleet, system=hot).ranked[0].backend_id for turn in range(4)} == {"cpu"}


def test_the_reason_names_the_rule_the_front_end_and_what_it_costs() -> None:
    reason = str(at(Balancing.ROUND_ROBIN, 0).reason)
    assert reason.startswith("round-robin of the front end chat chose ")
    assert " J and " in reason
    for rule, code in zip(OTHERS, ("round_robin", "random_choice", "least_busy", "sticky"), strict=True):
        assert at(rule, 1).reason.code == code


@pytest.mark.parametrize("balancing", OTHERS)
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_rule_only_moves_one_backend_to_the_front(balancing: Balancing, turn: int) -> None:
    balanced, by_energy = order(at(balancing, turn)), order(ask(FLEET))
    assert balanced[1:] == [each for each in by_energy if each != balanced[0]]
    assert balanced[0] in equals()


@pytest.mark.parametrize("balancing", OTHERS)
def test_a_backend_that_is_down_is_never_chosen(balancing: Balancing) -> None:
    fleet = tuple(replace(each, health=Health.DOWN) if each.spec.id == "npu" else each for each in FLEET)
    assert all(first(balancing, turn, fleet) != "npu" for turn in range(1, 30))


def test_the_least_busy_has_the_smallest_share_of_its_slots_taken() -> None:
    busy = {"npu": (1, 2), "igpu": (1, 8), "nvidia": (3, 4), "cpu": (7, 8)}
    fleet = tuple(replace(each, in_flight=busy[each.spec.id][0], slots=busy[each.spec.id][1]) for each in FLEET)
    assert first(Balancing.LEAST_BUSY, 0, fleet) == "igpu"


def test_round_robin_passes_over_a_backend_without_a_free_slot() -> None:
    fleet = tuple(replace(each, in_flight=1) if each.spec.id == "igpu" else each for each in FLEET)
    taken = {at(Balancing.ROUND_ROBIN, turn, fleet, waits_s={"igpu": 1.0}).ranked[0].backend_id for turn in range(9)}
    assert "igpu" not in taken


def test_a_sticky_request_stays_where_it_is_when_another_backend_goes() -> None:
    gone = tuple(each for each in FLEET if each.spec.id != "nvidia")
    for turn in range(1, 60):
        before = first(Balancing.STICKY, turn)
        assert before == "nvidia" or first(Balancing.STICKY, turn, gone) == before


@pytest.mark.parametrize("wait_s", [1.0, 1000.0])
def test_a_sticky_request_waits_where_it_is_however_long_others_wait_there(wait_s: float) -> None:
    for turn in range(1, 60):
        before = first(Balancing.STICKY, turn)
        fleet = tuple(replace(each, in_flight=each.slots) if each.spec.id == before else each for each in FLEET)
        assert at(Balancing.STICKY, turn, fleet, waits_s={before: wait_s}).ranked[0].backend_id == before


def test_sticky_requests_without_the_header_go_by_energy() -> None:
    assert at(Balancing.STICKY, 0).reason.code == ask(FLEET).reason.code


@pytest.mark.parametrize("balancing", OTHERS)
def test_a_named_target_leaves_nothing_to_choose(balancing: Balancing) -> None:
    assert at(balancing, 1, target="igpu").reason.code == "target_named"
