"""Where the reference profile sends a request, in every mode, for every length of answer and every hint."""

from itertools import pairwise

import pytest

from ollama_proxyd.core.modes import Mode, parse_mode
from ollama_proxyd.core.requests import Priority
from tests.core.reference_profile import REFERENCE, ask, only, order, with_typical_answer

LENGTHS = {"short": 30, "typical": 200, "long": 2000}
HINTS = {
    "-": {},
    "latency-critical": {"latency_critical": True},
    "power-efficient": {"power_efficient": True},
    "both": {"latency_critical": True, "power_efficient": True},
    "background": {"priority": Priority.BEST_EFFORT},
}

# Backends that are not named are rejected by the mode's limit of power.
MATRIX = """
mode             hint              short (30)           typical (200)        long (2000)
Performance      -                 nvidia>igpu>npu>cpu  nvidia>igpu>npu>cpu  nvidia>igpu>npu>cpu
Performance      latency-critical  nvidia>igpu>npu>cpu  nvidia>igpu>npu>cpu  nvidia>igpu>npu>cpu
Performance      power-efficient   npu>igpu>nvidia>cpu  npu>igpu>nvidia>cpu  npu>igpu>nvidia>cpu
Balanced         -                 igpu>nvidia>npu>cpu  igpu>nvidia>npu>cpu  igpu>nvidia>npu>cpu
Balanced         latency-critical  nvidia>igpu>npu>cpu  nvidia>igpu>npu>cpu  nvidia>igpu>npu>cpu
Balanced         power-efficient   npu>igpu>nvidia>cpu  npu>igpu>nvidia>cpu  npu>igpu>nvidia>cpu
Balanced         both              igpu>nvidia>npu>cpu  igpu>nvidia>npu>cpu  igpu>nvidia>npu>cpu
Balanced         background        npu>igpu>nvidia>cpu  npu>igpu>nvidia>cpu  npu>igpu>nvidia>cpu
Efficiency       -                 npu>igpu             npu>igpu             npu>igpu
Efficiency       latency-critical  igpu>npu             igpu>npu             igpu>npu
Efficiency       power-efficient   npu>igpu             npu>igpu             npu>igpu
Quiet            -                 npu>igpu             npu>igpu             npu>igpu
Quiet            latency-critical  igpu>npu             igpu>npu             igpu>npu
Quiet            power-efficient   npu>igpu             npu>igpu             npu>igpu
Auto             -                 igpu>nvidia>npu>cpu  igpu>nvidia>npu>cpu  igpu>nvidia>npu>cpu
Auto             latency-critical  nvidia>igpu>npu>cpu  nvidia>igpu>npu>cpu  nvidia>igpu>npu>cpu
Auto             power-efficient   npu>igpu>nvidia>cpu  npu>igpu>nvidia>cpu  npu>igpu>nvidia>cpu
UltraEfficiency  -                 npu                  npu                  npu
UltraEfficiency  latency-critical  npu                  npu                  npu
UltraEfficiency  power-efficient   npu                  npu                  npu
"""


def cells() -> list[tuple[str, str, str, str]]:
    rows = [line.split() for line in MATRIX.strip().splitlines()[1:]]
    return [
        (mode, hint, length, expected)
        for mode, hint, *columns in rows
        for length, expected in zip(LENGTHS, columns, strict=True)
    ]


@pytest.mark.parametrize(("mode", "hint", "length", "expected"), cells())
def test_the_reference_profile_goes_where_the_table_says(mode: str, hint: str, length: str, expected: str) -> None:
    fleet = with_typical_answer(REFERENCE, LENGTHS[length])
    assert order(ask(fleet, parse_mode(mode), **HINTS[hint])) == expected.split(">")


def test_the_table_covers_every_mode_with_every_hint() -> None:
    assert {(mode, hint) for mode, hint, _, _ in cells()} >= {
        (mode.value, hint) for mode in Mode for hint in ("-", "latency-critical", "power-efficient")
    }


def test_switching_the_mode_changes_the_decision() -> None:
    ladder = (Mode.PERFORMANCE, Mode.BALANCED, Mode.EFFICIENCY, Mode.ULTRA_EFFICIENCY)
    orders = [order(ask(mode=mode)) for mode in ladder]
    assert all(above != below for above, below in pairwise(orders))
    assert [each[0] for each in orders] == ["nvidia", "igpu", "npu", "npu"]


def test_nothing_learned_means_an_answer_of_200_tokens() -> None:
    assert order(ask()) == order(ask(with_typical_answer(REFERENCE, 200)))
    assert str(ask().reason) == (
        "Balanced: igpu needs 113 J and 9.4 s for about 200 tokens; next is nvidia with 177 J and 3.2 s"
    )


@pytest.mark.parametrize(
    ("backend_at", "energy_j", "time_s", "latency_ms"),
    [(0, 62.4, 20.8, 800), (1, 113.29, 9.441, 350), (2, 177.48, 3.227, 150), (3, 966.93, 34.533, 1200)],
)
def test_each_backends_joules_and_seconds_are_those_of_the_design(
    backend_at: int, energy_j: float, time_s: float, latency_ms: float
) -> None:
    cost = only(REFERENCE[backend_at])
    assert cost.energy_j == pytest.approx(energy_j, abs=0.005)
    assert cost.terms["time_s"] == pytest.approx(time_s, abs=0.0005)
    assert cost.latency_ms == pytest.approx(latency_ms)
    assert cost.cost_j == pytest.approx(energy_j + 100 * time_s, abs=0.05)


def test_ultra_rejects_all_but_the_npu_by_the_limit_of_power() -> None:
    rejected = ask(mode=Mode.ULTRA_EFFICIENCY).rejected
    assert {each.backend_id: [str(no) for no in each.rejections] for each in rejected} == {
        "igpu": ["igpu needs 12 W; Ultra Efficiency allows at most 10 W"],
        "nvidia": ["nvidia needs 55 W; Ultra Efficiency allows at most 10 W"],
        "cpu": ["cpu needs 28 W; Ultra Efficiency allows at most 10 W"],
    }
