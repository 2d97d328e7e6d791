"""ie.fio.OllamaProxy.SystemState: battery, power profile, quiet hours, and what Auto makes of them."""

from typing import Any

from dbus_fast import Variant

from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import SystemState, known
from ollama_proxyd.edges.dbus_api.contract import ROOT_PATH, contract
from ollama_proxyd.edges.dbus_api.exported import Exported, SignalSender
from ollama_proxyd.edges.dbus_api.heat import overall_heat
from ollama_proxyd.edges.dbus_api.values import facts, properties
from ollama_proxyd.services.bundle import Services

_SIGNALS = {
    "PowerSourceChanged": "OnBattery",
    "BatteryLevelChanged": "BatteryPercent",
    "QuietHoursChanged": "QuietHours",
}
"""The property that each signal tells."""


class SystemStateObject:
    """The object /ie/fio/OllamaProxy/SystemState."""

    def __init__(self, services: Services, sender: SignalSender) -> None:
        self._system = services.system
        self._governor = services.governor
        self.exported = Exported(
            path=f"{ROOT_PATH}/SystemState",
            contract=contract("SystemState"),
            sender=sender,
            values=self._values,
            methods={
                "GetSystemState": lambda: _facts(self._system.value),
                "GetAutoModeReasoning": self._reasoning,
                "IsQuietHours": lambda: known(self._system.value.quiet_hours) is True,
            },
        )
        self._last_known = self._known()

    async def follow(self) -> None:
        """Tell every change from now on; never returns."""
        await self._system.follow(self._tell)

    def _tell(self, _: SystemState) -> None:
        self.exported.tell()
        now = self._known()
        for signal, value in now.items():
            if self._last_known.get(signal, value) != value:
                self.exported.signal(signal, value)
        self._last_known |= now

    def _known(self) -> dict[str, Any]:
        """What each signal would tell now; nothing for what is not known."""
        values = self._values()
        return {signal: values[name] for signal, name in _SIGNALS.items() if name not in values["Unknown"]}

    def _values(self) -> dict[str, Any]:
        return properties(contract("SystemState"), self._system.value)

    def _reasoning(self) -> str:
        setting = self._governor.imagine(Mode.AUTO)
        return f"{setting.effective.value}: {setting.reason}"


def _facts(system: SystemState) -> dict[str, Variant]:
    together = overall_heat(system)
    return facts(
        {
            "battery_percent": ("i", system.battery_percent),
            "on_battery": ("b", system.on_battery),
            "battery_state": ("s", system.battery_state),
            "battery_warning": ("s", system.battery_warning),
            "battery_rate_watts": ("d", system.battery_rate_w),
            "battery_full_watt_hours": ("d", system.battery_full_wh),
            "time_to_empty_seconds": ("x", system.time_to_empty_s),
            "avg_temp": ("d", together.average_temperature),
            "hottest_temp": ("d", system.hottest_c),
            "avg_fan_speed": ("i", together.average_fan_speed),
            "highest_fan_speed": ("i", system.fan_percent),
            "quiet_hours": ("b", system.quiet_hours),
            "power_profile": ("s", system.power_profile),
            "performance_degraded": ("s", system.performance_degraded),
            "games": ("i", system.games),
            "cpu_percent": ("d", system.cpu_percent),
            "memory_available_bytes": ("x", system.memory_available_bytes),
        }
    )
