"""What work cost in joules, from which source that is known, and how far it may be wrong."""

from collections.abc import Sequence
from enum import Enum
from functools import reduce
from typing import Final, NamedTuple

from ollama_proxyd.core.values import value

ESTIMATE_ERROR: Final = 0.5
"""Of what configured or typical watts tell: laptops of one class differ by as much, and so do loads."""


class Source(Enum):
    """Where a figure of energy comes from, the best first."""

    MEASURED = "measured"
    """The device's own energy counter, while this work alone ran there."""
    ATTRIBUTED = "attributed"
    """A share of what a counter showed of several, or the power that a sensor showed at times."""
    ESTIMATED = "estimated"
    """Configured or typical watts, and the time."""

    __hash__ = object.__hash__  # each joule is entered under it, and Enum's own is written in Python


class Account(Enum):
    """What a device's energy was spent on."""

    ACTIVE = "active"
    """The attempts that ran on it."""
    IDLE_TAIL = "idle_tail"
    """A model in its memory, or its driver's context, with nothing under way."""
    BASE = "base"
    """What it would have drawn anyway."""

    __hash__ = object.__hash__  # as above


@value
class Energy:
    """The joules of one attempt beyond what its device would have drawn anyway, by phase.

    Decoding begins with the first token. `error_share` is how far the sum may be wrong in either direction, as a share
    of it.
    """

    prefill_j: float = 0.0
    decode_j: float = 0.0
    load_j: float = 0.0
    """Loading the model and waking the device."""
    source: Source = Source.ESTIMATED
    error_share: float = ESTIMATE_ERROR

    @property
    def total_j(self) -> float:
        """All phases together."""
        return self.prefill_j + self.decode_j + self.load_j

    @property
    def error_j(self) -> float:
        """How far that may be wrong."""
        return self.total_j * self.error_share

    @property
    def error_percent(self) -> int:
        """The same in whole percent, as clients are told."""
        return round(100 * self.error_share)


def sum_up(energies: Sequence[Energy]) -> Energy | None:
    """What several attempts cost together, None where there were none."""
    if len(energies) <= 1:
        return energies[0] if energies else None
    total_j = sum([each.total_j for each in energies])
    error_j = sum([each.error_j for each in energies])
    return Energy(
        sum([each.prefill_j for each in energies]),
        sum([each.decode_j for each in energies]),
        sum([each.load_j for each in energies]),
        reduce(worst, [each.source for each in energies]),
        error_j / total_j if total_j > 0 else ESTIMATE_ERROR,
    )


def worst(one: Source, other: Source) -> Source:
    """The source of a sum of two figures."""
    return max(one, other, key=_ORDER.index)


_ORDER = list(Source)


class Interval(NamedTuple):
    """The time between two readings of a device, as far as is known without them."""

    base_j: float | None
    """What the device would have drawn anyway; None where that was never seen."""
    tail_j: float
    """Expected of what lies in its memory unused."""
    active_j: float
    """Expected of the attempts."""
    is_shared: bool
    """Whether other programs work there too: the processor's package."""


class Split(NamedTuple):
    """Joules by account."""

    base_j: float
    tail_j: float
    active_j: float


def split(energy_j: float, expected: Interval) -> Split:
    """Whose the joules are that a device drew; the parts are never below zero, and their sum is what it drew.

    What other programs do is told from our own work by the base alone. So where nothing of ours runs, what is beyond
    the expected is theirs; a card has no other users to speak of. Where the base is unknown, no more is taken for work
    in a shared device than work is expected to need.
    """
    base_j = min(energy_j, expected.base_j or 0.0)
    rest_j = energy_j - base_j
    if not expected.active_j:
        is_all = expected.tail_j > 0 and not expected.is_shared
        tail_j = rest_j if is_all else min(rest_j, expected.tail_j)
        return Split(energy_j - tail_j, tail_j, 0.0)
    tail_j = min(rest_j, expected.tail_j)
    active_j = rest_j - tail_j
    if expected.base_j is None and expected.is_shared:
        active_j = min(active_j, expected.active_j)
    return Split(energy_j - tail_j - active_j, tail_j, active_j)
