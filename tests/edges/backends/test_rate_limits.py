"""What a service says of how long it wants to be left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from ollama_proxyd.edges.backends.rate_limits import LONGEST_S, patience_s, rest_s

ANTHROPIC = {"remaining": "0", "reset": "2026-10-21T07:28:30Z"}
NOW = {"Date": "Wed, 21 Oct 2026 07:28:00 GMT"}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": " 0.5 "}, 0.5),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", **NOW}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:00:00 GMT", **NOW}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "9" * 5000}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After-Ms": "250", "Retry-After": "1"}, 0.25),
        ({"X-RateLimit-Remaining-Requests": "0", "X-RateLimit-Reset-Requests": "6m0s"}, 360.0),
        (
            {
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-10-21T07:28:30Z",
                **NOW,
            },
            30.0,
        ),
        ({"RateLimit": "limit=10, remaining=0, reset=7"}, 7.0),
        ({"RateLimit": '"burst";r=4;t=1, "day";r=0;t=60'}, 60.0),
        ({"RateLimit": '"day";r=10;t=60'}, None),
        ({}, None),
    ],
)
def test_a_refusal_says_when_to_come_back(headers: dict[str, str], seconds: float | None) -> None:
    assert patience_s(CIMultiDict(headers)) == seconds


@pytest.mark.parametrize(
    ("remaining", "reset", "seconds"),
    [
        ("0", "1s", 1.0),
        ("0", "120ms", pytest.approx(0.12)),
        ("0", "1h2m3.5s", 3723.5),
        ("0", "1d", 86400.0),
        ("0", "12", 12.0),
        ("-3", "12", 12.0),
        ("0.0", "12", 12.0),
        ("0", "1792567690", 10.0),
        ("0", "1792567690000", 10.0),
        ("1", "12", None),
        ("0 of many", "12", None),
        ("", "12", None),
        ("0", "", None),
        ("0", "1..s", None),
        ("0", "tomorrow", None),
    ],
)
@pytest.mark.parametrize("kind", ["X-RateLimit-{}-Requests", "x-ratelimit-{}-tokens", "RateLimit-{}", "X-RateLimit-{}"])
def test_a_limit_that_is_used_up_lasts_until_it_is_reset(
    kind: str, remaining: str, reset: str, seconds: float | None
) -> None:
    headers = {kind.format("Remaining"): remaining, kind.format("Reset"): reset, **NOW}
    assert rest_s(CIMultiDict(headers)) == seconds


def test_the_longest_of_several_limits_counts() -> None:
    told = {"requests": ("0", "2s"), "tokens": ("0", "9s"), "images": ("5", "60s")}
    headers = {f"x-ratelimit-remaining-{kind}": left for kind, (left, _) in told.items()}
    headers |= {f"x-ratelimit-reset-{kind}": reset for kind, (_, reset) in told.items()}
    assert rest_s(CIMultiDict(headers)) == 9.0


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_whatever_a_service_says_does_no_harm(remaining: str, reset: str, date: str) -> None:
    names = ("X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After", "Date")
    headers = CIMultiDict(zip(names, (remaining, reset, reset, date), strict=True))
    for seconds in (patience_s(headers), rest_s(headers)):
        assert seconds is None or 0 <= seconds <= LONGEST_S
