"""Whatever became of a request, counting it fails nothing."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.events import Usage
from ollama_proxyd.core.requests import Operation
from ollama_proxyd.edges.http_api.counters import Counters
from ollama_proxyd.services.ledger import Outcome

HUGE = 10**400
TOKENS = st.none() | st.integers() | st.sampled_from([HUGE, -HUGE])
NUMBERS = st.floats()


def outcome(**changes: Any) -> Outcome:
    known = {"request_id": "r", "operation": Operation.CHAT, "decision": None, "unix_s": 0.0, "total_s": 2.0}
    return Outcome(**{**known, "backend_id": "npu", "model": "tiny", **changes})


def samples(registry: CollectorRegistry) -> dict[str, float]:
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        sample.name.removeprefix("ollama_proxy_"): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith(("_created", "_bucket"))
    }


@settings(deadline=None)
@given(
    outcomes=st.lists(
        st.builds(
            outcome,
            backend_id=st.none() | st.text(),
            model=st.none() | st.text(),
            total_s=NUMBERS,
            ttft_s=st.none() | NUMBERS,
            usage=st.builds(Usage, TOKENS, TOKENS, TOKENS),
            energy_j=st.none() | NUMBERS,
            attempts=st.integers() | st.just(HUGE),
            error=st.none() | st.sampled_from(ErrorKind),
            cancelled=st.booleans(),
        ),
        max_size=5,
    )
)
def test_any_outcome_is_counted_and_every_sum_stays_a_number(outcomes: list[Outcome]) -> None:
    registry = CollectorRegistry()
    counters = Counters(registry)
    for each in outcomes:
        counters.count(each)
    assert all(math.isfinite(value) and value >= 0 for value in samples(registry).values())


@pytest.mark.parametrize("tokens", [-1, HUGE])
def test_tokens_that_cannot_be_are_none(tokens: int) -> None:
    registry = CollectorRegistry()
    counters = Counters(registry)
    counters.count(outcome(usage=Usage(tokens, tokens), ttft_s=1.0, energy_j=5.0))
    counters.count(outcome(usage=Usage(3, 5), ttft_s=1.0, energy_j=math.nan))
    told = samples(registry)
    assert told["requests_total"] == 2
    assert (told["prompt_tokens_total"], told["tokens_generated_total"]) == (3, 5)
    assert told["energy_joules_total"] == 5
    assert told["tokens_per_second_count"] == 1
