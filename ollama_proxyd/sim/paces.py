"""How fast a model reads and writes on a backend, by the rows that the history keeps of its answers."""

from collections.abc import Sequence
from math import sqrt
from statistics import median

from ollama_proxyd.core.history import Values
from ollama_proxyd.core.requests import Operation
from ollama_proxyd.core.values import value

LEAST_LOAD_S = 0.3
"""An engine's answer that took less loading found its model in memory."""
FAST_TPS = 1e6
"""Where only the whole time is known, all of it is taken for writing."""
TYPICAL_LOAD_S = 3.0
LEAST_SPAN = 2.0
"""Prompts tell what is spent on each alone where the long ones are so many times longer."""


@value
class Pace:
    """How one model runs on one backend; `is_measured` is False where only forecasts are known."""

    prefill_tps: float
    token_s: float
    load_s: float
    is_measured: bool
    first_s: float = 0.0
    """What a prompt takes however short it is."""


def forecast_pace(row: Values, time_s: float) -> Pace:
    """What the forecast for one request says of a pace: of embeddings it is reading, of all else mostly writing."""
    if row["operation"] == Operation.EMBEDDING.value:
        return Pace(_prompt(row) / time_s, 0.0, TYPICAL_LOAD_S, is_measured=False)
    return Pace(FAST_TPS, time_s / max(row["completion_tokens"] or 1, 1), TYPICAL_LOAD_S, is_measured=False)


def typical_pace(found: Sequence[Pace]) -> Pace:
    """What several forecasts say together."""
    prefill_tps, token_s = median(each.prefill_tps for each in found), median(each.token_s for each in found)
    return Pace(prefill_tps, token_s, TYPICAL_LOAD_S, is_measured=False)


def _prompt(row: Values) -> int:
    """The tokens that were read: what was cached was not."""
    return max(int(row["prompt_tokens"] or row["estimated_prompt_tokens"]) - (row["cached_tokens"] or 0), 1)


def measured_pace(rows: Sequence[Values]) -> Pace:
    """What the answers of one model showed; the first word of a stream divides reading from writing."""
    reading, writing = [], []
    for row in rows:
        read_s = row["prompt_s"] or (row["first_words_s"] or row["busy_s"]) - (row["load_s"] or 0.0)
        wrote_s, tokens = row["decode_s"] or row["busy_s"] - read_s - (row["load_s"] or 0.0), row["completion_tokens"]
        if read_s > 0:
            reading.append((_prompt(row), read_s))
        if tokens and tokens > 1 and wrote_s > 0:
            writing.append(wrote_s / (tokens - 1))
    loads = [row["load_s"] for row in rows if (row["load_s"] or 0.0) > LEAST_LOAD_S]
    load_s = median(loads) if loads else TYPICAL_LOAD_S
    first_s, read_s = _line(reading) if reading else (0.0, 0.0)
    prefill_tps, token_s = 1 / read_s if read_s > 0 else FAST_TPS, median(writing) if writing else 0.0
    return Pace(prefill_tps, token_s, load_s, is_measured=True, first_s=first_s)


def _line(read: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Seconds for a prompt however short, and for each token of it, from tokens and seconds of some.

    The line goes through the medians of short and of long prompts; where these are alike, all is by the token.
    """
    by_token = 0.0, median(seconds / tokens for tokens, seconds in read)
    between = sqrt(min(read)[0] * max(read)[0])
    short, long = [each for each in read if each[0] <= between], [each for each in read if each[0] > between]
    if not long:
        return by_token
    (few, fast_s), (many, slow_s) = _middle(short), _middle(long)
    if many < LEAST_SPAN * few:
        return by_token
    token_s = max((slow_s - fast_s) / (many - few), 0.0)
    first_s = fast_s - token_s * few
    return by_token if first_s < 0 else (first_s, token_s)


def _middle(read: Sequence[tuple[int, float]]) -> tuple[float, float]:
    return median(tokens for tokens, _ in read), median(seconds for _, seconds in read)
