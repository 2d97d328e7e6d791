"""What noise and heat count in a mode that minds them."""

from dataclasses import replace

import pytest

from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.core.policy.heat import SILENT_W
from tests.core.reference_profile import REFERENCE, ask, device, machine, order, with_typical_answer

NPU, IGPU, NVIDIA, CPU = REFERENCE
PRICE = DEFAULT_TABLE[Mode.QUIET].price_of_noise


def test_watts_that_the_case_does_not_shed_silently_count_in_quiet_alone() -> None:
    (quiet,), (thrifty,) = (ask((IGPU,), mode).ranked for mode in (Mode.QUIET, Mode.EFFICIENCY))
    work_j = quiet.prefill_j + quiet.decode_j
    assert thrifty.noise_j == 0 < quiet.noise_j == pytest.approx(PRICE * work_j * (12 - SILENT_W) / 12)
    assert "7 W of its 12 W count as noise and heat in the lap" in map(str, quiet.notes)


def test_what_a_fan_cannot_be_needed_for_is_silent() -> None:
    assert ask((NPU,), Mode.QUIET).ranked[0].noise_j == 0


def test_once_the_fan_blows_each_watt_keeps_it_going() -> None:
    (blown,) = ask((IGPU,), Mode.QUIET, machine(device("igpu", fan_percent=30))).ranked
    assert blown.noise_j == pytest.approx(PRICE * (blown.prefill_j + blown.decode_j))
    assert "12 W of its 12 W count as noise and heat in the lap, since its fan blows at 30 %" in map(str, blown.notes)
    (still,) = ask((IGPU,), Mode.QUIET, machine(device("igpu", fan_percent=0))).ranked
    assert still.noise_j < blown.noise_j


def test_another_machines_fan_is_not_heard() -> None:
    remote = replace(IGPU, spec=replace(IGPU.spec, is_local=False))
    assert ask((remote,), Mode.QUIET).ranked[0].noise_j == 0


def test_quiet_lets_a_person_wait_for_the_silent_device_where_efficiency_does_not() -> None:
    fleet = with_typical_answer((NPU, IGPU), 200)
    firsts = [order(ask(fleet, mode, waits_s={"npu": 20.0}))[0] for mode in (Mode.EFFICIENCY, Mode.QUIET)]
    assert firsts == ["igpu", "npu"]
