"""How several sensors make one picture of the machine."""

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.merging import merge, without_readings
from ollama_proxyd.core.readings import (
    NO_SENSOR,
    UNKNOWN_SYSTEM,
    DeviceState,
    PowerState,
    Reading,
    Sensed,
    SystemState,
    Unavailable,
)
from tests.core.reference_profile import REFERENCE
from tests.reasons import unavailable, why

NPU, IGPU, NVIDIA, CPU = (view.spec for view in REFERENCE)
ASLEEP = unavailable("asleep")


def device(device_id: str, hardware: Hardware = Hardware.NVIDIA, at_s: float = 1.0, **values: Any) -> DeviceState:
    facts = {name: values.pop(name) for name in ("name", "power_state") if name in values}
    readings = {key: value if isinstance(value, Unavailable) else Reading(value, at_s) for key, value in values.items()}
    return DeviceState(device_id, hardware, **{"name": "", **facts}, **readings)


def of(*said: Sensed, before: SystemState = UNKNOWN_SYSTEM, specs: tuple[Any, ...] = ()) -> SystemState:
    return merge(said, before, specs)


def test_each_sensor_adds_what_it_knows() -> None:
    system = of(Sensed({"on_battery": Reading(True, 1.0)}), Sensed({"games": Reading(1, 2.0)}))
    assert (system.on_battery, system.games) == (Reading(True, 1.0), Reading(1, 2.0))
    assert system.cpu_percent is NO_SENSOR


def test_of_two_readings_the_later_counts() -> None:
    said = Sensed({"games": Reading(1, 2.0)}), Sensed({"games": Reading(0, 1.0)})
    assert of(*said).games == of(*reversed(said)).games == Reading(1, 2.0)


def test_a_reading_counts_more_than_a_reason_and_a_reason_more_than_silence() -> None:
    silent, reasoned = Sensed({"games": NO_SENSOR}), Sensed({"games": unavailable("no GameMode here")})
    assert of(silent, reasoned, Sensed({"games": Reading(0, 0.0)})).games == Reading(0, 0.0)
    assert why(of(silent, reasoned).games) == "no GameMode here"


def test_several_sensors_speak_for_one_device() -> None:
    bus = device("0000:01:00.0", Hardware.NVIDIA, name="RTX", power_state=PowerState.AWAKE)
    driver = device("0000:01:00.0", Hardware.UNKNOWN, temperature_c=60.0, power_w=12.0)
    (whole,) = of(Sensed(devices=(driver,)), Sensed(devices=(bus,))).devices
    assert (whole.hardware, whole.name, whole.power_state) == (Hardware.NVIDIA, "RTX", PowerState.AWAKE)
    assert (whole.temperature_c, whole.power_w) == (Reading(60.0, 1.0), Reading(12.0, 1.0))


def test_devices_are_in_the_order_of_their_ids_whoever_speaks_first() -> None:
    one, two = Sensed(devices=(device("b"),)), Sensed(devices=(device("a"),))
    assert of(one, two) == of(two, one)
    assert [each.id for each in of(one, two).devices] == ["a", "b"]


def test_the_hottest_is_sought_among_the_devices_of_the_backends() -> None:
    devices = (
        device("cpu", Hardware.CPU, temperature_c=90.0, fan_percent=80.0),
        device("npu", Hardware.NPU, temperature_c=50.0),
        device("gpu", Hardware.NVIDIA, temperature_c=60.0, fan_percent=30.0),
    )
    bound = of(Sensed(devices=devices), specs=(NPU, NVIDIA))
    assert (bound.hottest_c, bound.fan_percent) == (Reading(60.0, 1.0), Reading(30.0, 1.0))
    unbound = of(Sensed(devices=devices))
    assert (unbound.hottest_c, unbound.fan_percent) == (Reading(90.0, 1.0), Reading(80.0, 1.0))


def test_a_sleeping_device_takes_no_part_in_the_hottest() -> None:
    awake = device("npu", Hardware.NPU, temperature_c=50.0)
    asleep = device("gpu", Hardware.NVIDIA, temperature_c=ASLEEP)
    assert of(Sensed(devices=(awake, asleep)), specs=(NPU, NVIDIA)).hottest_c == Reading(50.0, 1.0)
    assert of(Sensed(devices=(asleep,)), specs=(NVIDIA,)).hottest_c == ASLEEP


NO_MAXIMUM = unavailable("thinkpad tells 2,400 rpm, but not the fan's maximum")
MUTE = unavailable("xe tells nothing of it")


def test_an_unknown_fan_has_the_reason_of_the_fan_that_is_there() -> None:
    mute = device("0000:00:02.0", Hardware.IGPU, fan_percent=MUTE, fan_rpm=MUTE)
    turning = device("cpu", Hardware.CPU, fan_percent=NO_MAXIMUM, fan_rpm=2400.0)
    for specs in ((), (IGPU,), (IGPU, CPU)):
        assert of(Sensed(devices=(mute, turning)), specs=specs).fan_percent == NO_MAXIMUM
    assert of(Sensed(devices=(mute,)), specs=(IGPU,)).fan_percent == MUTE


def test_the_machines_fan_counts_where_no_device_of_a_backend_has_one() -> None:
    mute = device("0000:00:02.0", Hardware.IGPU, fan_percent=MUTE, fan_rpm=MUTE)
    turning = device("cpu", Hardware.CPU, fan_percent=80.0, fan_rpm=2400.0)
    assert of(Sensed(devices=(mute, turning)), specs=(IGPU,)).fan_percent == Reading(80.0, 1.0)


def test_a_temperature_that_belongs_to_no_device_counts_where_none_is_bound() -> None:
    board = Sensed({"hottest_c": Reading(40.0, 1.0)})
    assert of(board).hottest_c == Reading(40.0, 1.0)


def test_a_value_that_did_not_change_stays_the_reading_that_it_was() -> None:
    def said(at_s: float, temp_c: float) -> Sensed:
        parts = {"cpu_percent": Reading(5.0, at_s)}
        return Sensed(parts, (device("cpu", Hardware.CPU, at_s, temperature_c=temp_c, fan_rpm=7.0),))

    first = of(said(1.0, 50.0))
    assert of(said(2.0, 50.0), before=first) == first
    warmer = of(said(3.0, 51.0), before=first)
    assert warmer.cpu_percent == Reading(5.0, 1.0)
    assert (warmer.devices[0].temperature_c, warmer.devices[0].fan_rpm) == (Reading(51.0, 3.0), Reading(7.0, 1.0))
    assert warmer.hottest_c == Reading(51.0, 3.0)


@pytest.mark.parametrize("name", ["energy_j", "power_w"])
def test_what_is_drawn_is_read_anew_also_where_it_is_the_same(name: str) -> None:
    def said(at_s: float) -> Sensed:
        return Sensed(devices=(device("cpu", Hardware.CPU, at_s, **{name: 100.0}),))

    assert getattr(of(said(2.0), before=of(said(1.0))).devices[0], name) == Reading(100.0, 2.0)


def test_a_lost_sensor_leaves_its_devices_and_takes_its_readings() -> None:
    sensed = Sensed(
        {"games": Reading(1, 1.0), "cpu_percent": ASLEEP},
        (device("gpu", name="RTX", power_state=PowerState.AWAKE, temperature_c=60.0, power_w=ASLEEP),),
    )
    gone = unavailable("stale for 95 s")
    lost = without_readings(sensed, gone)
    assert lost.system == {"games": gone, "cpu_percent": ASLEEP}
    (left,) = lost.devices
    assert (left.name, left.power_state, left.temperature_c, left.power_w) == ("RTX", PowerState.UNKNOWN, gone, ASLEEP)


def test_nothing_said_is_nothing_known() -> None:
    assert of() == UNKNOWN_SYSTEM
    assert not replace(of()).says_anything
