"""ie.fio.OllamaProxy.Thermal: heat, fans and throttling, and a warning when a device becomes hot."""

import asyncio
from typing import Any

from dbus_fast import Variant

from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import DeviceState, Maybe, Reading, SystemState, Unavailable, known
from ollama_proxyd.edges.dbus_api.contract import ROOT_PATH, contract
from ollama_proxyd.edges.dbus_api.errors import UNKNOWN_HARDWARE, unknown
from ollama_proxyd.edges.dbus_api.exported import Exported, SignalSender
from ollama_proxyd.edges.dbus_api.following import calmly
from ollama_proxyd.edges.dbus_api.heat import device_rows, old_device_rows, overall_heat, read_at_s, throttling
from ollama_proxyd.edges.dbus_api.values import facts, number, properties
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.ports import Clock

_NEVER_READ = Unavailable.because("never_read")
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
            sender=sender,
            values=self._values,
            methods={
                "GetThermalState": lambda: _summary(self._system.value),
                "GetHardwareState": self._hardware,
                "GetThermalThresholds": self._thresholds,
                "IsThrottling": lambda: bool(throttling(self._system.value)),
            },
        )
        self._throttling = throttling(self._system.value)
        self._hot = self._now_hot(self._system.value, frozenset())

    async def follow(self) -> None:
        """Tell every change from now on; never returns."""
        await asyncio.gather(
            self._system.follow(self._tell),
            calmly(self._system, lambda _: self.exported.tell(), self._clock),
        )

    def _tell(self, system: SystemState) -> None:
        self.exported.tell(measured=False)
        before, self._throttling = self._throttling, throttling(system)
        for device_id in sorted(self._throttling - before):
            self.exported.signal("ThrottlingStarted", device_id)
        for device_id in sorted(before - self._throttling):
            self.exported.signal("ThrottlingStopped", device_id)
        was_hot, self._hot = self._hot, self._now_hot(system, self._hot)
        for device in system.devices:
            if device.id in self._hot - was_hot:
                self.exported.signal("ThermalWarning", device.id, number(known(device.temperature_c)))

    def _now_hot(self, system: SystemState, before: frozenset[str]) -> frozenset[str]:
        """Devices above the warning; one that was is so until it is known to be cooler by the margin."""
        auto = self._governor.modes.value.auto
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
            raise unknown(
                UNKNOWN_HARDWARE, name, "device", (f"{device.id} ({device.hardware.value})" for device in devices)
            )
        device = max(named, key=_heat)
        at_s = read_at_s(device)
        ago_s = None if at_s is None else self._clock.monotonic() - at_s
        updated_at = _NEVER_READ if ago_s is None else self._clock.unix() - ago_s
        return facts({**old_device_rows(device), "updated_at": ("x", updated_at)})

    def _thresholds(self) -> dict[str, Variant]:
        auto = self._governor.modes.value.auto
        return facts(
            {
                "temp_warning": ("d", auto.hot_c),
                "temp_critical": ("d", auto.critical_c),
                "temp_shutdown": ("d", _first_to_protect_itself(self._system.value)),
                "fan_quiet": ("i", self._fan_limit(Mode.QUIET)),
                "fan_moderate": ("i", self._fan_limit(Mode.EFFICIENCY)),
                "fan_loud": ("i", auto.loud_fan_percent),
            }
        )

    def _fan_limit(self, mode: Mode) -> float | Unavailable:
        limit = self._governor.table[mode].max_fan_percent
        return Unavailable.because("no_fan_limit", mode=mode.value) if limit is None else limit

    def _values(self) -> dict[str, Any]:
        system = self._system.value
        devices = [facts(device_rows(device)) for device in system.devices]
        return {**properties(contract("Thermal"), overall_heat(system)), "Devices": devices}


def _heat(device: DeviceState) -> float:
    temperature_c = known(device.temperature_c)
    return float("-inf") if temperature_c is None else temperature_c


def _first_to_protect_itself(system: SystemState) -> Maybe[float]:
    readings = [device.critical_c for device in system.devices if isinstance(device.critical_c, Reading)]
    return min(readings, key=lambda reading: reading.value, default=_NO_LIMIT)


def _summary(system: SystemState) -> dict[str, Variant]:
    together = overall_heat(system)
    with_thermometer = sum(isinstance(device.temperature_c, Reading) for device in system.devices)
    return facts(
        {
            "average_temperature": ("d", together.average_temperature),
            "average_fan_speed": ("i", together.average_fan_speed),
            "throttling_active": ("b", together.throttling_active),
            "monitored_count": ("i", with_thermometer),
        }
    )
