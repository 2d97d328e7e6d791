"""ie.fio.OllamaProxy.Thermal: heat, fans and throttling, and a warning when a device becomes hot."""

import asyncio
from collections.abc import Mapping
from typing import Any

from dbus_fast import Variant

from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import DeviceState, Maybe, Reading, SystemState, Unavailable, known
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.edges.dbus_api.contract import ROOT_PATH, contract
from ollama_proxyd.edges.dbus_api.errors import unknown_hardware
from ollama_proxyd.edges.dbus_api.exported import Exported
from ollama_proxyd.edges.dbus_api.following import calmly, promptly
from ollama_proxyd.edges.dbus_api.heat import (
    all_devices,
    any_throttling,
    device_facts,
    mean_fan,
    mean_temperature,
    read_at_s,
    throttling,
)
from ollama_proxyd.edges.dbus_api.signals import PropertyEmitter, SignalSender
from ollama_proxyd.edges.dbus_api.values import Facts, Plain, number, reason_facts
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.ports import Clock

_NO_LIMIT = Unavailable.because("no_device_reports", detail="at which temperature it protects itself")


class Thermal:
    """The object /ie/fio/OllamaProxy/Thermal."""

    def __init__(self, services: Services, sender: SignalSender, clock: Clock) -> None:
        self._system = services.system
        self._governor = services.governor
        self._clock = clock
        self.exported = Exported(
            path=f"{ROOT_PATH}/Thermal",
            contract=contract("Thermal"),
            values=lambda: {**_steady(self._system.value), **_measured(self._system.value)},
            methods={
                "GetThermalState": lambda: _summary(self._system.value),
                "GetHardwareState": self._hardware,
                "GetThermalThresholds": self._thresholds,
                "IsThrottling": lambda: bool(throttling(self._system.value)),
            },
        )
        self._throttling = throttling(self._system.value)
        self._hot = self._now_hot(self._system.value, frozenset())
        self._emitter = PropertyEmitter(self.exported.path, self.exported.contract, sender, self.exported.values())

    async def follow(self) -> None:
        """Tell every change from now on; never returns."""
        await asyncio.gather(
            promptly(self._system, self._tell),
            calmly(self._system, lambda system: self._emitter.update(_measured(system)), self._clock),
        )

    def _tell(self, system: SystemState) -> None:
        self._emitter.update(_steady(system))
        before, self._throttling = self._throttling, throttling(system)
        for device_id in sorted(self._throttling - before):
            self._emitter.signal("ThrottlingStarted", device_id)
        for device_id in sorted(before - self._throttling):
            self._emitter.signal("ThrottlingStopped", device_id)
        was_hot, self._hot = self._hot, self._now_hot(system, self._hot)
        for device in system.devices:
            if device.id in self._hot - was_hot:
                self._emitter.signal("ThermalWarning", device.id, number(known(device.temperature_c)))

    def _now_hot(self, system: SystemState, before: frozenset[str]) -> frozenset[str]:
        """Devices above the warning; one that was is so until it is known to be cooler by the margin."""
        auto = self._governor.auto_settings
        hot = set()
        for device in system.devices:
            limit_c = auto.hot_c - auto.heat_margin_c if device.id in before else auto.hot_c
            temperature_c = known(device.temperature_c)
            if device.id in before if temperature_c is None else temperature_c > limit_c:
                hot.add(device.id)
        return frozenset(hot)

    def _hardware(self, name: str) -> dict[str, Variant]:
        devices = self._system.value.devices
        named = [device for device in devices if name in {device.id, device.hardware.value}]
        if not named:
            raise unknown_hardware(name, (f"{device.id} ({device.hardware.value})" for device in devices))
        device = max(named, key=_heat)
        facts, at_s = device_facts(device), read_at_s(device)
        if at_s is None:
            facts.lack("updated_at", Reason("never_read"))
        else:
            facts.say("updated_at", "x", self._clock.unix() - (self._clock.monotonic() - at_s))
        return facts.body()

    def _thresholds(self) -> dict[str, Variant]:
        auto, table, facts = self._governor.auto_settings, self._governor.table, Facts()
        facts.say("temp_warning", "d", auto.hot_c)
        facts.say("temp_critical", "d", auto.critical_c)
        facts.read("temp_shutdown", "d", _first_to_protect_itself(self._system.value))
        for key, mode in (("fan_quiet", Mode.QUIET), ("fan_moderate", Mode.EFFICIENCY)):
            limit = table[mode].max_fan_percent
            if limit is None:
                facts.lack(key, Reason("no_fan_limit", mode=mode.value))
            else:
                facts.say(key, "i", limit)
        facts.say("fan_loud", "i", auto.loud_fan_percent)
        return facts.body()


def _heat(device: DeviceState) -> float:
    temperature_c = known(device.temperature_c)
    return float("-inf") if temperature_c is None else temperature_c


def _first_to_protect_itself(system: SystemState) -> Maybe[float]:
    readings = [device.critical_c for device in system.devices if isinstance(device.critical_c, Reading)]
    return min(readings, key=lambda reading: reading.value, default=_NO_LIMIT)


def _steady(system: SystemState) -> Mapping[str, Any]:
    return {"ThrottlingActive": bool(throttling(system))}


def _measured(system: SystemState) -> Mapping[str, Any]:
    plain = Plain()
    plain.read("AverageTemperature", "d", mean_temperature(system))
    plain.read("AverageFanSpeed", "i", mean_fan(system))
    if isinstance(now := any_throttling(system), Unavailable):
        plain.unknown["ThrottlingActive"] = reason_facts(now.reason)
    return {**plain.values, "Devices": all_devices(system), "Unknown": plain.unknown}


def _summary(system: SystemState) -> dict[str, Variant]:
    facts = Facts()
    facts.read("average_temperature", "d", mean_temperature(system))
    facts.read("average_fan_speed", "i", mean_fan(system))
    facts.read("throttling", "b", any_throttling(system))
    with_thermometer = sum(isinstance(device.temperature_c, Reading) for device in system.devices)
    facts.say("monitored_count", "i", with_thermometer)
    return facts.body()
