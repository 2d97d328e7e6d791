"""How fast answers came of late, from the last requests in the books."""

from collections.abc import Sequence

from ollama_proxyd.core.values import value
from ollama_proxyd.services.ledger import Ledger, Outcome

WINDOW_S = 10.0
"""Over so long tokens per second are taken."""
RECENT_S = 900.0
"""Answers that ended longer ago say nothing of how it is now."""


@value
class Rates:
    """Of the answers that ended lately; None where none showed it."""

    answers: int
    ttft_s: float | None
    """From the arrival of a request to its first words, of streams."""
    token_s: float | None
    """From one token to the next one, of streams."""
    tokens_per_s: float
    """Of answers that have ended, by their engine's count."""


def rates(ledger: Ledger, now_unix_s: float) -> Rates:
    """How it is now."""
    recent = [each for each in ledger.recent() if each.succeeded and now_unix_s - each.unix_s <= RECENT_S]
    return Rates(
        len(recent),
        _mean([each.ttft_s for each in recent if each.ttft_s is not None]),
        _mean([pace for each in recent if (pace := _token_s(each)) is not None]),
        sum(_tokens_in_window(each, now_unix_s) for each in recent) / WINDOW_S,
    )


def _token_s(outcome: Outcome) -> float | None:
    tokens = outcome.usage.completion_tokens
    if outcome.ttft_s is None or not tokens or tokens < 2:
        return None
    return max(outcome.total_s - outcome.ttft_s, 0.0) / (tokens - 1)


def _tokens_in_window(outcome: Outcome, now_unix_s: float) -> float:
    """The share of its tokens that was written within the window, if they came evenly."""
    tokens, took_s = outcome.usage.completion_tokens or 0, outcome.total_s - (outcome.ttft_s or outcome.queue_wait_s)
    age_s = max(now_unix_s - outcome.unix_s, 0.0)
    if age_s >= WINDOW_S:
        return 0.0
    return tokens if took_s <= 0 else tokens * min((WINDOW_S - age_s) / took_s, 1.0)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
