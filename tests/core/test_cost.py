"""Each term of the formula."""

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.fleet import BackendView, Hardware, LoadedModel, Model, ModelRules, Profile
from ollama_proxyd.core.keeping import Memory
from ollama_proxyd.core.learning import Length, Speed
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.core.policy.cost import price_of_time_w
from ollama_proxyd.core.policy.decision import Ranked
from ollama_proxyd.core.policy.priors import SHORT_PROMPT_TOKENS, TYPICAL_BYTES
from ollama_proxyd.core.programs import Asker, Program
from ollama_proxyd.core.readings import PowerState
from ollama_proxyd.core.requests import Hints, Operation, Priority
from ollama_proxyd.core.tariff import Tariff
from ollama_proxyd.core.watts import MORE_POWER, Watts
from ollama_proxyd.core.workload import Followers, Following
from tests.core.reference_profile import (
    REFERENCE,
    TINY,
    ask,
    backend,
    device,
    machine,
    only,
    order,
    with_typical_answer,
)

NPU, IGPU, NVIDIA, CPU = REFERENCE
BALANCED, PERFORMANCE = DEFAULT_TABLE[Mode.BALANCED], DEFAULT_TABLE[Mode.PERFORMANCE]
TERMS = """
queue_wait_s network_s cached_tokens prefill_s decode_s time_s prefill_j decode_j wake_s load_s wake_j load_j
idle_tail_j spared_s spared_j keep_alive_s energy_j heat_j money money_j noise_j other_machine_j delay_j
late_j price_of_time_w cost_j power_w latency_ms
"""


def test_what_is_read_anew_for_a_conversation_is_shared_with_its_next_turn() -> None:
    profile = Profile(10, 0.2, 20, prefill_tps=400)
    plain = only(backend("npu", profile), prompt_tokens=8000)
    here = only(backend("npu", profile), prompt_tokens=8000, cached_tokens={"npu": 6000.0})
    beside = only(backend("npu", profile), prompt_tokens=8000, cached_tokens={"igpu": 6000.0})
    assert (here.prefill_s, here.cached_s) == pytest.approx((plain.prefill_s - 15, 15))
    assert (beside.prefill_s, beside.energy_j, beside.cached_s) == (plain.prefill_s, plain.energy_j, 0)
    assert beside.stay.spared_s == pytest.approx(7.5)
    assert here.cost_j < beside.cost_j < plain.cost_j
    assert beside.cost_j == pytest.approx((here.cost_j + plain.cost_j) / 2)


def test_every_term_has_its_name_and_the_sums_are_right() -> None:
    tariff = Tariff(1.0, 1.0)
    cold = replace(backend("npu", Profile(3, 0.8, 10, wake_s=1, load_s=2, idle_w=2), tariff=tariff), loaded=())
    cold = replace(cold, memory=Memory(gaps_s={"tiny:latest": (9.0, 9.0, 9.0, 9.0)}))
    hot = machine(device("npu", PowerState.ASLEEP, temperature_c=91.0))
    busy = replace(IGPU, in_flight=1)
    ranked = ask((cold, busy), Mode.PERFORMANCE, prompt_tokens=1000, system=hot, waits_s={"npu": 3.0}).ranked
    cost = next(each for each in ranked if each.backend_id == "npu")
    terms = cost.terms
    assert list(terms) == TERMS.split()
    assert all(
        value > 0
        for name, value in terms.items()
        if name not in {"late_j", "noise_j", "cached_tokens", "network_s", "other_machine_j"}
    )
    waiting_s = terms["queue_wait_s"] + terms["wake_s"] + terms["load_s"] + terms["prefill_s"]
    parts_j = (terms[name] for name in ("prefill_j", "decode_j", "load_j", "wake_j", "idle_tail_j"))
    assert terms["latency_ms"] == pytest.approx(waiting_s * 1000) == cost.latency_ms
    assert terms["time_s"] == pytest.approx(waiting_s + terms["decode_s"])
    assert terms["energy_j"] == pytest.approx(sum(parts_j)) == cost.energy_j
    price_w = PERFORMANCE.price_of_time_w
    spared_j = terms["spared_j"] + price_w * terms["spared_s"]
    added_j = terms["heat_j"] + terms["money_j"] + terms["delay_j"] - spared_j + price_w * terms["time_s"]
    assert terms["cost_j"] == pytest.approx(cost.energy_j + added_j) == cost.cost_j
    assert terms["power_w"] == cost.power_w == 3


@pytest.mark.parametrize(
    ("hints", "price_w"),
    [
        (Hints(), BALANCED.price_of_time_w),
        (Hints(latency_critical=True), 300),
        (Hints(power_efficient=True), 0),
        (Hints(latency_critical=True, power_efficient=True), BALANCED.price_of_time_w),
        (Hints(priority=Priority.BEST_EFFORT), 0),
        (Hints(priority=Priority.BEST_EFFORT, latency_critical=True), 300),
        (Hints(priority=Priority.CRITICAL), BALANCED.price_of_time_w),
    ],
)
def test_hints_change_the_price_of_time(hints: Hints, price_w: float) -> None:
    assert price_of_time_w(BALANCED, hints) == price_w


def test_a_latency_critical_request_never_lowers_the_price_of_time() -> None:
    dear = replace(PERFORMANCE, price_of_time_w=500)
    assert price_of_time_w(dear, Hints(latency_critical=True)) == 500


def test_the_reason_says_which_wish_changed_the_price_of_time() -> None:
    assert str(ask(latency_critical=True).reason).startswith("Balanced (latency-critical): nvidia needs")
    assert str(ask(power_efficient=True).reason).startswith("Balanced (power-efficient): npu needs")
    assert str(ask(priority=Priority.BEST_EFFORT).reason).startswith("Balanced (in the background): npu needs")
    assert str(ask(mode=Mode.AUTO).reason).startswith("Auto (Balanced): igpu needs")
    assert str(ask(mode=Mode.AUTO, latency_critical=True).reason).startswith(
        "Auto (Balanced, latency-critical): nvidia"
    )


def test_the_clients_limit_shortens_the_answer_and_never_lengthens_it() -> None:
    assert only(NPU, max_tokens=50).terms["decode_s"] == 5
    assert only(NPU, max_tokens=5000).terms["decode_s"] == 20
    assert only(NPU, max_tokens=0).terms["decode_s"] == 0


def test_a_negative_limit_is_no_limit() -> None:
    assert only(NPU, max_tokens=-1).terms["decode_s"] == 20


def test_the_learned_length_of_answers_is_shared_by_all_backends() -> None:
    fleet = (replace(NPU, speeds={TINY.name: Speed(output_tokens=1000, samples=3)}), IGPU)
    fleet = (fleet[0], replace(IGPU, speeds={TINY.name: Speed(output_tokens=600, samples=1)}))
    decode_s = {ranked.backend_id: ranked.terms["decode_s"] for ranked in ask(fleet).ranked}
    assert decode_s == {"npu": pytest.approx(90), "igpu": pytest.approx(900 / 22)}


def test_embedding_writes_no_answer() -> None:
    decision = ask((NPU,), operation=Operation.EMBEDDING, prompt_tokens=40)
    assert decision.ranked[0].terms["decode_s"] == 0
    assert "for embedding about 40 tokens" in str(decision.reason)


def test_a_prompt_beyond_a_short_one_is_read_at_the_configured_rate() -> None:
    view = backend("npu", Profile(3, 0.8, 10, prefill_tps=100))
    assert only(view, prompt_tokens=SHORT_PROMPT_TOKENS).terms["prefill_s"] == 0.8
    assert only(view, prompt_tokens=SHORT_PROMPT_TOKENS + 200).terms["prefill_s"] == pytest.approx(2.8)


def test_an_unknown_rate_of_reading_is_a_multiple_of_that_of_writing() -> None:
    assert only(NPU, prompt_tokens=SHORT_PROMPT_TOKENS + 300).terms["prefill_s"] == pytest.approx(2.8)


def test_a_programs_own_answers_tell_how_long_its_next_is_and_else_those_to_all() -> None:
    lengths = {("editor", "chat"): Length(40.0, 3)}
    seen = replace(NPU, speeds={TINY.name: Speed(output_tokens=1000, samples=9, lengths=lengths)})
    tokens = [ask((seen,), asker=Asker(Program(name))).expected_tokens for name in ("editor", "mail")]
    assert tokens == [40, 1000]


def test_the_estimated_wait_for_a_slot_counts() -> None:
    assert only(NPU, waits_s={"npu": 4.5}).terms["queue_wait_s"] == 4.5
    assert only(NPU, waits_s={"igpu": 4.5}).terms["queue_wait_s"] == 0


def test_a_busy_backend_gives_way_to_a_free_one() -> None:
    fleet = (NPU, replace(IGPU, in_flight=1), NVIDIA)
    decision = ask(fleet, waits_s={"igpu": 9.4})
    assert order(decision)[0] == "nvidia"
    assert "s of it in the queue" in str(ask((IGPU,), waits_s={"igpu": 9.4}).reason)


def test_each_neighbour_on_a_device_slows_the_writing() -> None:
    alone_s = only(NPU).terms["decode_s"]
    decodes_s = [only(replace(NPU, slots=4, in_flight=n)).terms["decode_s"] for n in range(6)]
    assert decodes_s == pytest.approx([alone_s * slow for slow in (1, 1.25, 1.5, 1.75, 1.75, 1.75)])


def test_a_batch_shares_the_watts_of_its_device_and_those_in_it_take_longer() -> None:
    alone, fourth = only(NVIDIA).terms, only(replace(NVIDIA, slots=4, in_flight=3)).terms
    assert fourth["decode_j"] == pytest.approx(1.75 * alone["decode_j"] * (1 + 3 * MORE_POWER) / 4)
    alone_s = alone["prefill_s"] + alone["decode_s"]
    assert fourth["delay_j"] == pytest.approx(PERFORMANCE.price_of_time_w * 0.75 * alone_s)
    measured = replace(NVIDIA, watts=Watts(50.0, 60.0, more=0.4), slots=2, in_flight=1)
    assert only(measured).terms["decode_j"] == pytest.approx(50 * 1.4 / 2 * 1.25 * alone["decode_s"])


def test_those_that_are_slowed_by_work_in_the_background_are_worth_their_own_time() -> None:
    busy = replace(NVIDIA, slots=4, in_flight=3)
    terms = only(busy, priority=Priority.BEST_EFFORT).terms
    assert terms["price_of_time_w"] == 0 < terms["delay_j"] == only(busy).terms["delay_j"]
    assert only(busy, background={"nvidia": 3}).terms["delay_j"] == 0


def beside(view: BackendView, busy: BackendView, **query: Any) -> Ranked:
    """What a request costs there while two are under way on another backend."""
    other = replace(busy, spec=replace(busy.spec, id="other"), in_flight=2, slots=2)
    ranked = ask((view, other), **{"mode": Mode.PERFORMANCE, **query}).ranked
    return next(each for each in ranked if each.backend_id == view.spec.id)


def test_engines_on_one_chip_slow_each_other_and_draw_their_own_watts() -> None:
    alone = only(NPU).terms
    for busy in (NPU, IGPU, CPU):
        there = beside(NPU, busy)
        assert there.terms["decode_s"] == pytest.approx(1.25 * alone["decode_s"])
        assert there.terms["decode_j"] == pytest.approx(1.25 * alone["decode_j"])
        assert "beside 2 others on its chip it takes 1.25 times as long" in map(str, there.notes)
    assert beside(NPU, NVIDIA).terms["decode_s"] == alone["decode_s"]
    card = machine(device("nvidia"))
    assert beside(NVIDIA, NVIDIA, system=card).terms["decode_s"] > only(NVIDIA).terms["decode_s"]


def test_what_ends_before_a_request_begins_is_not_slowed_by_it() -> None:
    busy, other = replace(NPU, in_flight=1), replace(IGPU, in_flight=1)
    waiting, alone = (ask((each, other), waits_s={"npu": 3.0}).ranked for each in (busy, NPU))
    delays_j = [next(each.delay_j for each in ranked if each.backend_id == "npu") for ranked in (waiting, alone)]
    assert delays_j[0] == delays_j[1] > 0


def test_what_other_devices_draw_while_they_are_slowed_counts() -> None:
    alone, there = only(NPU).terms, beside(NPU, IGPU).terms
    alone_s = alone["prefill_s"] + alone["decode_s"]
    assert there["delay_j"] == pytest.approx(0.25 * alone_s * (2 * PERFORMANCE.price_of_time_w + 12))


def test_what_a_neighbour_was_seen_to_do_replaces_the_prior_pair_by_pair() -> None:
    seen = {TINY.name: Speed(0.8, 10, samples=9, beside={"other": 0.6, "npu": 0.05})}
    known = replace(NPU, speeds=seen, slots=4)
    assert beside(known, IGPU).terms["decode_s"] == pytest.approx(1.6 * 20)
    assert only(replace(known, in_flight=2)).terms["decode_s"] == pytest.approx(1.1 * 20)


def test_what_starts_a_device_is_shared_by_those_that_wait_and_follow() -> None:
    cold = replace(NVIDIA, loaded=())
    alone = only(cold).terms
    crowd = only(cold, followers=(Following(frozenset({"nvidia"}), Followers(12, 1e9)),)).terms
    assert crowd["load_j"] == pytest.approx(alone["load_j"] / 10)
    assert crowd["load_s"] == alone["load_s"]


def test_a_batch_that_those_who_wait_will_fill_shares_its_watts_and_slows_from_the_first_on() -> None:
    idle = replace(NVIDIA, slots=4)
    alone, filled = (
        only(idle).terms,
        only(idle, followers=(Following(frozenset({"nvidia"}), Followers(12, 1e9)),)).terms,
    )
    assert filled["decode_j"] == pytest.approx(1.75 * alone["decode_j"] * (1 + 3 * MORE_POWER) / 4)
    assert filled["decode_s"] == pytest.approx(1.75 * alone["decode_s"])
    alone_s = alone["prefill_s"] + alone["decode_s"]
    assert filled["delay_j"] == pytest.approx(PERFORMANCE.price_of_time_w * 0.75 * alone_s)


@pytest.mark.parametrize(("slots", "waiting"), [(1, 12), (4, 3)])
def test_who_has_no_room_beside_it_or_finds_another_slot_fills_no_batch(slots: int, waiting: int) -> None:
    idle = replace(NVIDIA, slots=slots)
    assert only(idle, followers=(Following(frozenset({"nvidia"}), Followers(waiting, 1e9)),)).terms == only(idle).terms


def test_a_loaded_model_costs_no_loading() -> None:
    for loaded in ("tiny:latest", "tiny", "TINY:latest"):
        terms = only(replace(NPU, loaded=(LoadedModel(loaded),))).terms
        assert (terms["load_s"], terms["load_j"], terms["idle_tail_j"]) == (0, 0, 0)


def test_a_model_that_is_not_loaded_costs_what_was_configured() -> None:
    profile = Profile(3, 0.8, 10, load_s=4, load_j=99, idle_w=2, keep_alive_s=60)
    cost = only(replace(backend("npu", profile), loaded=()))
    assert (cost.terms["load_s"], cost.terms["load_j"], cost.terms["idle_tail_j"]) == (4, 99, 120)
    assert cost.notes == ()


def test_loading_is_estimated_from_the_size_of_the_model_and_says_so() -> None:
    small, large = (replace(NPU, loaded=(), models=(Model("tiny", size_bytes=gb * 10**9),)) for gb in (1, 30))
    assert only(large).terms["load_s"] == pytest.approx(0.5 + 20)
    assert only(large).terms["load_j"] == pytest.approx(3 * 20.5)
    assert only(small).terms["load_s"] < only(large).terms["load_s"]
    assert "time to load 20 s is estimated for a model of 30 GB" in map(str, only(large).notes)


def test_unknown_residency_adds_nothing_but_a_note() -> None:
    cost = only(replace(NPU, loaded=None))
    assert cost.terms["load_s"] == cost.terms["load_j"] == 0
    assert [note.code for note in cost.notes] == ["load_unknown"]


def test_a_sleeping_device_is_woken_at_a_cost() -> None:
    asleep = machine(device("nvidia", PowerState.ASLEEP))
    terms = only(backend("nvidia", Profile(55, 0.15, 65, wake_s=3, wake_j=40)), system=asleep).terms
    assert (terms["wake_s"], terms["wake_j"]) == (3, 40)
    estimated = only(NVIDIA, system=asleep)
    assert estimated.terms["wake_j"] == 55 * estimated.terms["wake_s"] > 0
    assert "is estimated" in str(estimated.notes[0])


def test_a_neural_processor_that_slept_for_a_moment_wakes_at_once() -> None:
    wake = {
        hardware: only(
            backend(hardware, hardware=Hardware(hardware)), system=machine(device(hardware, PowerState.ASLEEP))
        )
        for hardware in ("npu", "igpu", "nvidia", "amdgpu")
    }
    seconds = {hardware: cost.terms["wake_s"] for hardware, cost in wake.items()}
    assert max(seconds["npu"], seconds["igpu"]) <= 0.1 < min(seconds["nvidia"], seconds["amdgpu"])


@pytest.mark.parametrize("power_state", [PowerState.AWAKE, PowerState.UNKNOWN])
def test_a_device_that_is_not_known_to_sleep_needs_no_waking(power_state: PowerState) -> None:
    terms = only(NVIDIA, system=machine(device("nvidia", power_state))).terms
    assert terms["wake_s"] == terms["wake_j"] == 0


@pytest.mark.parametrize("hardware", list(Hardware))
def test_an_unknown_profile_is_estimated_from_the_class_of_hardware_and_says_so(hardware: Hardware) -> None:
    cost = only(backend("box", Profile(), hardware=hardware))
    source = "as its hardware is unknown" if hardware is Hardware.UNKNOWN else f"from hardware class {hardware.value}"
    assert cost.power_w > 0
    assert cost.latency_ms > 0
    assert len(cost.notes) == 3
    assert str(cost.notes[0]) == f"power {cost.power_w:g} W is estimated {source}"
    assert all(str(note).endswith(f"is estimated {source} for a model of 2 GB") for note in cost.notes[1:])


def of_size(view: BackendView, size_bytes: float | None, name: str = "tiny") -> BackendView:
    """The backend with a model of another size, loaded."""
    model = Model(name, size_bytes=None if size_bytes is None else int(size_bytes))
    return replace(view, models=(model,), loaded=(LoadedModel(name),))


def test_a_larger_model_is_slower_in_proportion_to_its_size() -> None:
    typical, large = (only(of_size(backend("cpu", Profile()), size)) for size in (TYPICAL_BYTES, 10 * TYPICAL_BYTES))
    for term in ("prefill_s", "decode_s"):
        assert large.terms[term] == pytest.approx(10 * typical.terms[term])
    assert large.terms["decode_s"] == pytest.approx(200 / 0.6)


def test_a_configured_speed_holds_for_smaller_models_and_is_scaled_to_larger_ones() -> None:
    small, typical, large = (only(of_size(CPU, size)) for size in (3e8, TYPICAL_BYTES, 40e9))
    assert small.terms["decode_s"] == typical.terms["decode_s"] == pytest.approx(200 / 6)
    assert large.terms["decode_s"] == pytest.approx(200 / 6 * 40 / 4.7)
    assert [str(note) for note in large.notes] == [
        "speed 0.705 tokens/s is what is configured, scaled to a model of 40 GB"
    ]


@pytest.mark.parametrize(
    ("size_bytes", "name", "why"),
    [
        (None, "tiny", "its size is unknown"),
        (40e9, "qwen3:30b-a3b", "only a part of a mixture of experts works for each token"),
        (40e9, "mixtral:8x7b", "only a part of a mixture of experts works for each token"),
    ],
)
def test_a_size_that_says_nothing_of_the_speed_scales_nothing(size_bytes: float | None, name: str, why: str) -> None:
    cost = only(of_size(backend("cpu", Profile()), size_bytes, name), model=name)
    assert cost.terms["decode_s"] == pytest.approx(200 / 6)
    assert all(str(note).endswith(f", whatever the model: {why}") for note in cost.notes[1:])


def test_a_configured_zero_is_not_an_unknown() -> None:
    assert only(backend("box", Profile(power_w=0, ttft_s=0, decode_tps=10))).energy_j == 0


@pytest.mark.parametrize("absurd", [float("nan"), float("inf"), -1.0, 1e300])
def test_absurd_profiles_count_as_unknown(absurd: float) -> None:
    assert only(backend("npu", Profile(absurd, absurd, absurd))).terms == only(backend("npu", Profile())).terms


def test_two_measurements_replace_the_prior_and_a_single_one_counts_as_much() -> None:
    def latency_ms(samples: int) -> float:
        speed = Speed(ttft_s=80, decode_tps=1, samples=samples)
        return only(replace(NPU, speeds={TINY.name: speed})).latency_ms

    assert [latency_ms(samples) for samples in (0, 1, 2, 99)] == pytest.approx([800, 8000, 80_000, 80_000])


def test_what_was_measured_twice_is_a_guess_no_longer() -> None:
    view = backend("npu", Profile(power_w=3))
    speeds = {samples: {TINY.name: Speed(0.8, 10, samples=samples)} for samples in (1, 2)}
    once, twice = (only(replace(view, speeds=each)) for each in speeds.values())
    assert once.is_guess
    assert not twice.is_guess
    assert [note.code for note in twice.notes] == ["speed_measured"]


def test_a_long_prompt_is_read_and_answered_as_long_ones_were() -> None:
    longer = {("prefill_tps", 2): 400.0, ("decode_tps", 2): 5.0}
    view = replace(NPU, speeds={TINY.name: Speed(0.8, 10, samples=9, longer=longer)})
    short, long, longest = (only(view, prompt_tokens=tokens).terms for tokens in (100, 4000, 100_000))
    assert (short["prefill_s"], short["decode_s"]) == (0.8, 20)
    assert (long["prefill_s"], long["decode_s"]) == (10, 40)
    assert (longest["prefill_s"], longest["decode_s"]) == (250, 40), "as in the nearest length that was seen"


@pytest.mark.parametrize("absurd", [1e308, 1e-308, float("nan"), float("inf"), -1.0])
def test_absurd_measurements_leave_every_term_a_finite_number(absurd: float) -> None:
    view = replace(NPU, speeds={TINY.name: Speed(absurd, absurd, 200, samples=10**9)})
    assert all(0 <= value < float("inf") for value in only(view, power_efficient=True).terms.values())


def test_a_speed_without_samples_is_not_said_to_be_measured() -> None:
    assert only(replace(NPU, speeds={TINY.name: Speed(9, 9, 9, samples=0)})).notes == ()


def test_a_backend_without_slots_is_taken_to_have_one() -> None:
    assert only(replace(NPU, slots=0, in_flight=1)).terms == only(replace(NPU, slots=1, in_flight=1)).terms


def test_measured_speed_changes_the_decision_and_says_so() -> None:
    slow = replace(IGPU, speeds={TINY.name: Speed(decode_tps=4, samples=20)})
    seen = {TINY.name: Speed(samples=2)}
    decision = ask((replace(NPU, speeds=seen), slow, replace(NVIDIA, speeds=seen)))
    assert order(decision)[0] == "nvidia"
    assert "speed measured in 20 requests" in map(str, decision.ranked[2].notes)


def test_what_was_measured_of_one_model_says_nothing_of_another() -> None:
    assert only(replace(NPU, speeds={"other:latest": Speed(ttft_s=9, samples=9)})).latency_ms == 800


def test_equal_costs_are_ordered_by_preference_then_priority_then_name() -> None:
    same = Profile(10, 1, 10)
    fleet = tuple(
        backend(name, same, priority=priority, rules=rules)
        for name, priority, rules in (
            ("d", 1, ModelRules()),
            ("c", 1, ModelRules()),
            ("b", 5, ModelRules()),
            ("a", 0, ModelRules(preferred=("tiny",))),
        )
    )
    assert order(ask(fleet)) == ["a", "b", "c", "d"]


def test_long_answers_are_dearer() -> None:
    short, long = (ask(with_typical_answer((NPU,), tokens)).ranked[0].cost_j for tokens in (30, 2000))
    assert short < long
