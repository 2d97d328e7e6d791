"""What UPower's words mean, and what its silences mean."""

import pytest

from ollama_proxyd.core.readings import Unavailable
from ollama_proxyd.edges.plumbing.dbus_properties import NotRunning, Properties
from ollama_proxyd.edges.sensors.bus_sensor import Parts
from ollama_proxyd.edges.sensors.desktop_services import (
    BATTERY_PARTS,
    NO_BATTERY,
    NO_RATE,
    NO_TIME,
    NOT_DISCHARGING,
    POWER,
)
from ollama_proxyd.edges.sensors.desktop_services import read_upower as read
from tests.reasons import because

DISCHARGING = {
    "IsPresent": True,
    "Type": 2,
    "State": 2,
    "Percentage": 43.0,
    "WarningLevel": 1,
    "EnergyRate": 8.5,
    "EnergyFull": 57.3,
    "TimeToEmpty": 7200,
}
WITHOUT_BATTERY = {"IsPresent": False, "Type": 0, "State": 0, "Percentage": 0.0, "WarningLevel": 0}


def parts(on_battery: bool = True, **battery: object) -> Parts:
    return read(({"OnBattery": on_battery}, {**DISCHARGING, **battery}))


def test_a_battery_in_use_is_read_whole() -> None:
    assert parts() == {
        "on_battery": True,
        "battery_percent": 43.0,
        "battery_state": "discharging",
        "battery_warning": "none",
        "battery_rate_w": 8.5,
        "battery_full_wh": 57.3,
        "time_to_empty_s": 7200.0,
    }


def test_the_parts_that_are_promised_are_those_that_are_read() -> None:
    assert tuple(parts()) == POWER.parts


def test_a_battery_that_waits_at_its_charge_threshold_is_not_in_use() -> None:
    waiting = parts(on_battery=False, State=5, Percentage=80.0, EnergyRate=0.0, TimeToEmpty=0)
    assert waiting["on_battery"] is False
    assert waiting["battery_state"] == "pending-charge"
    assert waiting["battery_rate_w"] == 0.0


def test_only_upower_itself_says_whether_the_machine_is_on_battery() -> None:
    """A full battery may be drained a little on the mains, and a weak charger may not keep up."""
    assert parts(on_battery=False, State=2)["on_battery"] is False


@pytest.mark.parametrize("state", [1, 2])
def test_a_rate_of_zero_while_energy_flows_is_not_known_yet(state: int) -> None:
    assert parts(State=state, EnergyRate=0.0)["battery_rate_w"] == NO_RATE


def test_a_full_battery_at_rest_has_a_rate_of_zero() -> None:
    assert parts(on_battery=False, State=4, EnergyRate=0.0)["battery_rate_w"] == 0.0


def test_a_rate_with_a_sign_is_read_without_it() -> None:
    assert parts(EnergyRate=-12.0)["battery_rate_w"] == 12.0


def test_no_time_to_empty_means_that_it_is_not_known_yet() -> None:
    assert parts(TimeToEmpty=0)["time_to_empty_s"] == NO_TIME


def test_a_battery_that_is_charged_will_not_be_empty() -> None:
    assert parts(State=1, TimeToEmpty=0)["time_to_empty_s"] == NOT_DISCHARGING


@pytest.mark.parametrize(("level", "word"), [(1, "none"), (3, "low"), (4, "critical"), (5, "action")])
def test_warnings_are_upowers_words(level: int, word: str) -> None:
    assert parts(WarningLevel=level)["battery_warning"] == word


def test_a_machine_without_battery_says_so_and_is_still_not_on_battery() -> None:
    read_parts = read(({"OnBattery": False}, WITHOUT_BATTERY))
    assert read_parts["on_battery"] is False
    assert {read_parts[name] for name in BATTERY_PARTS} == {NO_BATTERY}


def test_a_battery_compartment_that_is_empty_is_no_battery() -> None:
    assert parts(on_battery=False, IsPresent=False)["battery_percent"] == NO_BATTERY


def test_the_battery_of_a_mouse_is_not_the_machines() -> None:
    assert parts(on_battery=False, Type=5)["battery_percent"] == NO_BATTERY


def test_a_power_supply_outside_the_case_counts_as_a_battery() -> None:
    assert parts(Type=3)["battery_percent"] == 43.0


@pytest.mark.parametrize("field", ["State", "WarningLevel", "Percentage"])
def test_what_upower_leaves_out_is_absent_and_takes_nothing_else_away(field: str) -> None:
    battery = {name: value for name, value in DISCHARGING.items() if name != field}
    read_parts = read(({"OnBattery": True}, battery))
    absent = {name for name, value in read_parts.items() if isinstance(value, Unavailable)}
    part = {"State": "battery_state", "WarningLevel": "battery_warning", "Percentage": "battery_percent"}[field]
    assert part in absent
    assert read_parts["on_battery"] is True
    assert read_parts["battery_rate_w"] == 8.5


def test_without_upower_every_part_says_why() -> None:
    gone = NotRunning(because("UPower is not running"), is_installed=True)
    assert read((gone, gone)) == dict.fromkeys(POWER.parts, gone)


def test_a_daemon_that_does_not_say_whether_it_is_on_battery_is_not_taken_for_no() -> None:
    strange: Properties = {}
    assert isinstance(read((strange, DISCHARGING))["on_battery"], Unavailable)


@pytest.mark.parametrize("odd", ["much", True, ["much"], {"much": 1}, None])
@pytest.mark.parametrize("field", ["Percentage", "State", "WarningLevel", "EnergyRate", "EnergyFull", "TimeToEmpty"])
def test_what_upower_says_in_another_type_is_absent_and_takes_nothing_else_away(field: str, odd: object) -> None:
    without = {name: value for name, value in DISCHARGING.items() if name != field}
    assert read(({"OnBattery": True}, {**DISCHARGING, field: odd})) == read(({"OnBattery": True}, without))
