"""The sentence that a person reads."""

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.fleet import FleetView, Health, Model, Profile
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.decision import Ranking
from ollama_proxyd.core.reasons import Reason
from tests.core.reference_profile import REFERENCE, ask
from tests.reasons import because

NPU, IGPU, NVIDIA, CPU = REFERENCE


def test_the_winner_and_the_next_are_named_with_their_numbers() -> None:
    assert str(ask(mode=Mode.PERFORMANCE).reason) == (
        "Performance: nvidia needs 177 J and 3.2 s for about 200 tokens; next is igpu with 113 J and 9.4 s"
    )


def test_a_winner_without_rivals_says_so() -> None:
    assert str(ask((NPU,), Mode.ULTRA_EFFICIENCY).reason) == (
        "Ultra Efficiency: npu needs 62 J and 21 s for about 200 tokens; nothing else can serve this"
    )


def test_a_winner_whose_rivals_are_beyond_the_mode_says_so() -> None:
    assert str(ask(mode=Mode.ULTRA_EFFICIENCY).reason) == (
        "Ultra Efficiency: npu needs 62 J and 21 s for about 200 tokens; nothing else within the mode can serve this"
    )


TRIED = {"tried": frozenset({"nvidia"})}
ABLE = {"able": frozenset({"npu", "nvidia"})}


@pytest.mark.parametrize(
    ("fleet", "mode", "query", "end"),
    [
        ((NPU, NVIDIA), Mode.BALANCED, TRIED, "nothing else can serve this, not counting nvidia, which had it before"),
        (
            (NPU, CPU),
            Mode.EFFICIENCY,
            TRIED,
            "within the mode can serve this, not counting nvidia, which had it before",
        ),
        (
            (CPU, NVIDIA),
            Mode.QUIET,
            {"tried": frozenset({"nvidia", "npu"})},
            "not counting npu, nvidia, which had it before",
        ),
        ((NPU, IGPU), Mode.BALANCED, ABLE, "nothing else can serve the rest of this"),
    ],
)
def test_where_the_request_was_before_is_not_said_to_be_unable(
    fleet: FleetView, mode: Mode, query: dict[str, Any], end: str
) -> None:
    sentence, _, _although = str(ask(fleet, mode, **query).reason).partition(", although")
    assert sentence.endswith(end)


@pytest.mark.parametrize(
    ("fleet", "mode", "query", "code", "says"),
    [
        (
            (NPU, CPU),
            Mode.BALANCED,
            {"waits_s": {"npu": 900.0}},
            "queue_too_long",
            "about 900 s, longer than Balanced waits",
        ),
        ((NPU, CPU), Mode.BALANCED, {"waits_s": {"npu": 1.0}}, "cheapest", "next is "),
        (
            (NPU, CPU),
            Mode.BALANCED,
            {"waits_s": {"npu": 900.0}, "waited_s": 5.0},
            "queue_too_long",
            "npu is busy for about 900 s, longer than Balanced waits",
        ),
        (
            (IGPU, NVIDIA),
            Mode.QUIET,
            {"waits_s": {"igpu": 29.0}, "waited_s": 50.0},
            "queue_too_long",
            "igpu is busy for about 29 s after 50 s of waiting, longer than Quiet waits",
        ),
        (
            (replace(NPU, in_flight=3), NVIDIA),
            Mode.EFFICIENCY,
            {"waits_s": {"npu": 300.0}},
            "queue_too_long",
            "npu is busy for about 300 s, longer than Efficiency waits, although nvidia needs 55 W",
        ),
        ((NPU, NVIDIA), Mode.BALANCED, {"time_left_s": 10.0}, "only_in_time", "can serve this, or would end in time"),
        (
            (NPU, NVIDIA),
            Mode.BALANCED,
            {"time_left_s": 1.0},
            "none_in_time",
            "; nothing within the mode would end in time",
        ),
        (
            (NPU, CPU),
            Mode.QUIET,
            {"time_left_s": 60.0},
            "only_within_mode",
            "nothing else within the mode can serve this",
        ),
    ],
)
def test_what_keeps_the_others_is_told_as_it_is(
    fleet: FleetView, mode: Mode, query: dict[str, Any], code: str, says: str
) -> None:
    reason = ask(fleet, mode, **query).reason
    inner = reason.values["reason"] if reason.code == "although" else reason
    assert isinstance(inner, Reason)
    assert (inner.code, says in str(reason)) == (code, True), str(reason)


def test_a_model_that_nobody_holds_is_named() -> None:
    assert str(ask(model="nosuch").reason) == "no backend holds 'nosuch'"


def test_an_empty_fleet_says_so() -> None:
    assert str(ask(()).reason) == "no backend is configured, and none was found yet"


def test_a_refusal_has_its_cause_first_and_one_piece_of_advice() -> None:
    assert str(ask((NVIDIA, CPU), Mode.QUIET, strict_limits=True).reason) == (
        "nvidia needs 55 W, and Quiet allows at most 15 W; cpu needs 28 W, "
        "and Quiet allows at most 15 W; choose a mode that allows more, or leave strict limits out"
    )


def test_only_what_is_nearest_to_success_is_told() -> None:
    blind = replace(CPU, models=(Model("tiny:latest", capabilities=frozenset({"embedding"})),))
    down = replace(NPU, health=Health.DOWN, health_reason=because("timeout"), models=())
    absent = replace(IGPU, models=())
    assert str(ask((down, absent, blind)).reason) == "'tiny:latest' on cpu does not support chat"
    assert str(ask((absent, down)).reason) == "npu is down: timeout"


def test_a_long_list_of_reasons_is_cut_short() -> None:
    many = tuple(replace(NPU, spec=replace(NPU.spec, id=f"n{i}"), health=Health.DOWN) for i in range(9))
    assert str(ask(many).reason).endswith("n5 is down; and 3 more")


def test_of_a_large_fleet_a_few_are_priced_for_a_reason_though_one_is_too_busy() -> None:
    powers_w = {f"n{i}": 10.0 + i for i in range(100)}
    fleet = tuple(
        replace(NPU, spec=replace(NPU.spec, id=name, profile=replace(NPU.spec.profile, power_w=power_w)))
        for name, power_w in powers_w.items()
    )
    decision = ask(fleet, Mode.PERFORMANCE, waits_s={"n0": 900.0})
    assert decision.reason.code == "cheapest"
    assert isinstance(decision.ranked, Ranking)
    assert len(decision.ranked.priced) <= 8


def test_the_decision_names_the_mode_chosen_and_the_mode_in_force() -> None:
    decision = ask(mode=Mode.AUTO)
    assert (decision.mode, decision.effective_mode) == (Mode.AUTO, Mode.BALANCED)
    assert str(decision.mode_reason) == "no sensor has reported yet"


def test_a_reason_bears_no_line_break_that_a_client_sent() -> None:
    assert "\n" not in str(ask(model="a\r\nb").reason)
    assert "\n" not in str(ask(target="a\r\nb").reason)


def test_figures_that_are_a_guess_from_the_hardware_are_called_estimated() -> None:
    guessed = replace(NPU, spec=replace(NPU.spec, profile=Profile()))
    assert "needs an estimated" in str(ask((guessed,)).reason)
    assert "an estimated" not in str(ask().reason)
