"""A reason as a cell of a table: its cause alone, which `backends show` and `doctor` tell in full."""

import re

MOST_CHARACTERS = 60
_WHERE = re.compile(r"\b(at )?https?://\S+ ")
_ASIDE = re.compile(r" \([^()]*\)")


def brief(state: str) -> str:
    """The state without addresses, asides and advice, cut where it is still too long."""
    cause = _ASIDE.sub("", _WHERE.sub("", state)).partition("; ")[0].replace("cannot be reached: ", "")
    return cause if len(cause) <= MOST_CHARACTERS else f"{cause[: MOST_CHARACTERS - 1]}…"


def halves(reason: str) -> tuple[str, str]:
    """A reason's cause, and its advice where it gives any."""
    cause, _, advice = reason.partition("; ")
    return cause, advice
