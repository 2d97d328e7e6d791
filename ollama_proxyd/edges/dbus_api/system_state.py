"""ie.fio.OllamaProxy.SystemState: battery, power profile, quiet hours, and what Auto makes of them."""

from collections.abc import Callable
from typing import Any

from dbus_fast import Variant

from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import SystemState, known
from ollama_proxyd.edges.dbus_api.contract import ROOT_PATH, contract
from ollama_proxyd.edges.dbus_api.exported import Exported
from ollama_proxyd.edges.dbus_api.following import promptly
from ollama_proxyd.edges.dbus_api.heat import mean_fan, mean_temperature
from ollama_proxyd.edges.dbus_api.signals import PropertyEmitter, SignalSender
from ollama_proxyd.edges.dbus_api.values import Facts, Plain, int32
from ollama_proxyd.services.bundle import Services


def _percent(system: SystemState) -> int | None:
    percent = known(system.battery_percent)
    return None if percent is None else int32(percent)


_SIGNALS: dict[str, Callable[[SystemState], Any]] = {
    "PowerSourceChanged": lambda system: known(system.on_battery),
    "BatteryLevelChanged": _percent,
    "QuietHoursChanged": lambda system: known(system.quiet_hours),
}
"""Which reading each signal tells."""


class SystemStateObject:
    """The object /ie/fio/OllamaProxy/SystemState."""

    def __init__(self, services: Services, sender: SignalSender) -> None:
        self._system = services.system
        self._governor = services.governor
        self.exported = Exported(
            path=f"{ROOT_PATH}/SystemState",
            contract=contract("SystemState"),
            values=self._values,
            methods={
                "GetSystemState": lambda: _facts(self._system.value),
                "GetAutoModeReasoning": self._reasoning,
                "IsQuietHours": lambda: known(self._system.value.quiet_hours) is True,
            },
        )
        self._last_known = {signal: reading(self._system.value) for signal, reading in _SIGNALS.items()}
        self._emitter = PropertyEmitter(self.exported.path, self.exported.contract, sender, self._values())

    async def follow(self) -> None:
        """Tell every change from now on; never returns."""
        await promptly(self._system, self._tell)

    def _tell(self, system: SystemState) -> None:
        self._emitter.update(self._values())
        for signal, reading in _SIGNALS.items():
            before, now = self._last_known[signal], reading(system)
            if now is None or now == before:
                continue
            self._last_known[signal] = now
            if before is not None:
                self._emitter.signal(signal, now)

    def _values(self) -> dict[str, Any]:
        system, plain = self._system.value, Plain()
        plain.read("BatteryPercent", "i", system.battery_percent)
        plain.read("OnBattery", "b", system.on_battery)
        plain.read("QuietHours", "b", system.quiet_hours)
        plain.read("PowerProfile", "s", system.power_profile)
        return {**plain.values, "Unknown": plain.unknown}

    def _reasoning(self) -> str:
        setting = self._governor.imagine(Mode.AUTO)
        return f"{setting.effective.value}: {setting.reason}"


def _facts(system: SystemState) -> dict[str, Variant]:
    facts = Facts()
    facts.read("battery_percent", "i", system.battery_percent)
    facts.read("on_battery", "b", system.on_battery)
    facts.read("battery_state", "s", system.battery_state)
    facts.read("battery_warning", "s", system.battery_warning)
    facts.read("battery_rate_watts", "d", system.battery_rate_w)
    facts.read("time_to_empty_seconds", "x", system.time_to_empty_s)
    facts.read("avg_temp", "d", mean_temperature(system))
    facts.read("hottest_temp", "d", system.hottest_c)
    facts.read("avg_fan_speed", "i", mean_fan(system))
    facts.read("highest_fan_speed", "i", system.fan_percent)
    facts.read("quiet_hours", "b", system.quiet_hours)
    facts.read("power_profile", "s", system.power_profile)
    facts.read("performance_degraded", "s", system.performance_degraded)
    facts.read("games", "i", system.games)
    facts.read("cpu_percent", "d", system.cpu_percent)
    facts.read("memory_available_bytes", "x", system.memory_available_bytes)
    return facts.body()
