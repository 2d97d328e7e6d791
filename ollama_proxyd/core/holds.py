"""Holds: programs that ask for a mode for as long as they live, in the manner of power-profiles-daemon."""

from collections.abc import Iterable
from dataclasses import dataclass

from ollama_proxyd.core.modes import THRIFT, Mode

LONGEST_TEXT = 200
"""Characters of a reason and of an application id: people read them in a menu."""

MOST_OF_ONE = 4
"""Holds of one owner, so that no single program takes them all."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One program's wish, which ends with its owner: a unique bus name, or "http:" and the id of an open answer."""

    cookie: int
    mode: Mode
    reason: str
    application_id: str
    owner: str


def thriftiest(holds: Iterable[Hold]) -> Hold | None:
    """The hold that counts where there are several; of equals the first."""
    return max(holds, key=lambda hold: THRIFT.index(hold.mode), default=None)
