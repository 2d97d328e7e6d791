"""Holds: programs that ask for a mode for as long as they live, in the manner of power-profiles-daemon."""

from collections.abc import Iterable

from ollama_proxyd.core.modes import THRIFT, Mode
from ollama_proxyd.core.values import value

LONGEST_TEXT = 200
"""Characters of a reason and of an application id: people read them in a menu."""

MOST_OF_ONE = 4
"""Holds of one program, so that it does not take them all."""


HOLD = "/"
"""What stands in an owner between its program and the hold, where a program has many owners."""


@value
class Hold:
    """One program's wish, which ends with its owner: the program with its connection to the bus or an open answer.

    It ends at `until_s` on the monotonic clock, with what the machine has slept, at the latest; people are told that as
    the time `ends_unix_s`.
    """

    cookie: int
    mode: Mode
    reason: str
    application_id: str
    owner: str
    until_s: float
    ends_unix_s: float
    until_charged: bool = False
    """Whether it ends before, once the battery is full or the charger is unplugged."""

    @property
    def program(self) -> str:
        """Whose hold it is."""
        return program_of(self.owner)


def program_of(owner: str) -> str:
    """The program that an owner belongs to."""
    return owner.partition(HOLD)[0]


def thriftiest(holds: Iterable[Hold]) -> Hold | None:
    """The hold that counts where there are several; of equals the first."""
    return max(holds, key=lambda hold: THRIFT.index(hold.mode), default=None)
