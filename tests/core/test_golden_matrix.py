"""Where the reference profile sends a request, in every mode, for every length of answer and every hint."""

from itertools import pairwise

import pytest

from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode, parse_mode
from ollama_proxyd.core.requests import Priority
from tests.core.reference_profile import PROFILES, REFERENCE, ask, only, order, with_typical_answer

LENGTHS = {"short": 30, "typical": 200, "long": 2000}
HINTS = {
    "-": {},
    "latency-critical": {"latency_critical": True},
    "power-efficient": {"power_efficient": True},
    "both": {"latency_critical": True, "power_efficient": True},
    "background": {"priority": Priority.BEST_EFFORT},
}

# Backends after the bar exceed the mode's watts, so that they serve where those before it cannot, or save nothing.
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
Efficiency       -                 npu>igpu|nvidia>cpu  npu>igpu|nvidia>cpu  npu>igpu|nvidia>cpu
Efficiency       latency-critical  nvidia>igpu>npu>cpu  nvidia>igpu>npu>cpu  nvidia>igpu>npu>cpu
Efficiency       power-efficient   npu>igpu|nvidia>cpu  npu>igpu|nvidia>cpu  npu>igpu|nvidia>cpu
Quiet            -                 npu>igpu|nvidia>cpu  npu>igpu|nvidia>cpu  npu>igpu|nvidia>cpu
Quiet            latency-critical  nvidia>igpu>npu>cpu  nvidia>igpu>npu>cpu  nvidia>igpu>npu>cpu
Quiet            power-efficient   npu>igpu|nvidia>cpu  npu>igpu|nvidia>cpu  npu>igpu|nvidia>cpu
Auto             -                 igpu>nvidia>npu>cpu  igpu>nvidia>npu>cpu  igpu>nvidia>npu>cpu
Auto             latency-critical  nvidia>igpu>npu>cpu  nvidia>igpu>npu>cpu  nvidia>igpu>npu>cpu
Auto             power-efficient   npu>igpu>nvidia>cpu  npu>igpu>nvidia>cpu  npu>igpu>nvidia>cpu
UltraEfficiency  -                 npu|igpu>nvidia>cpu  npu|igpu>nvidia>cpu  npu|igpu>nvidia>cpu
UltraEfficiency  latency-critical  nvidia>igpu>npu>cpu  nvidia>igpu>npu>cpu  nvidia>igpu>npu>cpu
UltraEfficiency  power-efficient   npu|igpu>nvidia>cpu  npu|igpu>nvidia>cpu  npu|igpu>nvidia>cpu
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
    within, _, beyond = expected.partition("|")
    decision = ask(fleet, parse_mode(mode), **HINTS[hint])
    assert order(decision) == [*within.split(">"), *filter(None, beyond.split(">"))]
    assert [each.backend_id for each in decision.ranked if each.beyond] == exceeding(mode, hint, order(decision))


def exceeding(mode: str, hint: str, ordered: list[str]) -> list[str]:
    """Those of more watts than the mode allows, whether or not the request lifts that limit."""
    limit_w = DEFAULT_TABLE[parse_mode(mode)].max_power_w
    powers_w = {backend_id: profile.power_w or 0 for backend_id, profile in PROFILES.items()}
    return [each for each in ordered if limit_w is not None and powers_w[each] > limit_w]


def test_the_table_covers_every_mode_with_every_hint() -> None:
    assert {(mode, hint) for mode, hint, _, _ in cells()} >= {
        (mode.value, hint) for mode in Mode for hint in ("-", "latency-critical", "power-efficient")
    }


def test_switching_the_mode_changes_the_decision() -> None:
    ladder = (Mode.PERFORMANCE, Mode.BALANCED, Mode.EFFICIENCY, Mode.ULTRA_EFFICIENCY)
    decisions = [ask(mode=mode) for mode in ladder]
    places = [[(each.backend_id, bool(each.beyond)) for each in decision.ranked] for decision in decisions]
    assert all(above != below for above, below in pairwise(places))
    assert [order(each)[0] for each in decisions] == ["nvidia", "igpu", "npu", "npu"]


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
    assert cost.cost_j == pytest.approx(energy_j + 300 * time_s, abs=0.15)


def test_ultra_sets_all_but_the_npu_behind_by_the_limit_of_power() -> None:
    ranked = ask(mode=Mode.ULTRA_EFFICIENCY).ranked
    assert {each.backend_id: [str(limit) for limit in each.beyond] for each in ranked if each.beyond} == {
        "igpu": ["igpu needs 12 W, and Ultra Efficiency allows at most 10 W"],
        "nvidia": ["nvidia needs 55 W, and Ultra Efficiency allows at most 10 W"],
        "cpu": ["cpu needs 28 W, and Ultra Efficiency allows at most 10 W"],
    }
