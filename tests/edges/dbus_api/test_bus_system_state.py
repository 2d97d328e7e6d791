"""ie.fio.OllamaProxy.SystemState: the battery, the hour, and what Auto makes of them."""

import pytest

from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import DeviceState
from tests.edges.dbus_api.bus_desk import Desk, Program
from tests.reasons import unavailable


async def test_without_a_sensor_nothing_is_made_up(program: Program) -> None:
    values = await program.get_all("SystemState")
    assert values.pop("Unknown").keys() == {"BatteryPercent", "OnBattery", "QuietHours", "PowerProfile"}
    assert values == {"BatteryPercent": -1, "OnBattery": False, "QuietHours": False, "PowerProfile": ""}
    state = await program.call("SystemState", "GetSystemState")
    assert state.keys() == {"unknown"}
    assert {"battery_percent", "on_battery", "avg_temp", "avg_fan_speed", "quiet_hours"} <= state["unknown"].keys()


async def test_the_state_has_what_scripts_of_old_expect_and_more(program: Program, desk: Desk) -> None:
    desk.sense(on_battery=True, battery_percent=79.6, quiet_hours=False, power_profile="balanced", games=1)
    desk.sense_device(DeviceState("cpu", Hardware.CPU, "A CPU"), temperature_c=60.0, fan_percent=40.0)
    state = await program.call("SystemState", "GetSystemState")
    del state["unknown"]
    assert state == {
        "battery_percent": 80,
        "on_battery": True,
        "avg_temp": 60.0,
        "avg_fan_speed": 40,
        "quiet_hours": False,
        "power_profile": "balanced",
        "games": 1,
    }


async def test_the_charger_is_told_once_and_never_when_it_merely_becomes_known(program: Program, desk: Desk) -> None:
    desk.sense(on_battery=False)
    assert await program.heard_named() == []
    desk.sense(on_battery=True)
    assert await program.heard_named() == [("PowerSourceChanged", True)]
    desk.clock.advance(1)
    desk.sense(on_battery=True)
    assert await program.heard() == []
    desk.sense(on_battery=unavailable("upower is gone"))
    assert await program.heard_named() == []
    desk.sense(on_battery=False)
    assert await program.heard_named() == [("PowerSourceChanged", False)]


async def test_the_battery_is_told_by_whole_percents(program: Program, desk: Desk) -> None:
    told = []
    for percent in (50.0, 49.8, 49.4, 49.2, 48.0):
        desk.sense(battery_percent=percent)
        told += await program.heard_named()
    assert told == [("BatteryLevelChanged", 49), ("BatteryLevelChanged", 48)]


async def test_the_quiet_hours_are_told_when_they_begin_and_end(program: Program, desk: Desk) -> None:
    desk.sense(quiet_hours=False)
    await program.heard()
    desk.sense(quiet_hours=True)
    assert await program.heard_named() == [("QuietHoursChanged", True)]
    assert await program.call("SystemState", "IsQuietHours") is True
    desk.sense(quiet_hours=False)
    assert await program.heard_named() == [("QuietHoursChanged", False)]


async def test_a_change_says_only_what_has_changed(program: Program, desk: Desk) -> None:
    desk.sense(on_battery=False, battery_percent=60.0)
    await program.heard()
    desk.sense(on_battery=True)
    assert await program.heard_changes("SystemState") == [{"OnBattery": True}]


@pytest.mark.parametrize("chosen", [Mode.BALANCED, Mode.AUTO])
async def test_autos_reasoning_has_the_numbers_whatever_is_chosen(program: Program, desk: Desk, chosen: Mode) -> None:
    desk.services.governor.select(chosen)
    desk.sense(on_battery=True, battery_percent=43.0)
    desk.services.governor.observe(desk.services.system.value)
    reasoning = await program.call("SystemState", "GetAutoModeReasoning")
    assert reasoning == "Efficiency: on battery at 43 %, below 50 %"


async def test_a_low_charge_on_mains_is_not_called_critical(program: Program, desk: Desk) -> None:
    desk.sense(on_battery=False, battery_percent=5.0)
    desk.services.governor.observe(desk.services.system.value)
    assert (await program.call("SystemState", "GetAutoModeReasoning")).startswith("Balanced: on mains power")
