"""ie.fio.OllamaProxy.Thermal: heat as far as it is known, and each warning once."""

import math

import pytest

from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.readings import DeviceState, PowerState
from tests.edges.dbus_api.bus_desk import Desk, Program, Refused
from tests.reasons import unavailable

CPU = DeviceState("cpu", Hardware.CPU, "A CPU")
GPU = DeviceState("0000:01:00.0", Hardware.NVIDIA, "A GPU", PowerState.AWAKE)


async def test_without_a_sensor_nothing_is_made_up(program: Program) -> None:
    state = await program.call("Thermal", "GetThermalState")
    assert state.pop("unknown").keys() == {"average_temperature", "average_fan_speed", "throttling_active"}
    assert state == {"monitored_count": 0}
    values = await program.get_all("Thermal")
    assert math.isnan(values["AverageTemperature"])
    assert values["AverageFanSpeed"] == -1
    assert values["Unknown"].keys() == {"AverageTemperature", "AverageFanSpeed", "ThrottlingActive"}
    assert values["Devices"] == []


async def test_the_state_is_the_mean_of_what_is_known(program: Program, desk: Desk) -> None:
    desk.sense_device(CPU, temperature_c=60.0, fan_percent=40.0, throttling="")
    desk.sense_device(GPU, temperature_c=70.0)
    assert await program.call("Thermal", "GetThermalState") == {
        "average_temperature": 65.0,
        "average_fan_speed": 40,
        "throttling_active": False,
        "monitored_count": 2,
    }
    values = await program.get_all("Thermal")
    assert (values["AverageTemperature"], values["AverageFanSpeed"], values["Unknown"]) == (65.0, 40, {})
    assert [device["id"] for device in values["Devices"]] == ["cpu", "0000:01:00.0"]


async def test_a_device_is_found_by_its_id_and_by_its_class(program: Program, desk: Desk) -> None:
    desk.sense_device(
        GPU, temperature_c=70.0, fan_rpm=2100.0, fan_percent=35.0, power_w=41.5, utilisation_percent=80.0, throttling=""
    )
    desk.clock.advance(5)
    for name in ("0000:01:00.0", "nvidia"):
        state = await program.call("Thermal", "GetHardwareState", "s", name)
        assert {key: state[key] for key in state if key != "unknown"} == {
            "id": "0000:01:00.0",
            "hardware": "nvidia",
            "name": "A GPU",
            "asleep": False,
            "temperature": 70.0,
            "fan_rpm": 2100,
            "fan_percent": 35,
            "power_draw": 41.5,
            "utilization": 80,
            "throttling": "",
            "updated_at": int(desk.clock.unix()) - 5,
        }
        assert state["unknown"].keys() == {"critical_temperature", "memory_used", "memory_total"}


async def test_of_a_class_the_hottest_is_meant(program: Program, desk: Desk) -> None:
    other = DeviceState("0000:02:00.0", Hardware.NVIDIA, "Another GPU")
    desk.sense_device(GPU, temperature_c=50.0)
    desk.sense_device(other, temperature_c=55.0)
    assert (await program.call("Thermal", "GetHardwareState", "s", "nvidia"))["name"] == "Another GPU"


async def test_an_unknown_device_is_refused_with_those_that_there_are(program: Program, desk: Desk) -> None:
    desk.sense_device(GPU, temperature_c=50.0)
    with pytest.raises(Refused, match=r"the devices are: 0000:01:00\.0 \(nvidia\)") as refused:
        await program.call("Thermal", "GetHardwareState", "s", "tpu")
    assert refused.value.name == "ie.fio.OllamaProxy.Error.UnknownHardware"


async def test_the_thresholds_are_those_that_auto_uses(program: Program, desk: Desk) -> None:
    thresholds = await program.call("Thermal", "GetThermalThresholds")
    assert thresholds.pop("unknown").keys() == {"temp_shutdown"}
    assert thresholds == {
        "temp_warning": 75.0,
        "temp_critical": 90.0,
        "fan_quiet": 40,
        "fan_moderate": 60,
        "fan_loud": 70,
    }
    desk.sense_device(CPU, critical_c=105.0)
    desk.sense_device(GPU, critical_c=93.0)
    assert (await program.call("Thermal", "GetThermalThresholds"))["temp_shutdown"] == 93.0


async def test_a_warning_comes_once_and_again_only_after_it_was_cooler(program: Program, desk: Desk) -> None:
    told = []
    for temperature_c in (74.0, 75.5, 76.0, 74.5, 75.5, 69.0, 80.0):
        desk.sense_device(GPU, temperature_c=temperature_c)
        told += await program.heard_named()
    assert told == [("ThermalWarning", "0000:01:00.0", 75.5), ("ThermalWarning", "0000:01:00.0", 80.0)]


async def test_a_sensor_that_is_silent_for_a_while_is_no_reason_to_warn_again(program: Program, desk: Desk) -> None:
    desk.sense_device(GPU, temperature_c=80.0)
    await program.heard()
    desk.sense_device(GPU, temperature_c=unavailable("stale"))
    await program.heard()
    desk.sense_device(GPU, temperature_c=80.0)
    assert await program.heard_named() == []


async def test_throttling_is_told_when_it_starts_and_when_it_stops(program: Program, desk: Desk) -> None:
    desk.sense_device(CPU, throttling="")
    assert await program.call("Thermal", "IsThrottling") is False
    await program.heard()
    desk.sense_device(CPU, throttling="heat")
    news = await program.heard()
    assert ("Thermal", "ThrottlingStarted", ["cpu"]) in news
    assert [body[1] for where, member, body in news if (where, member) == ("Thermal", "PropertiesChanged")] == [
        {"ThrottlingActive": True}
    ]
    assert await program.call("Thermal", "IsThrottling") is True
    desk.sense_device(CPU, throttling="power brake")
    assert await program.heard_named() == []
    desk.sense_device(CPU, throttling="")
    assert await program.heard_named() == [("ThrottlingStopped", "cpu")]


async def test_temperatures_are_told_at_most_five_times_a_second(program: Program, desk: Desk) -> None:
    told = []
    for step in range(100):
        desk.sense_device(CPU, temperature_c=30.0 + step / 10)
        await program.settle()
        desk.clock.advance(0.01)
        told += [change["AverageTemperature"] for change in await program.heard_changes("Thermal")]
    desk.clock.advance(1)
    told += [change["AverageTemperature"] for change in await program.heard_changes("Thermal")]
    assert 5 <= len(told) <= 7
    assert told[-1] == pytest.approx(39.9)
