"""When a backend that says nothing counts as stalled."""

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.learning import Speed, context_of
from ollama_proxyd.core.policy.stall import (
    LEAST_PAUSE_S,
    LEAST_S,
    LEAST_WHOLE_PAUSE_S,
    LONG_ANSWER_TOKENS,
    bears,
    stalled_after_s,
)
from ollama_proxyd.core.requests import Api, Chat, Operation, Request
from tests.core.reference_profile import backend, only

KNOWN = Speed(ttft_s=2.0, decode_tps=10.0, output_tokens=50.0, samples=5)


def after_s(speed: Speed | None = KNOWN, in_flight: int = 1, **facts: Any) -> float | None:
    view = replace(backend(), speeds={} if speed is None else {"tiny:latest": speed}, in_flight=in_flight)
    request = Request(Operation.CHAT, Api.OLLAMA, "chat", "tiny", True, b"{}", lambda: Chat(()))
    priced = only(replace(view, in_flight=0), prompt_tokens=facts.get("prompt_tokens", 0))
    return stalled_after_s(view, priced, replace(request, **facts))


def test_a_known_backend_has_many_times_what_it_needed_before() -> None:
    patience_s = after_s()
    assert patience_s is not None
    assert 10 < patience_s < 30


def test_that_a_prompt_is_cached_is_a_guess_and_leaves_no_less_time() -> None:
    view, request = (
        replace(backend(), speeds={"tiny:latest": KNOWN}),
        Request(Operation.CHAT, Api.OLLAMA, "chat", "tiny", True, b"{}", lambda: Chat(())),
    )
    priced = only(view)
    cached = priced._replace(prefill_s=0.1, cached_s=priced.prefill_s - 0.1)
    assert stalled_after_s(view, cached, request) == stalled_after_s(view, priced, request)


def test_a_quick_one_has_a_least_of_time() -> None:
    assert after_s(replace(KNOWN, ttft_s=0.01)) is not None
    assert (after_s(replace(KNOWN, ttft_s=0.01)) or 0) >= LEAST_S


@pytest.mark.parametrize("speed", [None, replace(KNOWN, samples=2), replace(KNOWN, ttft_s=None)])
def test_of_an_unknown_one_nothing_is_said_before_the_configured_bound(speed: Speed | None) -> None:
    assert after_s(speed) is None


@pytest.mark.parametrize("part", ["ttft_s", "decode_tps"])
def test_by_what_only_its_kin_has_shown_none_has_stalled(part: str) -> None:
    assert after_s(replace(KNOWN, guessed=frozenset({part}))) is None


def test_a_long_prompt_is_read_at_an_unknown_speed_until_two_of_its_length_have_shown_it() -> None:
    long = {("prefill_tps", context_of(10_000)): 100.0}
    assert after_s(prompt_tokens=10_000) is None
    assert after_s(replace(KNOWN, longer=long, seen_once=frozenset(long)), prompt_tokens=10_000) is None
    patience_s = after_s(replace(KNOWN, longer=long), prompt_tokens=10_000)
    assert patience_s is not None
    assert patience_s > 10 * (10_000 - 512) / 100


def test_what_is_under_way_there_may_come_first() -> None:
    alone_s, third_s = after_s(), after_s(in_flight=3)
    assert alone_s is not None
    assert third_s == pytest.approx(alone_s + 10 * 2 * (2.0 + 5.0))


@pytest.mark.parametrize("facts", [{"stream": False}, {"needs_tools": True}])
def test_an_answer_that_comes_only_at_its_end_has_the_time_for_its_length(facts: dict[str, Any]) -> None:
    alone_s, whole_s, unlimited_s = after_s(), after_s(max_tokens=100, **facts), after_s(**facts)
    assert alone_s is not None
    assert whole_s == pytest.approx(alone_s + 10 * 10.0)
    assert unlimited_s == pytest.approx(alone_s + 10 * LONG_ANSWER_TOKENS / 10), "some are longer than the usual one"


def asked(speed: Speed | None, in_flight: int = 1, **facts: Any) -> Request:
    view = replace(backend(), speeds={} if speed is None else {"tiny:latest": speed}, in_flight=in_flight)
    request = Request(Operation.CHAT, Api.OLLAMA, "chat", "tiny", True, b"{}", lambda: Chat(()))
    return bears(view, only(replace(view, in_flight=0)), replace(request, **facts))


def pause_s(speed: Speed | None = KNOWN, in_flight: int = 1, **facts: Any) -> float | None:
    return asked(speed, in_flight, **facts).pause_s


def test_a_pause_within_an_answer_is_judged_by_the_time_of_a_token_and_by_the_neighbours() -> None:
    slow = replace(KNOWN, decode_tps=1.0)
    assert pause_s(slow) == pytest.approx(100)
    assert pause_s(slow, in_flight=3) == pytest.approx(150)


def test_a_quick_backend_may_pause_for_as_long_as_the_reading_of_a_neighbours_prompt_takes() -> None:
    assert pause_s(replace(KNOWN, decode_tps=1000.0)) == LEAST_PAUSE_S


@pytest.mark.parametrize(
    ("speed", "facts"),
    [
        (None, {}),
        (replace(KNOWN, samples=2), {}),
        (replace(KNOWN, decode_tps=None), {}),
        (replace(KNOWN, guessed=frozenset({"decode_tps"})), {}),
        (KNOWN, {"needs_tools": True}),
    ],
    ids=["never seen", "seen too rarely", "speed unknown", "shown by its kin alone", "a call may come whole"],
)
def test_otherwise_the_configured_pause_counts(speed: Speed | None, facts: dict[str, Any]) -> None:
    assert pause_s(speed, **facts) is None


@pytest.mark.parametrize("facts", [{}, {"stream": False}, {"needs_tools": True}])
def test_an_answer_in_one_piece_that_has_begun_goes_on_at_once_or_as_fast_as_it_is_written(
    facts: dict[str, Any],
) -> None:
    fast, slow = replace(KNOWN, decode_tps=1000.0), replace(KNOWN, decode_tps=1.0)
    assert asked(fast, **facts).whole_pause_s == LEAST_WHOLE_PAUSE_S
    assert asked(slow, in_flight=3, **facts).whole_pause_s == pytest.approx(150)
    assert asked(None, **facts).whole_pause_s == LEAST_PAUSE_S, "of an unknown one the body is sent as steadily"
