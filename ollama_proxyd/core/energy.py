"""What work cost in joules, from which source that is known, and how far it may be wrong."""

from dataclasses import dataclass
from enum import Enum


class Source(Enum):
    """Where a figure of energy comes from, the best first."""

    MEASURED = "measured"
    """The device's own energy counter, while this work alone ran there."""
    ATTRIBUTED = "attributed"
    """A share of what a counter showed of several, or the power that a sensor showed at times."""
    ESTIMATED = "estimated"
    """Configured or typical watts, and the time."""


@dataclass(frozen=True, slots=True)
class Energy:
    """The joules of one attempt beyond what its device would have drawn anyway, by phase.

    Decoding begins with the first token. `error_share` is how far the sum may be wrong in either direction, as a share
    of it; None where that is unknown.
    """

    prefill_j: float = 0.0
    decode_j: float = 0.0
    load_j: float = 0.0
    """Loading the model and waking the device."""
    source: Source = Source.ESTIMATED
    error_share: float | None = None

    @property
    def total_j(self) -> float:
        """All phases together."""
        return self.prefill_j + self.decode_j + self.load_j
