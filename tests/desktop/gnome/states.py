"""Daemons in every state that a person can see, as the bus tells them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dbus_fast import Variant

from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.edges.dbus_api.efficiency import listed

Values = Mapping[str, Variant]
MODES = Variant("aa{sv}", [listed(mode, DEFAULT_TABLE[mode]) for mode in Mode])
APPLICATION = "org.example.Calls"
"""A program that the session knows, with an icon."""
OWN = "ie.fio.OllamaProxy.Extension"
AT_1540 = 1_800_027_600.0


@dataclass(frozen=True)
class State:
    """What a daemon tells, and what the tile says of it in English."""

    subtitle: str
    efficiency: Values
    backends: Mapping[str, Values]
    others: Mapping[str, Values] = field(default_factory=dict)


def mode(chosen: str, effective: str = "", code: str = "as_chosen", holds: Any = (), **details: Variant) -> Values:
    return {
        "CurrentMode": Variant("s", chosen),
        "EffectiveMode": Variant("s", effective or chosen),
        "Reason": Variant("s", "a reason"),
        "ReasonCode": Variant("s", code),
        "ReasonDetails": Variant("a{sv}", details),
        "Modes": MODES,
        "ActiveHolds": Variant("aa{sv}", list(holds)),
        "Charging": Variant("b", True),
    }


def backend(name: str, hardware: str, health: str = "up", **more: Variant) -> Values:
    told: dict[str, Variant] = {
        "Id": Variant("s", hardware),
        "Name": Variant("s", name),
        "Hardware": Variant("s", hardware),
        "Health": Variant("s", health),
        "Reason": Variant("s", ""),
        "Enabled": Variant("b", True),
        "InFlight": Variant("i", 0),
        "LoadedModels": Variant("as", ["qwen3:4b"]),
    }
    return {**told, **more}


def hold(application: str, profile: str, until_charged: bool = False) -> Values:
    return {
        "ApplicationId": Variant("s", application),
        "Profile": Variant("s", profile),
        "Reason": Variant("s", "a call is on"),
        "EndsUnixSeconds": Variant("d", AT_1540),
        "UntilCharged": Variant("b", until_charged),
    }


FLEET = {
    "npu": backend("Intel NPU", "npu"),
    "igpu": backend("Intel Arc", "igpu"),
    "nvidia": backend("NVIDIA GeForce RTX 4060 Laptop", "nvidia"),
    "cpu": backend("Processor", "cpu"),
}
ANSWERING = {"InFlight": Variant("i", 1), "TokensPerSecond": Variant("d", 23.0), "PowerWatts": Variant("d", 12.0)}
REFUSED = {"Reason": Variant("s", "refused"), "ReasonCode": Variant("s", "fails_refused")}
SLOW = {"Reason": Variant("s", "it is busy"), "ReasonCode": Variant("s", "fails_busy")}
HOT = {"TooHot": Variant("b", True), "TemperatureCelsius": Variant("d", 97.0)}
DAY = {
    "requests": Variant("x", 40),
    "energy_joules": Variant("d", 5400.0),
    "energy_source": Variant("s", "estimated"),
    "energy_error_joules": Variant("d", 1350.0),
    "saved_joules": Variant("d", 2540.0),
    "compared": Variant("x", 40),
}
ROUTING = {"Routing": {"Today": Variant("a{sv}", DAY), "Endpoint": Variant("s", "http://127.0.0.1:8080")}}
BATTERY = {"battery_percent": Variant("d", 43.0), "limit_percent": Variant("d", 50.0)}


def all_down() -> Mapping[str, Values]:
    return {id_: {**told, "Health": Variant("s", "down"), **REFUSED} for id_, told in FLEET.items()}


def state(
    subtitle: str, efficiency: Values, backends: Mapping[str, Values] = FLEET, fleet: Values | None = None
) -> State:
    return State(subtitle, efficiency, backends, ROUTING if fleet is None else {**ROUTING, "Backends": fleet})


ENGINES = {
    "Engines": Variant(
        "aa{sv}",
        [
            {
                "backend": Variant("s", "cpu"),
                "model": Variant("s", "Qwen2.5-Coder-7B"),
                "phase": Variant("s", "loading"),
                "loaded_percent": Variant("x", 40),
            }
        ],
    ),
    "EnginesEnded": Variant(
        "aa{sv}",
        [
            {
                "backend": Variant("s", "nvidia"),
                "model": Variant("s", "gpt-oss-20b"),
                "reason": Variant("s", "the process of gpt-oss-20b ended unasked: killed for lack of memory"),
                "reason_code": Variant("s", "engine_ended"),
                "reason_details": Variant("a{sv}", {"detail": Variant("s", "killed for lack of memory")}),
            }
        ],
    ),
}


STATES: Mapping[str, State] = {
    **{
        f"mode-{each.value.lower()}": state(DEFAULT_TABLE[each].label, mode(each.value))
        for each in Mode
        if each is not Mode.AUTO
    },
    "auto": state(
        "Efficiency", {**mode("Auto", "Efficiency", "battery_low", **BATTERY), "Charging": Variant("b", False)}
    ),
    "answering": state("Balanced", mode("Balanced"), {**FLEET, "igpu": {**FLEET["igpu"], **ANSWERING}}),
    "trouble": state(
        "Balanced",
        mode("Balanced"),
        {
            **FLEET,
            "npu": {**FLEET["npu"], **HOT},
            "igpu": {**FLEET["igpu"], **SLOW},
            "nvidia": {**FLEET["nvidia"], "Health": Variant("s", "down"), **REFUSED},
        },
    ),
    "throttling": state(
        "Quiet",
        mode("Auto", "Quiet", "hot", temperature_celsius=Variant("d", 92.0)),
        {**FLEET, "cpu": {**FLEET["cpu"], **HOT, **ANSWERING}},
    ),
    "engines": state("Balanced", mode("Balanced"), fleet=ENGINES),
    "no-backend-up": state("No backend is up", mode("Balanced"), all_down()),
    "no-backends": state("No backends", mode("Balanced"), {}),
    "hold-of-a-program": state(
        "Quiet",
        mode("Performance", "Quiet", "held", [hold(APPLICATION, "Quiet")], application_id=Variant("s", APPLICATION)),
    ),
    "hold-for-an-hour": state(
        "Performance",
        mode("Balanced", "Performance", "held", [hold(OWN, "Performance")], application_id=Variant("s", OWN)),
    ),
    "hold-until-charged": state(
        "Performance",
        mode("Balanced", "Performance", "held", [hold(OWN, "Performance", True)], application_id=Variant("s", OWN)),
    ),
}
