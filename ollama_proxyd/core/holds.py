"""Holds: programs that ask for a mode for as long as they live, in the manner of power-profiles-daemon."""

from collections.abc import Iterable
from dataclasses import dataclass

from ollama_proxyd.core.modes import THRIFT, Mode

LONGEST_TEXT = 200
"""Characters of a reason and of an application id: people read them in a menu."""

MOST_OF_ONE = 4
"""Holds of one program, so that it does not take them all."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One program's wish, which ends with its owner: a unique bus name, or "http:" and the id of an open answer.

    It ends at `until_s` on the monotonic clock at the latest, which people are told as the time `ends_unix_s`.
    """

    cookie: int
    mode: Mode
    reason: str
    application_id: str
    owner: str
    until_s: float
    ends_unix_s: float


def thriftiest(holds: Iterable[Hold]) -> Hold | None:
    """The hold that counts where there are several; of equals the first."""
    return max(holds, key=lambda hold: THRIFT.index(hold.mode), default=None)
