"""The program that asks: its name, and how that is known."""

from dataclasses import dataclass
from enum import Enum


class KnownBy(Enum):
    """How a program's name is known."""

    FLATPAK = "flatpak"
    UNIT = "unit"
    """The systemd unit or scope that it runs in."""
    EXECUTABLE = "executable"
    GUESS = "guess"
    """It calls itself so."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Program:
    """A program by its name; where it is not known, the name is empty."""

    name: str = ""
    known_by: KnownBy = KnownBy.UNKNOWN


UNKNOWN = Program()
