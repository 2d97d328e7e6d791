"""A reason: its code and values, and the sentence that is rendered from them."""

import pytest

from ollama_proxyd.core.reasons import Reason, reason_fields


def test_a_value_that_was_not_given_leaves_its_part_of_the_sentence_out() -> None:
    assert str(Reason("on_battery")) == str(Reason("on_battery", battery_percent=None)) == "on battery"
    assert Reason("on_battery") == Reason("on_battery", battery_percent=None)


@pytest.mark.parametrize(("percent", "sentence"), [(0.0, "on battery at 0 %"), (42.5, "on battery at 42.5 %")])
def test_zero_is_a_value(percent: float, sentence: str) -> None:
    assert str(Reason("on_battery", battery_percent=percent)) == sentence


@pytest.mark.parametrize(("measured", "words"), [(True, "needs 5 W as measured"), (False, "needs 5 W")])
def test_a_flag_decides_on_its_part_and_is_not_shown(measured: bool, words: str) -> None:
    needs = Reason("hint_power", backend_id="npu", is_measured=measured, power_watts=5.0, limit_watts=3.0)
    assert str(needs) == f"npu {words}, and the request allows at most 3 W"


@pytest.mark.parametrize(
    ("energy_j", "shown"), [(0.0, "0"), (6.44e-6, "0.0000064"), (0.5, "0.5"), (99.4, "99"), (2e16, "20000000000000000")]
)
def test_a_figure_has_two_digits_and_no_exponent(energy_j: float, shown: str) -> None:
    needs = Reason(
        "only_candidate", mode_label="Quiet", backend_id="npu", energy_joules=energy_j, time_seconds=1.0, tokens=1.0
    )
    assert str(needs).startswith(f"Quiet: npu needs {shown} J and 1 s ")


def test_reasons_within_a_reason_are_told_as_sentences_and_as_values() -> None:
    down = Reason("down", backend_id="npu", reason=Reason("not_checked_yet"))
    refused = Reason("all_refused", rejections=(down,), advice="wait")
    assert str(refused) == "npu is down: not checked yet; wait"
    assert reason_fields(refused) == {
        "reason": str(refused),
        "reason_code": "all_refused",
        "reason_details": {"rejections": [reason_fields(down)], "advice": "wait"},
    }


def test_braces_in_a_value_are_no_template() -> None:
    assert str(Reason("backend_down", detail="{x} [y]")) == "{x} [y]"


def test_nothing_has_no_code() -> None:
    assert reason_fields(None) == {"reason": None, "reason_code": None, "reason_details": {}}
