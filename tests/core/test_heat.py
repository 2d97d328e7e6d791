"""What the heat, the fan, the sleep and the games of the machine mean for where a request goes."""

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.core.policy.heat import SOON_S
from ollama_proxyd.core.readings import DeviceState, PowerState, Reading, SystemState
from tests.core.reference_profile import REFERENCE, ask, codes, device, machine, only, order, rejections, setting
from tests.reasons import unavailable

NPU, IGPU, NVIDIA, CPU = REFERENCE
BALANCED_W = DEFAULT_TABLE[Mode.BALANCED].price_of_time_w


def why(system: SystemState, backend_id: str = "igpu", **query: Any) -> list[str]:
    """The sentences against one backend of the reference fleet."""
    decision = ask(system=system, **query)
    beyond = [limit for each in decision.ranked if each.backend_id == backend_id for limit in each.beyond]
    return [str(no) for no in (*beyond, *rejections(decision).get(backend_id, ()))]


@pytest.mark.parametrize(("temp_c", "used"), [(85.0, True), (85.5, False), (-3.0, True)])
def test_a_device_above_the_modes_temperature_comes_after_all_others(temp_c: float, used: bool) -> None:
    system = machine(device("igpu", temperature_c=temp_c))
    assert (order(ask(system=system))[-1] != "igpu") is used
    if not used:
        assert why(system) == ["the device of igpu is at 85.5 °C, and Balanced allows at most 85 °C"]


def test_a_device_whose_fan_is_above_the_modes_limit_costs_more_the_louder_it_is() -> None:
    loud = {percent: ask(system=machine(device("igpu", fan_percent=percent))) for percent in (80.0, 81.0, 100.0)}
    assert [order(decision)[0] for decision in loud.values()] == ["igpu", "igpu", "nvidia"]
    priced = [decision.ranked[order(decision).index("igpu")] for decision in loud.values()]
    noise_j = [each.terms["noise_j"] for each in priced]
    assert noise_j[0] == 0.0 < noise_j[1]
    assert noise_j[2] == pytest.approx(20 * noise_j[1])
    assert why(machine(device("igpu", fan_percent=81.0))) == [
        "the fan of igpu runs at 81 %, and Balanced allows at most 80 %"
    ]
    assert "although the fan of igpu runs at 81 %" in str(loud[81.0].reason)
    assert "since its fan blows at 100 %" in "; ".join(map(str, priced[2].notes)), "what is paid for is told"


def test_the_only_loud_device_is_not_left_for_one_that_needs_more_joules_for_a_longer_time() -> None:
    decision = ask((IGPU, CPU), system=machine(device("igpu", fan_percent=100.0)))
    assert order(decision) == ["igpu", "cpu"]
    strict = ask((IGPU, CPU), system=machine(device("igpu", fan_percent=100.0)), strict_limits=True)
    assert order(strict) == ["cpu"], "a person may want it so all the same"


def test_a_mode_without_limits_leaves_no_device_alone() -> None:
    system = machine(device("nvidia", temperature_c=95.0, fan_percent=100.0))
    fast = setting(Mode.PERFORMANCE)
    unlimited = replace(fast, row=replace(fast.row, max_temp_c=None))
    assert order(ask(mode=unlimited, system=system))[0] == "nvidia"


@pytest.mark.parametrize(("temperature_c", "first"), [(90.0, "nvidia"), (90.5, "igpu")])
def test_even_performance_leaves_a_device_alone_that_is_above_90_degrees(temperature_c: float, first: str) -> None:
    system = machine(device("nvidia", temperature_c=temperature_c))
    assert order(ask(mode=Mode.PERFORMANCE, system=system))[0] == first


def test_who_names_the_backend_knows_better_than_the_mode() -> None:
    decision = ask(system=machine(device("igpu", temperature_c=90.0, fan_percent=90.0)), target="igpu")
    assert order(decision) == ["igpu"]
    assert decision.ranked[0].terms["heat_j"] == 0
    assert "although" not in str(decision.reason)


@pytest.mark.parametrize("mode", [Mode.BALANCED, Mode.AUTO, Mode.PERFORMANCE])
def test_a_device_at_its_critical_temperature_is_left_alone_in_every_mode(mode: Mode) -> None:
    system = machine(device("igpu", temperature_c=80.0, critical_c=80.0))
    assert why(system, mode=mode) == ["the device of igpu is at 80 °C, which is critical from 80 °C on"]


def test_a_device_that_holds_itself_back_is_a_last_resort() -> None:
    system = machine(device("igpu", throttling="software thermal slowdown"))
    assert order(ask(system=system))[-1] == "igpu"
    assert why(system) == ["igpu is throttled: software thermal slowdown"]
    assert why(machine(device("igpu", throttling=""))) == []


@pytest.mark.parametrize("hints", [{}, {"target": "cpu"}])
def test_a_device_at_its_critical_temperature_serves_nothing_however_it_is_asked(hints: dict[str, str]) -> None:
    decision = ask((CPU,), system=machine(device("cpu", temperature_c=101.0, critical_c=100.0)), **hints)
    assert decision.ranked == ()
    assert codes(decision) == {"cpu": ["critical_heat"]}
    assert str(decision.reason) == (
        "the device of cpu is at 101 °C, which is critical from 100 °C on; try again when it is cooler"
    )


def test_a_device_that_holds_itself_back_serves_when_nothing_else_can_and_the_reason_says_so() -> None:
    decision = ask((CPU,), Mode.PERFORMANCE, machine(device("cpu", throttling="too hot")))
    assert order(decision) == ["cpu"]
    assert str(decision.reason).endswith("; nothing else can serve this, although cpu is throttled: too hot")


@pytest.mark.parametrize("chosen", [Mode.EFFICIENCY, Mode.AUTO])
def test_heat_beyond_the_mode_leaves_no_person_without_an_answer(chosen: Mode) -> None:
    in_force = replace(setting(Mode.EFFICIENCY), chosen=chosen)
    decision = ask((IGPU,), in_force, machine(device("igpu", temperature_c=88.0)))
    assert order(decision) == ["igpu"]
    assert str(decision.reason).endswith(
        ", although the device of igpu is at 88 °C, and Efficiency allows at most 75 °C"
    )


def test_the_limits_of_heat_and_of_watts_give_way_alike() -> None:
    hot = machine(device("npu", temperature_c=90.0), device("igpu", temperature_c=90.0))
    decision = ask(mode=Mode.EFFICIENCY, system=hot)
    assert {each.backend_id: [limit.code for limit in each.beyond] for each in decision.ranked} == {
        "npu": ["mode_temperature"],
        "igpu": ["mode_temperature"],
        "nvidia": ["mode_power"],
        "cpu": ["mode_power"],
    }


def test_every_limit_of_the_mode_gives_way_before_a_device_that_holds_itself_back() -> None:
    decision = ask((NPU, NVIDIA), Mode.EFFICIENCY, machine(device("npu", throttling="too hot")))
    assert order(decision) == ["nvidia", "npu"]


def test_what_is_cooler_is_preferred_to_what_is_past_the_limit_even_at_a_higher_cost() -> None:
    assert order(ask(system=machine(device("igpu", temperature_c=86.0)))) == ["nvidia", "npu", "cpu", "igpu"]


def test_a_device_that_will_pass_its_limit_soon_pays_already() -> None:
    warming = machine(device("igpu", temperature_c=84.0, slope_c_per_s=3 / SOON_S))
    ranked = only(IGPU, mode=Mode.BALANCED, system=warming)
    terms = ranked.terms
    work_j = terms["prefill_j"] + terms["decode_j"] + BALANCED_W * (terms["prefill_s"] + terms["decode_s"])
    assert terms["heat_j"] == pytest.approx(work_j * 2 / 3)
    assert str(ranked.notes[0]) == "its device is at 84 °C and reaches 85 °C in about 10 s"
    assert order(ask(system=warming))[0] == "nvidia"


@pytest.mark.parametrize("slope", [1 / SOON_S, 0.0, -1.0, float("nan"), float("inf"), None])
def test_a_device_that_will_not_pass_its_limit_soon_pays_nothing(slope: float | None) -> None:
    known = {} if slope is None else {"slope_c_per_s": slope}
    system = machine(device("igpu", temperature_c=84.0, **known))
    assert only(IGPU, mode=Mode.BALANCED, system=system).terms["heat_j"] == 0


@pytest.mark.parametrize("mode", [Mode.PERFORMANCE, Mode.BALANCED])
def test_the_lower_of_the_modes_limit_and_the_devices_own_counts(mode: Mode) -> None:
    near = machine(device("igpu", temperature_c=69.0, critical_c=70.0, slope_c_per_s=0.1))
    assert str(only(IGPU, mode=mode, system=near).notes[0]) == "its device is at 69 °C and reaches 70 °C in about 10 s"
    far = machine(device("igpu", temperature_c=84.0, critical_c=100.0, slope_c_per_s=0.1))
    assert bool(only(IGPU, mode=mode, system=far).terms["heat_j"]) is (mode is Mode.BALANCED)


@pytest.mark.parametrize("temp_c", [float("nan"), float("inf"), 1e9, -273.0])
def test_a_temperature_that_cannot_be_true_counts_as_unknown(temp_c: float) -> None:
    system = machine(device("igpu", temperature_c=temp_c, critical_c=100.0))
    assert order(ask(system=system)) == order(ask())


def test_unknown_readings_reject_nothing() -> None:
    unknown = [DeviceState(name, Hardware(name), name) for name in ("npu", "igpu", "nvidia", "cpu")]
    gone = [replace(each, temperature_c=unavailable("stale for 95 s")) for each in unknown]
    for devices in (unknown, gone):
        decision = ask(system=machine(*devices))
        assert order(decision) == order(ask())
        assert [each.cost_j for each in decision.ranked] == [each.cost_j for each in ask().ranked]


def test_a_sleeping_device_is_chosen_only_where_waking_it_pays() -> None:
    assert order(ask(mode=Mode.PERFORMANCE))[0] == "nvidia"
    asleep = machine(device("nvidia", PowerState.ASLEEP))
    slow = replace(NVIDIA, spec=replace(NVIDIA.spec, profile=replace(NVIDIA.spec.profile, wake_s=20.0)))
    assert order(ask((IGPU, slow), Mode.PERFORMANCE, asleep))[0] == "igpu"


def test_a_game_keeps_discrete_graphics_for_itself() -> None:
    amd = replace(NVIDIA, spec=replace(NVIDIA.spec, id="amd", hardware=Hardware.AMDGPU))
    decision = ask((*REFERENCE, amd), Mode.PERFORMANCE, machine(games=1))
    assert order(decision) == ["igpu", "npu", "cpu", "amd", "nvidia"]
    assert [[limit.code for limit in each.beyond] for each in decision.ranked] == [[], [], [], ["game"], ["game"]]
    assert order(ask(mode=Mode.PERFORMANCE, system=machine(games=0)))[0] == "nvidia"


def test_a_game_does_not_keep_graphics_from_who_names_it() -> None:
    assert order(ask(system=machine(games=2), target="nvidia")) == ["nvidia"]


def test_a_game_here_means_nothing_for_graphics_elsewhere() -> None:
    far = replace(NVIDIA, spec=replace(NVIDIA.spec, is_local=False))
    assert order(ask((far,), system=machine(games=1))) == ["nvidia"]


def test_graphics_serve_during_a_game_where_nothing_else_can_and_the_reason_says_so() -> None:
    decision = ask((NVIDIA,), Mode.PERFORMANCE, machine(games=1))
    assert order(decision) == ["nvidia"]
    assert str(decision.reason).endswith(
        "; nothing else can serve this, although nvidia is reserved for a running game (GameMode)"
    )
    assert str(decision.mode_reason) == "as chosen"


def test_a_backend_whose_device_is_uncertain_is_priced_without_heat_and_says_so() -> None:
    two = (device("igpu", temperature_c=99.0), replace(device("igpu", temperature_c=99.0), id="0000:01:00.0"))
    (ranked,) = ask((IGPU,), system=machine(*two)).ranked
    assert tuple(map(str, ranked.notes)) == (
        "there are 2 devices of class igpu and pci_address names none, so heat and sleep are not counted",
    )
    (ranked,) = ask((IGPU,), system=machine(device("cpu"))).ranked
    assert [note.code for note in ranked.notes] == ["class_not_sensed"]


def test_a_machine_without_any_sensor_needs_no_note() -> None:
    assert ask((IGPU,)).ranked[0].notes == ()


def test_readings_keep_their_time_and_the_decision_does_not_depend_on_it() -> None:
    early = SystemState(devices=(replace(device("igpu"), temperature_c=Reading(84.0, 0.0)),))
    late = SystemState(devices=(replace(device("igpu"), temperature_c=Reading(84.0, 1e9)),))
    assert ask(system=early) == ask(system=late)
