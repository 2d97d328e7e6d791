"""A mode is a wish: its limits order the backends, and give way where nothing within them can serve."""

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.fleet import BackendView, Hardware, Health, Profile
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.mode_limits import LATE_PRICE_W
from ollama_proxyd.core.requests import Priority
from tests.core.reference_profile import REFERENCE, TINY, ask, backend, codes, device, machine, order, priced

NPU, IGPU, NVIDIA, CPU = REFERENCE
QUICK = replace(NVIDIA, speeds={TINY.name: Speed(ttft_s=0.001, decode_tps=5000.0, samples=9)})
"""Costs the least wherever no limit keeps it behind."""
THRIFTY = (Mode.EFFICIENCY, Mode.QUIET, Mode.ULTRA_EFFICIENCY)


def busy(view: BackendView, in_flight: int = 1) -> BackendView:
    return replace(view, in_flight=in_flight)


def beyond(decision: Decision) -> dict[str, list[str]]:
    return {each.backend_id: [limit.code for limit in each.beyond] for each in decision.ranked}


def conceded(decision: Decision) -> list[str]:
    return [limit.code for limit in decision.conceded]


@pytest.mark.parametrize(
    ("limit_w", "ordered"), [(12, ["igpu", "npu", "nvidia", "cpu"]), (11.9, ["npu", "nvidia", "igpu", "cpu"])]
)
def test_what_keeps_the_limit_of_watts_comes_first_and_the_cheapest_before_the_others(
    limit_w: float, ordered: list[str]
) -> None:
    assert order(ask(mode=priced(100, max_power_w=limit_w))) == ordered


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("view", REFERENCE, ids=lambda view: view.spec.id)
def test_the_only_holder_serves_in_every_mode(view: BackendView, mode: Mode) -> None:
    assert order(ask((view,), mode)) == [view.spec.id]


@pytest.mark.parametrize("mode", THRIFTY)
def test_the_reason_says_which_limit_gave_way_and_why(mode: Mode) -> None:
    decision = ask((NVIDIA, CPU), mode)
    assert order(decision) == ["nvidia", "cpu"]
    assert conceded(decision) == ["mode_power"]
    assert "; nothing within the mode can serve this, although nvidia needs 55 W, and " in str(decision.reason)


def test_what_is_within_the_limits_concedes_nothing() -> None:
    decision = ask(mode=Mode.EFFICIENCY)
    assert decision.conceded == ()
    assert beyond(decision) == {"npu": [], "igpu": [], "nvidia": ["mode_power"], "cpu": ["mode_power"]}


def test_a_limit_gives_way_where_keeping_it_needs_more_joules_and_costs_more_in_all() -> None:
    guessed = backend("box", Profile(), hardware=Hardware.CPU)
    assert order(ask((NVIDIA, guessed), Mode.EFFICIENCY)) == ["nvidia", "box"]
    decision = ask((NVIDIA, guessed), Mode.EFFICIENCY)
    assert conceded(decision) == ["mode_power"]
    assert "; next is box with " in str(decision.reason)
    thrifty = backend("box", replace(NPU.spec.profile, power_w=None), hardware=Hardware.NPU)
    assert order(ask((NVIDIA, thrifty), Mode.EFFICIENCY)) == ["box", "nvidia"], "slower, but it saves joules"


@pytest.mark.parametrize("mode", THRIFTY)
def test_a_limit_of_watts_holds_where_a_backend_is_known_to_be_within_it(mode: Mode) -> None:
    quick = replace(NVIDIA, speeds={TINY.name: Speed(ttft_s=0.001, decode_tps=5000.0, samples=9)})
    assert order(ask((NPU, quick), mode)) == ["npu", "nvidia"], "a card that was seen to be quick wakes all the same"


@pytest.mark.parametrize("gone", [{"tried": frozenset({"npu", "igpu"})}, {}])
def test_a_failure_within_the_limit_falls_over_across_it(gone: dict[str, Any]) -> None:
    down = tuple(replace(view, health=Health.DOWN) for view in (NPU, IGPU))
    fleet = REFERENCE if gone else (*down, NVIDIA, CPU)
    assert order(ask(fleet, Mode.EFFICIENCY, **gone))[0] == "nvidia"


@pytest.mark.parametrize("hardware", list(Hardware))
@pytest.mark.parametrize("mode", THRIFTY)
@pytest.mark.parametrize("strict", [False, True])
def test_guessed_watts_exceed_no_limit(hardware: Hardware, mode: Mode, strict: bool) -> None:
    decision = ask((backend("box", Profile(), hardware=hardware),), mode, strict_limits=strict)
    assert beyond(decision) == {"box": []}
    assert "box needs an estimated" in str(decision.reason)


def test_a_queue_that_is_longer_than_the_mode_waits_gives_way_to_a_backend_beyond_its_watts() -> None:
    decision = ask((NPU, NVIDIA), Mode.EFFICIENCY, waits_s={"npu": 83.0})
    assert order(decision) == ["nvidia", "npu"]
    assert beyond(decision) == {"nvidia": ["mode_power"], "npu": ["mode_wait"]}
    assert "; npu is busy for about 83 s, longer than Efficiency waits, although nvidia needs 55 W, and " in str(
        decision.reason
    )


@pytest.mark.parametrize(("wait_s", "ordered"), [(1.0, ["npu", "nvidia"]), (21.0, ["nvidia", "npu"])])
def test_a_queue_is_waited_for_where_that_costs_less_than_to_cross_the_limit_of_watts(
    wait_s: float, ordered: list[str]
) -> None:
    decision = ask((NPU, NVIDIA), Mode.EFFICIENCY, waits_s={"npu": wait_s})
    assert order(decision) == ordered
    assert ("; next is npu with " in str(decision.reason)) == (ordered[0] == "nvidia")


@pytest.mark.parametrize("mode", [Mode.EFFICIENCY, Mode.QUIET])
def test_the_limit_of_watts_holds_for_a_device_at_rest_and_the_price_of_time_beside_other_work(mode: Mode) -> None:
    assert order(ask((NPU, QUICK), mode)) == ["npu", "nvidia"]
    assert order(ask((busy(replace(NPU, slots=4)), QUICK), mode)) == ["nvidia", "npu"]


@pytest.mark.parametrize(("wait_s", "first"), [(21.0, "npu"), (31.0, "nvidia")])
def test_a_queue_holds_a_limit_of_heat_as_long_as_the_mode_waits(wait_s: float, first: str) -> None:
    hot = machine(device("nvidia", temperature_c=80.0))
    assert order(ask((NPU, QUICK), Mode.EFFICIENCY, waits_s={"npu": wait_s}))[0] == "nvidia"
    assert order(ask((NPU, QUICK), Mode.EFFICIENCY, hot, waits_s={"npu": wait_s}))[0] == first


@pytest.mark.parametrize(("wait_s", "first"), [(890.0, "npu"), (930.0, "nvidia")])
@pytest.mark.parametrize("mode", [Mode.PERFORMANCE, Mode.BALANCED, Mode.EFFICIENCY])
def test_work_in_the_background_waits_longer_since_nobody_waits_for_it(mode: Mode, wait_s: float, first: str) -> None:
    decision = ask((NPU, NVIDIA), mode, waits_s={"npu": wait_s}, priority=Priority.BEST_EFFORT)
    assert order(decision)[0] == first


def test_the_time_that_a_request_has_waited_already_counts() -> None:
    assert order(ask((NPU, NVIDIA), Mode.EFFICIENCY, waits_s={"npu": 21.0}, waited_s=20.0)) == ["nvidia", "npu"]


def test_a_queue_that_is_too_long_is_still_better_than_a_dearer_answer_within_the_limits() -> None:
    decision = ask((IGPU, CPU), Mode.BALANCED, waits_s={"igpu": 18.0})
    assert order(decision) == ["igpu", "cpu"]
    assert conceded(decision) == ["mode_wait"]
    assert decision.ranked[0].terms["late_j"] == pytest.approx(
        3.0 * (LATE_PRICE_W - decision.ranked[0].price_of_time_w)
    )
    assert order(ask((IGPU, CPU), Mode.BALANCED, waits_s={"igpu": 150.0})) == ["cpu", "igpu"]


def test_of_queues_that_are_all_too_long_the_cheapest_is_taken() -> None:
    decision = ask((NPU, NVIDIA), Mode.EFFICIENCY, waits_s={"npu": 190.0, "nvidia": 39.0})
    assert order(decision) == ["nvidia", "npu"]
    assert beyond(decision)["nvidia"] == ["mode_power", "mode_wait"]


def test_four_at_once_in_efficiency_do_not_wait_while_a_device_stands_idle() -> None:
    waits_s, used, longest_s = {"npu": 0.0, "nvidia": 0.0}, [], 0.0
    for _ in range(4):
        best = ask((NPU, NVIDIA), Mode.EFFICIENCY, waits_s=waits_s).ranked[0]
        used.append(best.backend_id)
        longest_s = max(longest_s, best.terms["queue_wait_s"])
        waits_s[best.backend_id] = best.terms["time_s"]
    assert used.count("nvidia") > 0
    assert longest_s <= 30


def test_requests_at_once_beyond_the_mode_change_no_order_and_are_told() -> None:
    fleet = (busy(replace(NPU, slots=4), 2), IGPU, NVIDIA)
    decision = ask(fleet, Mode.ULTRA_EFFICIENCY)
    assert order(decision) == ["npu", "igpu", "nvidia"]
    assert conceded(decision) == ["mode_concurrency"]
    assert str(decision.reason).endswith(", although 2 requests are under way, and Ultra Efficiency allows at most 2")


@pytest.mark.parametrize("hints", [{"latency_critical": True}, {"max_power_watts": 60.0}])
def test_a_request_that_asks_for_more_lifts_the_modes_limit_of_watts(hints: dict[str, Any]) -> None:
    fleet = (busy(NPU), NVIDIA)
    decision = ask(fleet, Mode.EFFICIENCY, **hints)
    assert order(decision)[0] == "nvidia" if "latency_critical" in hints else decision.ranked
    lifted = ask((NVIDIA,), Mode.EFFICIENCY, **hints)
    assert "the request asks for more than the mode allows: nvidia needs 55 W, and " in str(lifted.reason)
    assert "although" not in str(lifted.reason)


def test_a_request_that_asks_for_haste_and_thrift_lifts_nothing() -> None:
    assert order(ask(mode=Mode.EFFICIENCY, latency_critical=True, power_efficient=True))[0] == "npu"


def test_a_limit_of_latency_is_kept_beyond_the_watts_of_the_mode() -> None:
    decision = ask(mode=Mode.EFFICIENCY, max_latency_ms=200)
    assert order(decision) == ["nvidia"]
    assert codes(decision).keys() == {"npu", "igpu", "cpu"}


def test_a_target_has_no_limits_of_the_mode() -> None:
    assert beyond(ask(mode=Mode.ULTRA_EFFICIENCY, system=machine(games=1), target="nvidia")) == {"nvidia": []}


def strict_modes() -> list[Any]:
    return [
        pytest.param(priced(2, max_power_w=15.0, strict=True), {}, id="mode"),
        pytest.param(priced(2, max_power_w=15.0), {"strict_limits": True}, id="request"),
    ]


@pytest.mark.parametrize(("mode", "hints"), strict_modes())
@pytest.mark.parametrize("more", [{}, {"latency_critical": True}, {"max_power_watts": 60.0}])
def test_strict_limits_refuse(mode: Any, hints: dict[str, Any], more: dict[str, Any]) -> None:
    decision = ask((NVIDIA,), mode, **hints, **more)
    assert decision.ranked == ()
    assert codes(decision) == {"nvidia": ["mode_power"]}


def test_strict_limits_wait_in_a_queue_however_long() -> None:
    assert order(ask((busy(NPU, 40), NVIDIA), Mode.EFFICIENCY, strict_limits=True)) == ["npu"]


def test_a_request_that_is_strict_is_strict_with_its_target_too() -> None:
    assert codes(ask((NVIDIA,), Mode.EFFICIENCY, target="nvidia", strict_limits=True)) == {"nvidia": ["mode_power"]}


def test_strict_limits_keep_a_game_undisturbed() -> None:
    decision = ask((NVIDIA,), Mode.PERFORMANCE, machine(games=1), strict_limits=True)
    assert str(decision.reason) == (
        "nvidia is reserved for a running game (GameMode); end the game, or leave strict limits out"
    )
