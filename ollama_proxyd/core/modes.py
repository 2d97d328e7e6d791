"""The efficiency modes: their names, and what each asks for."""

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from types import MappingProxyType
from typing import Annotated

from ollama_proxyd.core.options import NotNegative, Option, Percent, Positive, Within
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.text import LONGEST_SPELLING, nearest
from ollama_proxyd.core.values import value

_MODES = "efficiency.modes.*."


class Mode(Enum):
    """A mode's token, the same in and out everywhere; labels are separate."""

    PERFORMANCE = "Performance"
    BALANCED = "Balanced"
    EFFICIENCY = "Efficiency"
    QUIET = "Quiet"
    AUTO = "Auto"
    ULTRA_EFFICIENCY = "UltraEfficiency"

    __hash__ = object.__hash__  # looked up for each request, and Enum's own is written in Python


@value
class ModeRow:
    """What a mode asks for; a limit is None where there is none."""

    label: str
    description: str
    price_of_time_w: Annotated[
        NotNegative,
        Option(_MODES + "price_of_time_watts", "The value of one second of waiting, in watts; higher is faster."),
    ]
    price_of_noise: Annotated[
        NotNegative,
        Option(
            _MODES,
            "What a joule counts more that a fan must carry away; higher is quieter and cooler.",
        ),
    ] = 0.0
    max_power_w: Annotated[
        Positive | None,
        Option(_MODES + "max_power_watts", "Backends of more watts serve if no other can or if that saves."),
    ] = None
    max_temp_c: Annotated[
        Positive | None, Option(_MODES, "Hotter devices, in degrees Celsius, serve if no other can or if that saves.")
    ] = None
    max_fan_percent: Annotated[
        Percent | None, Option(_MODES, "Devices with a faster fan, in percent, serve if no other can or if that saves.")
    ] = None
    max_concurrency: Annotated[Annotated[int, Within(1)] | None, Option(_MODES, "The limit of requests in flight.")] = (
        None
    )
    max_wait_s: Annotated[
        NotNegative | None,
        Option(_MODES, "The longest wait for a busy backend, in seconds, before one beyond the limits serves."),
    ] = None
    strict: Annotated[bool, Option(_MODES, "Whether requests are refused instead of exceeding a limit.")] = False


ModeTable = Mapping[Mode, ModeRow]

THRIFT = (Mode.PERFORMANCE, Mode.AUTO, Mode.BALANCED, Mode.EFFICIENCY, Mode.QUIET, Mode.ULTRA_EFFICIENCY)
"""The modes from the fastest to the thriftiest; Quiet gives up time for a silent fan and a cool lap."""


@value
class ModeSetting:
    """The mode in force: what was chosen, what came of it, why, and the row that applies.

    `held` is the mode that a program holds above the chosen one, None where none does.
    """

    chosen: Mode
    effective: Mode
    reason: Reason
    row: ModeRow
    held: Mode | None = None

    @property
    def wanted(self) -> Mode:
        """The selected mode, before Auto resolves it."""
        return self.chosen if self.held is None else self.held


DEFAULT_TABLE: ModeTable = MappingProxyType(
    {
        Mode.PERFORMANCE: ModeRow(
            label="Performance",
            description="The fastest answer, whatever it costs",
            price_of_time_w=300.0,
            max_temp_c=90.0,
            max_wait_s=5.0,
        ),
        Mode.BALANCED: ModeRow(
            label="Balanced",
            description="A quick answer at a fair cost",
            price_of_time_w=7.5,
            max_power_w=60.0,
            max_temp_c=85.0,
            max_fan_percent=80.0,
            max_wait_s=15.0,
        ),
        Mode.EFFICIENCY: ModeRow(
            label="Efficiency",
            description="Less energy for a slower answer",
            price_of_time_w=4.2,
            max_power_w=15.0,
            max_temp_c=75.0,
            max_fan_percent=60.0,
            max_wait_s=30.0,
        ),
        Mode.QUIET: ModeRow(
            label="Quiet",
            description="Slow fans and a cool lap",
            price_of_time_w=1.65,
            price_of_noise=1.0,
            max_power_w=15.0,
            max_temp_c=70.0,
            max_fan_percent=40.0,
            max_wait_s=30.0,
        ),
        Mode.AUTO: ModeRow(
            label="Auto",
            description="Follows the battery, the heat and the power profile",
            price_of_time_w=7.5,  # shown only: a request is priced by the mode that Auto chose
            max_temp_c=85.0,
        ),
        Mode.ULTRA_EFFICIENCY: ModeRow(
            label="Ultra Efficiency",
            description="Least energy, however slow",
            price_of_time_w=0.05,
            max_power_w=10.0,
            max_temp_c=65.0,
            max_fan_percent=30.0,
            max_concurrency=2,
            max_wait_s=120.0,
        ),
    }
)

LIMITS = ("max_power_w", "max_temp_c", "max_fan_percent", "max_concurrency", "max_wait_s")


def row_in_force(wanted: Mode, effective: Mode, table: ModeTable) -> ModeRow:
    """The row that applies; of Auto's limits and its mode's, the stricter counts."""
    row = table[effective]
    if wanted is not Mode.AUTO:
        return row
    stricter = {name: limit for name in LIMITS if (limit := getattr(table[wanted], name)) is not None}
    changed = {name: limit for name, limit in stricter.items() if (own := getattr(row, name)) is None or limit < own}
    if table[wanted].strict and not row.strict:
        changed["strict"] = True
    return replace(row, **changed) if changed else row


_SPELLINGS: Mapping[str, Mode] = {
    **{mode.value.lower(): mode for mode in Mode},
    "ultra efficiency": Mode.ULTRA_EFFICIENCY,
    "ultra-efficiency": Mode.ULTRA_EFFICIENCY,
    "ultra_efficiency": Mode.ULTRA_EFFICIENCY,
}


def parse_mode(text: str) -> Mode:
    """The mode that a person or a file names, without regard to case; raises ValueError that names what is allowed."""
    text = text.strip()[: LONGEST_SPELLING + 1]
    mode = _SPELLINGS.get(text.lower())
    if mode is not None:
        return mode
    allowed = ", ".join(mode.value for mode in Mode)
    near = nearest(text, _SPELLINGS, 0.5)
    hint = f"; did you mean {_SPELLINGS[near].value}?" if near else ""
    raise ValueError(f"{text[:LONGEST_SPELLING]!r} is not an efficiency mode; allowed are {allowed}{hint}")
