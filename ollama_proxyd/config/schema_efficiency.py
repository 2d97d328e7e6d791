"""The shape of the file's `efficiency` section."""

from typing import Annotated, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType, field

from ollama_proxyd.config.schema_backends import NotNegative, Positive
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.thresholds import AutoSettings
from ollama_proxyd.services.settings import ModeSettings

_AUTO = AutoSettings()
_MODES = ModeSettings()

Percent: TypeAlias = Annotated[float, Meta(ge=0, le=100)]
TimeOfDay: TypeAlias = Annotated[
    str, Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$", extra={"expects": 'a time of day such as "22:00"'})
]


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a mode allows; a key that is left out keeps the mode's own value, null lifts a limit."""

    max_power_watts: Annotated[
        Positive | UnsetType | None, Meta(description="Backends that draw more watts are not used.")
    ] = UNSET
    max_temp_c: Annotated[
        Positive | UnsetType | None,
        Meta(description="Devices hotter than this, in degrees Celsius, are used only where no other can serve."),
    ] = UNSET
    max_fan_percent: Annotated[
        Percent | UnsetType | None,
        Meta(
            description="Devices whose fan runs faster than this, in percent, are used only where no other can serve."
        ),
    ] = UNSET
    max_concurrency: Annotated[
        Annotated[int, Meta(ge=1)] | UnsetType | None, Meta(description="Requests under way at the same time.")
    ] = UNSET


class ModeLimits(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a mode asks for; a key that is left out keeps the mode's own value, null lifts a limit."""

    price_of_time_watts: Annotated[
        Annotated[float, Meta(ge=0)] | UnsetType,
        Meta(
            description="What one second of a person's waiting is worth, in watts; higher is faster, lower thriftier."
        ),
    ] = UNSET


class Modes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rows of the table of modes that differ from the defaults."""

    performance: Annotated[ModeLimits, Meta(description="The fastest answer, whatever it costs.")] = field(
        default_factory=ModeLimits, name=Mode.PERFORMANCE.value
    )
    balanced: Annotated[ModeLimits, Meta(description="A quick answer at a fair cost.")] = field(
        default_factory=ModeLimits, name=Mode.BALANCED.value
    )
    efficiency: Annotated[ModeLimits, Meta(description="Less energy for a slower answer.")] = field(
        default_factory=ModeLimits, name=Mode.EFFICIENCY.value
    )
    quiet: Annotated[ModeLimits, Meta(description="Slow fans and a cool lap.")] = field(
        default_factory=ModeLimits, name=Mode.QUIET.value
    )
    auto: Annotated[
        Limits,
        Meta(description="Follows the machine: these limits hold besides those of the mode that it takes."),
    ] = field(default_factory=Limits, name=Mode.AUTO.value)
    ultra_efficiency: Annotated[ModeLimits, Meta(description="The least energy that gives an answer.")] = field(
        default_factory=ModeLimits, name=Mode.ULTRA_EFFICIENCY.value
    )


class Auto(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The numbers that the Auto mode compares the machine's state with."""

    critical_battery_percent: Annotated[
        Percent, Meta(description="On battery below this charge, in percent, Auto takes UltraEfficiency at once.")
    ] = _AUTO.critical_battery_percent
    low_battery_percent: Annotated[
        Percent, Meta(description="On battery below this charge, in percent, Auto takes Efficiency.")
    ] = _AUTO.low_battery_percent
    full_battery_percent: Annotated[
        Percent, Meta(description="On mains power above this charge, in percent, Auto takes Performance.")
    ] = _AUTO.full_battery_percent
    battery_margin_percent: Annotated[
        Percent, Meta(description="How far the battery must come back past a charge before Auto leaves its mode.")
    ] = _AUTO.battery_margin_percent
    hot_c: Annotated[
        Positive, Meta(description="Above this temperature, in degrees Celsius, Auto takes Efficiency.")
    ] = _AUTO.hot_c
    critical_c: Annotated[
        Positive, Meta(description="Above this temperature, in degrees Celsius, Auto does so at once.")
    ] = _AUTO.critical_c
    heat_margin_c: Annotated[
        NotNegative, Meta(description="How far below a temperature the device must cool before Auto leaves its mode.")
    ] = _AUTO.heat_margin_c
    loud_fan_percent: Annotated[Percent, Meta(description="Above this fan speed, in percent, Auto takes Quiet.")] = (
        _AUTO.loud_fan_percent
    )
    fan_margin_percent: Annotated[
        Percent, Meta(description="How far below that speed the fan must slow down before Auto leaves Quiet.")
    ] = _AUTO.fan_margin_percent
    dwell_s: Annotated[
        Annotated[float, Meta(ge=0, le=3600)],
        Meta(description="Seconds that a mode stays at least, unless battery or heat turn critical."),
    ] = _AUTO.dwell_s


class QuietTimes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hours of the day, in local time, in which the Auto mode takes Quiet."""

    enabled: Annotated[bool, Meta(description="Whether there are quiet hours.")] = True
    start: Annotated[TimeOfDay, Meta(description="When they begin, in local time.")] = "22:00"
    end: Annotated[TimeOfDay, Meta(description="When they end, in local time; it may be on the next day.")] = "07:00"


class Efficiency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The efficiency modes."""

    default_mode: Annotated[
        Mode, Meta(description="The mode until one is chosen; a choice is remembered over restarts.")
    ] = Mode.BALANCED
    modes: Annotated[Modes, Meta(description="What each mode asks for.")] = field(default_factory=Modes)
    auto: Annotated[Auto, Meta(description="When the Auto mode takes which mode.")] = field(default_factory=Auto)
    quiet_hours: Annotated[QuietTimes, Meta(description="When the Auto mode takes Quiet.")] = field(
        default_factory=QuietTimes
    )
    max_holds: Annotated[int, Meta(ge=0, le=10_000, description="Programs that may hold a mode at the same time.")] = (
        _MODES.max_holds
    )
