"""ie.fio.OllamaProxy.Efficiency: the mode, why it is in force, and who holds one."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from dbus_fast import Variant

from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.holds import LONGEST_TEXT, Hold
from ollama_proxyd.core.modes import Mode, ModeRow, ModeSetting
from ollama_proxyd.core.tuning import Tuning
from ollama_proxyd.edges.dbus_api.contract import ROOT_PATH, contract
from ollama_proxyd.edges.dbus_api.errors import (
    INVALID_ARGUMENT,
    NOT_HOLDER,
    TOO_MANY_HOLDS,
    invalid,
    read_mode,
    refused_as,
)
from ollama_proxyd.edges.dbus_api.exported import Exported, SignalSender
from ollama_proxyd.edges.dbus_api.holders import connection_of, owner_of
from ollama_proxyd.edges.dbus_api.question import plain
from ollama_proxyd.edges.dbus_api.values import facts, reason_properties, reason_values
from ollama_proxyd.edges.plumbing.dbus import Bus
from ollama_proxyd.services.bundle import Services

ICONS: Mapping[Mode, str] = {
    Mode.PERFORMANCE: "power-profile-performance-symbolic",
    Mode.BALANCED: "power-profile-balanced-symbolic",
    Mode.EFFICIENCY: "power-profile-power-saver-symbolic",
    Mode.QUIET: "weather-clear-night-symbolic",
    Mode.AUTO: "emblem-synchronizing-symbolic",
    Mode.ULTRA_EFFICIENCY: "battery-low-symbolic",
}
"""Names that every desktop's icon theme knows."""

_SIGNATURES = {bool: "b", str: "s", float: "d"}


class Efficiency:
    """The object /ie/fio/OllamaProxy/Efficiency."""

    def __init__(self, services: Services, sender: SignalSender, bus: Bus) -> None:
        self._bus = bus
        self._governor = governor = services.governor
        self._settings = services.settings
        self._store = services.store
        self.exported = Exported(
            path=f"{ROOT_PATH}/Efficiency",
            contract=contract("Efficiency"),
            sender=sender,
            values=self._values,
            methods={
                "SetMode": self._set_mode,
                "GetMode": lambda: governor.setting.value.chosen.value,
                "GetEffectiveMode": lambda: governor.setting.value.effective.value,
                "ListModes": lambda: [mode.value for mode in governor.table],
                "GetModeInfo": self._mode_info,
                "HoldMode": self._hold,
                "HoldModeFor": self._hold,
                "HoldModeUntilCharged": partial(self._hold, until_charged=True),
                "ReleaseMode": self._release,
                "ChangeSettings": self._change_settings,
                "ResetSettings": self._reset_settings,
            },
            personal=frozenset({"HoldMode", "HoldModeFor", "HoldModeUntilCharged", "ReleaseMode"}),
            setters={"CurrentMode": self._set_mode},
        )
        self._told = governor.setting.value

    async def follow(self) -> None:
        """Tell every change from now on; never returns."""
        forget = self._governor.released.listen(lambda hold: self.exported.signal("ModeReleased", hold.cookie))
        try:
            await asyncio.gather(
                self._governor.setting.follow(self._tell_setting),
                self._governor.holds.follow(self._tell_values),
                self._governor.is_charging.follow(self._tell_values),
                self._settings.tuning.follow(self._tell_values),
                self._governor.modes.follow(self._tell_values),
            )
        finally:
            forget()

    def _values(self) -> dict[str, Any]:
        setting = self._governor.setting.value
        return {
            "CurrentMode": setting.chosen.value,
            "EffectiveMode": setting.effective.value,
            **reason_properties(setting.reason),
            "Modes": [listed(mode, row) for mode, row in self._governor.table.items()],
            "Charging": self._governor.is_charging.value,
            "ActiveHolds": [_hold_facts(hold) for hold in self._governor.holds.value],
            "Settings": _settings(self._settings.tuning.value),
            "ChangedSettings": list(self._settings.changed),
        }

    def _tell_values(self, _: object) -> None:
        self.exported.tell()

    def _tell_setting(self, setting: ModeSetting) -> None:
        before, self._told = self._told, setting
        self._tell_values(setting)
        if setting.chosen is not before.chosen:
            self.exported.signal("ModeChanged", before.chosen.value, setting.chosen.value)
        if setting.effective is not before.effective:
            self.exported.signal(
                "EffectiveModeChanged", before.effective.value, setting.effective.value, *reason_values(setting.reason)
            )

    async def _set_mode(self, name: str) -> None:
        self._governor.select(read_mode(name))
        await self._store.written()

    def _mode_info(self, name: str) -> dict[str, Variant]:
        mode = read_mode(name)
        return listed(mode, self._governor.table[mode])

    async def _hold(
        self,
        caller: str,
        name: str,
        reason: str,
        application_id: str,
        duration_s: int | None = None,
        *,
        until_charged: bool = False,
    ) -> int:
        for what, text in (("reason", reason), ("application_id", application_id)):
            if len(text) > LONGEST_TEXT:
                raise invalid(f"{what} has {len(text)} characters; allowed are {LONGEST_TEXT}")
        mode, owner = read_mode(name), await owner_of(caller, self._bus)
        with refused_as({ErrorKind.OVERLOADED: TOO_MANY_HOLDS, ErrorKind.INVALID_REQUEST: INVALID_ARGUMENT}):
            return self._governor.hold(
                mode, reason, application_id, owner, duration_s, until_charged=until_charged
            ).cookie

    async def _release(self, caller: str, cookie: int) -> None:
        owner = await owner_of(caller, self._bus)
        with refused_as({ErrorKind.INVALID_REQUEST: NOT_HOLDER}):
            self._governor.release(cookie, owner)

    async def _change_settings(self, changes: Mapping[str, Variant]) -> None:
        with refused_as({ErrorKind.INVALID_REQUEST: INVALID_ARGUMENT}):
            self._settings.change({key: plain(each) for key, each in changes.items()})
        await self._store.written()

    async def _reset_settings(self, keys: list[str]) -> None:
        with refused_as({ErrorKind.INVALID_REQUEST: INVALID_ARGUMENT}):
            self._settings.reset(keys)
        await self._store.written()


def listed(mode: Mode, row: ModeRow) -> dict[str, Variant]:
    """A mode by the keys that it has over HTTP, and its icon."""
    return facts(
        {
            "mode": ("s", mode.value),
            "label": ("s", row.label),
            "description": ("s", row.description),
            "icon": ("s", ICONS[mode]),
            "price_of_time_watts": ("d", row.price_of_time_w),
            "price_of_noise": ("d", row.price_of_noise),
            "max_power_watts": ("d", row.max_power_w),
            "max_temperature_celsius": ("d", row.max_temp_c),
            "max_fan_percent": ("d", row.max_fan_percent),
            "max_concurrency": ("i", row.max_concurrency),
            "max_wait_seconds": ("d", row.max_wait_s),
            "strict": ("b", row.strict),
        }
    )


def _hold_facts(hold: Hold) -> dict[str, Variant]:
    """A hold by the keys of ActiveProfileHolds of power-profiles-daemon, and some of ours."""
    return {
        "ApplicationId": Variant("s", hold.application_id),
        "Profile": Variant("s", hold.mode.value),
        "Reason": Variant("s", hold.reason),
        "Cookie": Variant("u", hold.cookie),
        "Owner": Variant("s", connection_of(hold.owner)),
        "EndsUnixSeconds": Variant("d", hold.ends_unix_s),
        "UntilCharged": Variant("b", hold.until_charged),
    }


def _settings(tuning: Tuning) -> dict[str, Variant]:
    return {key: Variant(_SIGNATURES[type(value)], value) for key, value in asdict(tuning).items()}
