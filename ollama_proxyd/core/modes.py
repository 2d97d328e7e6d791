"""The efficiency modes: rows of a table, and how Auto chooses among them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Mode(Enum):
    """A mode's token, the same in and out everywhere; labels are separate."""

    PERFORMANCE = "Performance"
    BALANCED = "Balanced"
    EFFICIENCY = "Efficiency"
    QUIET = "Quiet"
    AUTO = "Auto"
    ULTRA_EFFICIENCY = "UltraEfficiency"


@dataclass(frozen=True, slots=True)
class ModeRow:
    """What a mode asks for.

    `price_of_time_w` is what one second of a person's waiting is worth, in watts. Limits are None where there is
    none; `max_fan_percent` and `max_temp_c` bound the device that would serve, `max_concurrency` the requests
    under way.
    """

    label: str
    description: str
    price_of_time_w: float
    max_power_w: float | None = None
    max_temp_c: float | None = None
    max_fan_percent: float | None = None
    max_concurrency: int | None = None


ModeTable = Mapping[Mode, ModeRow]


@dataclass(frozen=True, slots=True)
class ModeSetting:
    """The mode in force: what was chosen, what Auto made of it, why (one sentence), and the row that applies."""

    chosen: Mode
    effective: Mode
    reason: str
    row: ModeRow
