"""What the doctor found, and how bad it is."""

from enum import IntEnum
from typing import NamedTuple


class Level(IntEnum):
    """How bad it is; the worst is the exit status."""

    OK = 0
    WARNING = 1
    ERROR = 2


class Finding(NamedTuple):
    """What was found about a subject of CHECKS, and what to do about it if anything is to be done."""

    level: Level
    says: str
    do: str = ""
    subject: str = ""
