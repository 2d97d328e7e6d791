"""What UPower, power-profiles-daemon and GameMode say of the laptop; nothing is ever set there."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from ollama_proxyd.core.readings import Unavailable
from ollama_proxyd.edges.plumbing.dbus_properties import NotRunning, Properties, Remote, Service
from ollama_proxyd.edges.sensors.bus_sensor import BusSource, Heard, Parts

log = logging.getLogger(__name__)

UPOWER: Final = Service("org.freedesktop.UPower", "UPower", package="upower", unit="upower", starts=True)
DAEMON: Final = Remote(UPOWER, "/org/freedesktop/UPower", "org.freedesktop.UPower")
BATTERY: Final = Remote(UPOWER, "/org/freedesktop/UPower/devices/DisplayDevice", "org.freedesktop.UPower.Device")
"""All batteries of the machine together, as a desktop shows them."""
BATTERY_TYPES: Final = {2, 3}
"""A battery, or an uninterruptible power supply, which is one outside the case."""
NUMBER: Final = (int, float)
STATES: Final[Mapping[int, str]] = {
    1: "charging",
    2: "discharging",
    3: "empty",
    4: "fully-charged",
    5: "pending-charge",  # on the mains and not charging: a charge threshold
    6: "pending-discharge",
}
WARNINGS: Final[Mapping[int, str]] = {1: "none", 2: "discharging", 3: "low", 4: "critical", 5: "action"}
BATTERY_PARTS: Final = (
    "battery_percent",
    "battery_state",
    "battery_warning",
    "battery_rate_w",
    "battery_full_wh",
    "time_to_empty_s",
)

PROFILES: Final = "power-profiles-daemon"
PROFILE_NAMES: Final = (
    ("org.freedesktop.UPower.PowerProfiles", "/org/freedesktop/UPower/PowerProfiles"),
    ("net.hadess.PowerProfiles", "/net/hadess/PowerProfiles"),
)
"""The present name and the one before version 0.20; newer versions own both."""
PROFILE_PARTS: Final = {"power_profile": "ActiveProfile", "performance_degraded": "PerformanceDegraded"}

GAMEMODE: Final = Service("com.feralinteractive.GameMode", "GameMode", package="gamemode")
GAMES: Final = Remote(GAMEMODE, "/com/feralinteractive/GameMode", "com.feralinteractive.GameMode")


def _not_reported(source: str, detail: str) -> Unavailable:
    return Unavailable.because("not_reported", source=source, detail=detail)


NO_BATTERY: Final = Unavailable.because("no_battery")
NO_RATE: Final = _not_reported("UPower", "the battery's rate yet")
NO_CAPACITY: Final = _not_reported("UPower", "how much the battery holds")
NO_TIME: Final = _not_reported("UPower", "the time until the battery is empty yet")
NOT_DISCHARGING: Final = Unavailable.because("not_discharging")


def _property(said: Properties | Unavailable, name: str, kind: type | tuple[type, ...], absent: Any) -> Any:
    """A property of this type, else why there is none: each is read for itself, and a bool is no number."""
    if isinstance(said, Unavailable):
        return said
    value = said.get(name)
    return value if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)) else absent


def _number(battery: Properties, name: str) -> float:
    """A property that is a number, 0 where there is none."""
    return float(_property(battery, name, NUMBER, 0.0))


def read_upower(heard: Heard) -> Parts:
    """The power source and the battery.

    Only OnBattery tells whether the machine runs on its battery: one that waits at a charge threshold does not charge
    and is not discharged either.
    """
    daemon, battery = heard
    on_battery = _property(daemon, "OnBattery", bool, _not_reported("UPower", "the power source"))
    return {"on_battery": on_battery, **_battery(battery)}


def _battery(battery: Properties | Unavailable) -> Parts:
    if isinstance(battery, Unavailable):
        return dict.fromkeys(BATTERY_PARTS, battery)
    if not battery.get("IsPresent") or _property(battery, "Type", int, 0) not in BATTERY_TYPES:
        return dict.fromkeys(BATTERY_PARTS, NO_BATTERY)
    state = STATES.get(_property(battery, "State", int, 0), "")
    no_charge = _not_reported("UPower", "the battery's charge")
    no_warning = _not_reported("UPower", "the battery's warning level")
    return {
        "battery_percent": _property(battery, "Percentage", NUMBER, no_charge),
        "battery_state": state or _not_reported("UPower", "the battery's state"),
        "battery_warning": WARNINGS.get(_property(battery, "WarningLevel", int, 0), no_warning),
        "battery_rate_w": _rate_w(battery, state),
        "battery_full_wh": _number(battery, "EnergyFull") or NO_CAPACITY,
        "time_to_empty_s": _time_to_empty_s(battery, state),
    }


def _rate_w(battery: Properties, state: str) -> float | Unavailable:
    """The rate without its sign, in which drivers differ; the state tells the direction.

    Right after a change UPower says 0 until it has measured again.
    """
    rate_w = abs(_number(battery, "EnergyRate"))
    rests = state in {"fully-charged", "pending-charge"}
    return rate_w if rate_w or rests else NO_RATE


def _time_to_empty_s(battery: Properties, state: str) -> float | Unavailable:
    if state != "discharging":
        return NOT_DISCHARGING
    return _number(battery, "TimeToEmpty") or NO_TIME


def read_power_profiles(heard: Heard) -> Parts:
    """The active profile, and whether it cannot be kept up, from the first of the two names that answers."""
    said = min(heard, key=_rank)
    if not isinstance(said, Unavailable):
        log.debug("%s: %d holds", PROFILES, len(_property(said, "ActiveProfileHolds", list, ())))
    return {part: _property(said, name, str, _not_reported(PROFILES, name)) for part, name in PROFILE_PARTS.items()}


def _rank(said: Properties | Unavailable) -> int:
    """An answer comes before a reason; "no such name in this version" comes last."""
    if isinstance(said, NotRunning) and not said.is_installed:
        return 2
    return 1 if isinstance(said, Unavailable) else 0


def read_gamemode(heard: Heard) -> Parts:
    """How many games run; none do while GameMode is installed and no game has started it."""
    (said,) = heard
    if isinstance(said, NotRunning) and said.is_installed:
        return {"games": 0}
    return {"games": _property(said, "ClientCount", int, _not_reported("GameMode", "how many games run"))}


POWER: Final = BusSource("upower", (DAEMON, BATTERY), ("on_battery", *BATTERY_PARTS), read_upower)
POWER_PROFILES: Final = BusSource(
    "power_profiles",
    tuple(
        Remote(Service(name, PROFILES, package=PROFILES, unit=PROFILES), path, name) for name, path in PROFILE_NAMES
    ),  # never started: it would change the profile by that alone
    tuple(PROFILE_PARTS),
    read_power_profiles,
)
GAME_COUNT: Final = BusSource("gamemode", (GAMES,), ("games",), read_gamemode)
"""On the session bus; never started, because the first game starts it."""
