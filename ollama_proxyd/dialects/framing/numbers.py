"""Numbers that a backend tells of itself, believed only where they can be true."""

from ollama_proxyd.core.requests import Json

MOST = 2**53
"""Below it every reader of JSON holds whole numbers exactly; no duration in nanoseconds comes near."""
MOST_TOKENS = 2**25
"""As many as the largest request has bytes; a larger count would outweigh a year in the books."""

_NS_PER_S = 1e9
_MOST_DIGITS = 15


def count(told: Json) -> int | None:
    """A whole number from 0 on, which some engines write as text; None for anything else."""
    if type(told) is int and 0 <= told < MOST:  # as nearly all are
        return told
    if isinstance(told, str):
        told = int(told) if len(told) <= _MOST_DIGITS and told.isascii() and told.isdigit() else None
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 <= told < MOST:
        return None
    return int(told) if int(told) == told else None


def token_count(told: Json) -> int | None:
    """The tokens that an engine counted; None for what is no count, or more than a request or an answer can have."""
    counted = count(told)
    return counted if counted is None or counted <= MOST_TOKENS else None


def seconds(told: Json, unit_s: float) -> float | None:
    """A duration told in another unit; None where no clock shows it."""
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 <= told < MOST:
        return None
    duration_s = told * unit_s
    return duration_s if duration_s * _NS_PER_S < MOST else None
