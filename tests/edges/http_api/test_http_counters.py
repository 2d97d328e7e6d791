"""Whatever became of a request, counting it fails nothing."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.energy import Energy
from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.events import Usage
from ollama_proxyd.core.programs import KnownBy, Program
from ollama_proxyd.core.requests import Operation
from ollama_proxyd.edges.http_api.counters import MOST_PROGRAMS, Counters
from ollama_proxyd.edges.http_api.exposition import Counted, expose
from ollama_proxyd.services.ledger import Outcome

HUGE = 10**400
TOKENS = st.none() | st.integers() | st.sampled_from([HUGE, -HUGE])
NUMBERS = st.floats()


def outcome(**changes: Any) -> Outcome:
    known = {"request_id": "r", "operation": Operation.CHAT, "decision": None, "unix_s": 0.0, "total_s": 2.0}
    return Outcome(**{**known, "backend_id": "npu", "model": "tiny", **changes})


def ended(**changes: Any) -> AttemptEnded:
    known = {"operation": Operation.CHAT, "request_id": "r", "begun_s": 0.0, "ended_s": 2.0, "stream": True}
    return AttemptEnded(**{**known, "backend_id": "npu", "model": "tiny", **changes})


def samples(counters: Counters) -> dict[str, float]:
    families = text_string_to_metric_families(expose("", Counted(counters))[0].decode())
    return {
        sample.name.removeprefix("ollama_proxy_"): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("ollama_proxy_") and not sample.name.endswith("_bucket")
    }


@given(
    outcomes=st.lists(
        st.builds(
            outcome,
            backend_id=st.none() | st.text(),
            model=st.none() | st.text(),
            total_s=NUMBERS,
            ttft_s=st.none() | NUMBERS,
            retried=st.lists(st.text()).map(tuple),
            error=st.none() | st.sampled_from(ErrorKind),
            cancelled=st.booleans(),
        ),
        max_size=5,
    ),
    attempts=st.lists(
        st.builds(
            ended,
            backend_id=st.text(),
            model=st.text(),
            ended_s=NUMBERS,
            first_s=st.none() | NUMBERS,
            usage=st.builds(Usage, TOKENS, TOKENS, TOKENS),
            energy=st.builds(Energy, NUMBERS, NUMBERS, NUMBERS),
            error=st.none() | st.sampled_from(ErrorKind),
            cancelled=st.booleans(),
        ),
        max_size=5,
    ),
)
def test_any_outcome_is_counted_and_every_sum_stays_a_number(
    outcomes: list[Outcome], attempts: list[AttemptEnded]
) -> None:
    counters = Counters()
    for each in outcomes:
        counters.count(each)
    for attempt in attempts:
        counters.count_attempt(attempt)
        counters.count_energy(attempt)
    assert all(math.isfinite(value) and value >= 0 for value in samples(counters).values())


@pytest.mark.parametrize("tokens", [-1, HUGE])
def test_tokens_that_cannot_be_are_none(tokens: int) -> None:
    counters = Counters()
    for usage, energy in ((Usage(tokens, tokens), Energy(2.0, 3.0, error_share=0.5)), (Usage(3, 5), Energy(math.nan))):
        counters.count_attempt(ended(usage=usage, first_s=1.0))
        counters.count_energy(ended(energy=energy))
    told = samples(counters)
    assert (told["prompt_tokens_total"], told["tokens_generated_total"]) == (3, 5)
    assert (told["model_energy_joules_total"], told["model_energy_error_joules_total"]) == (5, 2.5)
    assert told["tokens_per_second_count"] == 1


def test_programs_beyond_a_bound_are_counted_together_and_unknown_ones_too() -> None:
    counters = Counters()
    for at in range(MOST_PROGRAMS + 3):
        counters.count_energy(ended(energy=Energy(1.0), program=Program(f"app{at}" if at else "", KnownBy.UNIT)))
    told = {
        sample.labels["program"]: sample.value
        for metric in Counted(counters).collect()
        for sample in metric.samples
        if sample.name == "ollama_proxy_program_energy_joules_total"
    }
    assert (len(told), told["none"], told["app1"], told["other"]) == (MOST_PROGRAMS + 1, 1.0, 1.0, 3.0)
