"""Asks the daemon over the session bus, in the words of dbus/interfaces."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from ollama_proxyd.cli.bus import BUS, MEMBER, Bus, Message, Target
from ollama_proxyd.cli.failures import Failed, Unreachable
from ollama_proxyd.cli.pictures import (
    BackendInfo,
    Efficiency,
    HoldInfo,
    InForce,
    Machine,
    ModeInfo,
    Routed,
    Served,
    Settings,
)
from ollama_proxyd.cli.wire import Variant

NAME = "ie.fio.OllamaProxy"
ROOT = "/ie/fio/OllamaProxy"
APPLICATION_ID = f"{NAME}.ctl"
PROPERTIES = "org.freedesktop.DBus.Properties"
OBJECTS = "org.freedesktop.DBus.ObjectManager"
ROUTED = "RequestRouted"
NEWS = (
    (PROPERTIES, "PropertiesChanged"),
    (OBJECTS, "InterfacesAdded"),
    (OBJECTS, "InterfacesRemoved"),
    (f"{NAME}.Routing", ROUTED),
)
"""The signals after which a picture may be another."""

MODE_KEYS = {
    "price_of_time_w": "price_of_time_watts",
    "max_power_w": "max_power_watts",
    "max_temp_c": "max_temperature_celsius",
    "max_fan_percent": "max_fan_percent",
    "max_concurrency": "max_concurrency",
}
MACHINE_KEYS = {"hottest_c": "hottest_temp", "fan_percent": "highest_fan_speed"}
"""Where the bus has another word for a part of the picture."""
BACKEND_KEYS = {
    "PowerWatts": "power_watts",
    "TemperatureCelsius": "temperature_celsius",
    "Asleep": "asleep",
    "TooHot": "too_hot",
    "TokensPerSecond": "tokens_per_second",
}
"""The parts of a backend's picture that may be unknown, by their names on the bus."""
SWITCHES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""What people write for yes and no."""


class BusDaemon:
    """The daemon that owns the name; asked by its unique name, so that no call ever starts another one."""

    via = "D-Bus"

    def __init__(self, bus: Bus, owner: str) -> None:
        self._bus = bus
        self._owner = owner

    @classmethod
    def connect(cls, address: str, *, start: bool) -> Self:
        """The daemon on a bus; raises Unreachable where there is no bus, or nobody has the name."""
        bus = Bus(address)
        try:
            if start:
                bus.start(NAME)
            owner = bus.owner_of(NAME)
        except Failed as error:
            bus.close()
            raise Unreachable(f"the session bus cannot start the daemon: {error.message}") from None
        if owner is None:
            bus.close()
            raise Unreachable(f"{NAME} is not on the session bus")
        return cls(bus, owner)

    def efficiency(self) -> Efficiency:
        """The mode in force and the modes that there are."""
        said = self._properties("Efficiency")
        holds = tuple(HoldInfo(**{name: hold[name] for name in HoldInfo.__slots__}) for hold in said["ActiveHolds"])
        modes = tuple(_mode(row) for row in said["Modes"])
        return Efficiency(InForce(said["CurrentMode"], said["EffectiveMode"], said["Reason"], holds), modes)

    def select(self, mode: str) -> None:
        """Put a mode in force."""
        self._call("Efficiency", "SetMode", "s", mode)

    def hold(self, mode: str, reason: str) -> None:
        """Hold a mode for as long as this connection lasts."""
        self._call("Efficiency", "HoldMode", "sss", mode, reason, APPLICATION_ID)

    def backends(self) -> tuple[BackendInfo, ...]:
        """Each backend, in configured order."""
        objects = {each["Id"]: each for _, each in self._backend_objects()}
        rows = self._call("Backends", "ListBackends")
        return tuple(_backend(objects[row[0]], rated_power_watts=row[5]) for row in rows if row[0] in objects)

    def enable(self, backend_id: str, enabled: bool) -> None:
        """Let a backend be used, or not; the daemon remembers it."""
        paths = {each["Id"]: path for path, each in self._backend_objects()}
        if backend_id not in paths:
            known = ", ".join(paths) or "none"
            raise Failed(f"there is no backend {backend_id!r}; configured are: {known}")
        target = Target(self._owner, paths[backend_id], PROPERTIES)
        self._bus.call(target, "Set", "ssv", f"{NAME}.Backend", "Enabled", Variant("b", enabled))

    def machine(self) -> Machine:
        """What the sensors say."""
        said = self._call("SystemState", "GetSystemState")
        keys = {name: MACHINE_KEYS.get(name, name) for name in Machine.__slots__ if name != "unknown"}
        reasons = said.get("unknown", {})
        unknown = {name: reasons[key] for name, key in keys.items() if key in reasons}
        return Machine(**{name: said.get(key) for name, key in keys.items()}, unknown=unknown)

    def served(self) -> Served:
        """The counts of the present day."""
        today = self._properties("Routing")["Today"]
        saved_j, compared = today.get("saved_joules"), today.get("compared", 0)
        return Served("today", today["requests"], today["errors"], today["energy_joules"], saved_j, compared)

    def settings(self) -> Settings:
        """When Auto takes which mode."""
        said = self._properties("Efficiency")
        return Settings(said["Settings"], tuple(said["ChangedSettings"]))

    def change_settings(self, changes: Mapping[str, str]) -> None:
        """Change some settings as a person wrote them; the daemon judges what is none of the kind that is there."""
        kinds = {key: type(value) for key, value in self.settings().settings.items()}
        typed = {key: _setting(text, kinds.get(key, str)) for key, text in changes.items()}
        self._call("Efficiency", "ChangeSettings", "a{sv}", typed)

    def reset_settings(self, keys: Sequence[str]) -> None:
        """Go back to the configuration's values, of all settings where none is named."""
        self._call("Efficiency", "ResetSettings", "as", list(keys))

    def explain(self, question: Mapping[str, Any]) -> Any:
        """Where a request would go."""
        renamed = {"power_efficient": "prefer_power_efficiency"}
        typed = {renamed.get(name, name): Variant(_signature(value), value) for name, value in question.items()}
        return json.loads(self._call("Routing", "Explain", "a{sv}", typed))

    def changes(self) -> Iterator[Routed | None]:
        """An item whenever the daemon signals; raises Unreachable when it leaves the bus."""
        rules = (
            *(f"type='signal',sender='{self._owner}',interface='{each}',member='{news}'" for each, news in NEWS),
            f"type='signal',sender='{BUS.name}',member='NameOwnerChanged',arg0='{self._owner}'",
        )
        for burst in self._bus.bursts(rules):
            members = {message.fields[MEMBER] for message in burst}
            yield from (_routed(message) for message in burst if message.fields[MEMBER] == ROUTED)
            if "NameOwnerChanged" in members:
                raise Unreachable("the daemon has left the session bus")
            if members != {ROUTED}:
                yield None

    def __enter__(self) -> Self:
        """Use it in a `with` statement."""
        return self

    def __exit__(self, *ended: object) -> None:
        """End the connection, and any hold with it."""
        self._bus.close()

    def _call(self, what: str, member: str, signature: str = "", *body: Any) -> Any:
        target = Target(self._owner, f"{ROOT}/{what}", f"{NAME}.{what}")
        return self._bus.call(target, member, signature, *body)

    def _properties(self, what: str) -> Any:
        target = Target(self._owner, f"{ROOT}/{what}", PROPERTIES)
        return self._bus.call(target, "GetAll", "s", f"{NAME}.{what}")

    def _backend_objects(self) -> list[tuple[str, Any]]:
        objects = self._bus.call(Target(self._owner, f"{ROOT}/Backends", OBJECTS), "GetManagedObjects")
        return [(path, each[f"{NAME}.Backend"]) for path, each in objects.items()]


def _mode(row: Any) -> ModeInfo:
    numbers = {name: row.get(key) for name, key in MODE_KEYS.items()}
    return ModeInfo(mode=row["token"], label=row["label"], description=row["description"], **numbers)


def _backend(each: Any, rated_power_watts: float) -> BackendInfo:
    return BackendInfo(
        id=each["Id"],
        name=each["Name"],
        hardware=each["Hardware"],
        state=each["State"],
        reason=each["Reason"] or None,
        models=tuple(each["Models"]),
        in_flight=each["InFlight"],
        rated_power_watts=_known(rated_power_watts),
        power_watts=_known(each["PowerWatts"]),
        tokens_per_second=_known(each["TokensPerSecond"]),
        temperature_celsius=_known(each["TemperatureCelsius"]),
        asleep=None if "Asleep" in each["Unknown"] else each["Asleep"],
        too_hot=None if "TooHot" in each["Unknown"] else each["TooHot"],
        enabled=each["Enabled"],
        unknown={name: each["Unknown"][key] for key, name in BACKEND_KEYS.items() if key in each["Unknown"]},
    )


def _known(value: float) -> float | None:
    """The bus has no null: an unknown number is NaN there."""
    return None if math.isnan(value) else value


def _setting(text: str, kind: type[Any]) -> Variant:
    """A setting as it was written, in the type of what is there; what is not of that type goes as a text."""
    if kind is bool and text.lower() in SWITCHES:
        return Variant("b", SWITCHES[text.lower()])
    if kind is float:
        try:
            return Variant("d", float(text))
        except ValueError:
            pass
    return Variant("s", text)


def _routed(message: Message) -> Routed:
    backend, reason, _latency_ms = message.body
    return Routed(backend, reason)


def _signature(value: str | float | bool) -> str:
    """The D-Bus type of an answer to a question; bool first, since it is an int in Python."""
    return next(code for kind, code in ((bool, "b"), (int, "x"), (float, "d"), (str, "s")) if isinstance(value, kind))
