"""The sentence that a person reads."""

from dataclasses import replace

from ollama_proxyd.core.fleet import Health, Model, Profile
from ollama_proxyd.core.modes import Mode
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
        "Ultra Efficiency: npu needs 62 J and 21 s for about 200 tokens; nothing else is within the mode"
    )


def test_a_model_that_nobody_holds_is_named() -> None:
    assert str(ask(model="nosuch").reason) == "no backend holds 'nosuch'"


def test_an_empty_fleet_says_so() -> None:
    assert str(ask(()).reason) == "no backend is configured, and none was found yet"


def test_a_refusal_has_its_cause_first_and_one_piece_of_advice() -> None:
    assert str(ask((NVIDIA, CPU), Mode.QUIET, strict_limits=True).reason) == (
        "nvidia needs 55 W, and Quiet allows at most 15 W; cpu needs 28 W, "
        "and Quiet allows at most 15 W; choose a mode that allows more, or do not ask for strict limits"
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
