"""Numbers that backends tell of themselves are believed only where they can be true."""

import pytest

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.numbers import MOST_TOKENS, count, seconds, token_count


@pytest.mark.parametrize(
    "told", [-1, 2**53, 10**400, -(10**400), 1.5, 1e308, True, "", "3.5", "-3", "³", "1" * 20, None, [], {}]
)
def test_what_counts_nothing_is_not_told(told: Json) -> None:
    assert count(told) is None


@pytest.mark.parametrize(("told", "known"), [(0, 0), (7, 7), (2**53 - 1, 2**53 - 1), (3.0, 3), ("3", 3)])
def test_a_count_is_a_whole_number_perhaps_as_text(told: Json, known: int) -> None:
    assert count(told) == known
    assert isinstance(count(told), int)


@pytest.mark.parametrize("told", [-1, -0.5, 1e308, 10**400, True, "3", None, [], {}, float("inf"), float("nan")])
def test_what_no_clock_shows_is_not_told(told: Json) -> None:
    assert seconds(told, unit_s=1e-3) is None


def test_a_duration_is_in_seconds() -> None:
    assert seconds(1500, unit_s=1e-3) == pytest.approx(1.5)
    assert seconds(0, unit_s=1e-9) == 0.0


@pytest.mark.parametrize("told", [MOST_TOKENS + 1, 10**12, 2.0**40, "1" * 12, -1, True, None])
def test_more_tokens_than_a_request_has_bytes_are_not_told(told: Json) -> None:
    assert token_count(told) is None
    assert token_count(MOST_TOKENS) == MOST_TOKENS
