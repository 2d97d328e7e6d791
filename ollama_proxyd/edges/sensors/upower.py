"""UPower: whether the machine runs on its battery, and what the battery says."""

from collections.abc import Mapping
from typing import Any, Final

from ollama_proxyd.core.readings import Unavailable
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from ollama_proxyd.edges.plumbing.dbus_properties import Properties, Remote, Service
from ollama_proxyd.edges.sensors.bus_sensor import BusSensor, BusSource, Heard, Parts
from ollama_proxyd.services.ports import Clock

UPOWER = Service("org.freedesktop.UPower", "UPower", package="upower", unit="upower", starts=True)
DAEMON = Remote(UPOWER, "/org/freedesktop/UPower", "org.freedesktop.UPower")
BATTERY = Remote(UPOWER, "/org/freedesktop/UPower/devices/DisplayDevice", "org.freedesktop.UPower.Device")
"""All batteries of the machine together, as a desktop shows them."""

BATTERY_TYPES: Final = {2, 3}
"""A battery, or an uninterruptible power supply, which is one outside the case."""

STATES: Final[Mapping[int, str]] = {
    1: "charging",
    2: "discharging",
    3: "empty",
    4: "fully-charged",
    5: "pending-charge",  # on the mains and not charging: a charge threshold
    6: "pending-discharge",
}
WARNINGS: Final[Mapping[int, str]] = {1: "none", 2: "discharging", 3: "low", 4: "critical", 5: "action"}


def _not_reported(what: str) -> Unavailable:
    return Unavailable.because("not_reported", source="UPower", detail=what)


NO_BATTERY: Final = Unavailable.because("no_battery")
NO_RATE: Final = _not_reported("the battery's rate yet")
NO_TIME: Final = _not_reported("the time until the battery is empty yet")
NOT_DISCHARGING: Final = Unavailable.because("not_discharging")
BATTERY_PARTS: Final = ("battery_percent", "battery_state", "battery_warning", "battery_rate_w", "time_to_empty_s")


def upower(line: BusLine, clock: Clock) -> BusSensor:
    """The sensor on the system bus."""
    return BusSensor("upower", SOURCE, line, clock)


def read(heard: Heard) -> Parts:
    """Parts of the system's state from what UPower says of itself and of the battery.

    Only OnBattery tells whether the machine runs on its battery: one that waits at a charge threshold does not charge
    and is not discharged either.
    """
    daemon, battery = heard
    return {"on_battery": _on_battery(daemon), **_battery(battery)}


def _on_battery(daemon: Properties | Unavailable) -> Any:
    if isinstance(daemon, Unavailable):
        return daemon
    value = daemon.get("OnBattery")
    return value if isinstance(value, bool) else _not_reported("the power source")


def _battery(battery: Properties | Unavailable) -> Parts:
    if isinstance(battery, Unavailable):
        return dict.fromkeys(BATTERY_PARTS, battery)
    if not battery.get("IsPresent") or battery.get("Type") not in BATTERY_TYPES:
        return dict.fromkeys(BATTERY_PARTS, NO_BATTERY)
    state = STATES.get(battery.get("State", 0), "")
    return {
        "battery_percent": battery.get("Percentage", _not_reported("the battery's charge")),
        "battery_state": state or _not_reported("the battery's state"),
        "battery_warning": WARNINGS.get(battery.get("WarningLevel", 0), _not_reported("the battery's warning level")),
        "battery_rate_w": _rate_w(battery, state),
        "time_to_empty_s": _time_to_empty_s(battery, state),
    }


def _rate_w(battery: Properties, state: str) -> float | Unavailable:
    """The rate without its sign, in which drivers differ; the state tells the direction.

    Right after a change UPower says 0 until it has measured again.
    """
    rate_w = abs(float(battery.get("EnergyRate", 0.0)))
    rests = state in {"fully-charged", "pending-charge"}
    return rate_w if rate_w or rests else NO_RATE


def _time_to_empty_s(battery: Properties, state: str) -> float | Unavailable:
    if state != "discharging":
        return NOT_DISCHARGING
    return float(battery.get("TimeToEmpty", 0)) or NO_TIME


SOURCE: Final = BusSource((DAEMON, BATTERY), ("on_battery", *BATTERY_PARTS), read)
