"""When a backend that says nothing counts as stalled."""

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.policy.stall import LEAST_S, stalled_after_s
from ollama_proxyd.core.requests import Api, Chat, Operation, Request
from tests.core.reference_profile import backend, only

KNOWN = Speed(ttft_s=2.0, decode_tps=10.0, output_tokens=50.0, samples=5)


def after_s(speed: Speed | None = KNOWN, in_flight: int = 1, **facts: Any) -> float | None:
    view = replace(backend(), speeds={} if speed is None else {"tiny:latest": speed}, in_flight=in_flight)
    request = Request(Operation.CHAT, Api.OLLAMA, "chat", "tiny", True, b"{}", lambda: Chat(()))
    return stalled_after_s(view, only(replace(view, in_flight=0)), replace(request, **facts))


def test_a_known_backend_has_many_times_what_it_needed_before() -> None:
    patience_s = after_s()
    assert patience_s is not None
    assert 10 < patience_s < 30


def test_a_quick_one_has_a_least_of_time() -> None:
    assert after_s(replace(KNOWN, ttft_s=0.01)) is not None
    assert (after_s(replace(KNOWN, ttft_s=0.01)) or 0) >= LEAST_S


@pytest.mark.parametrize("speed", [None, replace(KNOWN, samples=2), replace(KNOWN, ttft_s=None)])
def test_of_an_unknown_one_nothing_is_said_before_the_configured_bound(speed: Speed | None) -> None:
    assert after_s(speed) is None


def test_a_long_prompt_is_read_at_an_unknown_speed() -> None:
    assert after_s(prompt_tokens=10_000) is None


def test_what_is_under_way_there_may_come_first() -> None:
    alone_s, third_s = after_s(), after_s(in_flight=3)
    assert alone_s is not None
    assert third_s == pytest.approx(alone_s + 10 * 2 * (2.0 + 5.0))


@pytest.mark.parametrize("facts", [{"stream": False}, {"needs_tools": True}])
def test_an_answer_that_comes_only_at_its_end_needs_a_known_length(facts: dict[str, Any]) -> None:
    alone_s, whole_s = after_s(), after_s(max_tokens=100, **facts)
    assert after_s(**facts) is None
    assert alone_s is not None
    assert whole_s == pytest.approx(alone_s + 10 * 10.0)
