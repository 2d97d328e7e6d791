"""ie.fio.OllamaProxy.Efficiency.Settings: what a person changes of Auto, over what the configuration says."""

from typing import Any

import pytest
from dbus_fast import Variant

from ollama_proxyd.core.tuning import KEYS, Tuning
from tests.edges.dbus_api.bus_desk import Desk, Program, Refused
from tests.fakes import MemoryStore

AT_FIRST = {
    "quiet_hours_enabled": True,
    "quiet_hours_start": "22:00",
    "quiet_hours_end": "07:00",
    "critical_battery_percent": 20.0,
    "low_battery_percent": 50.0,
    "full_battery_percent": 80.0,
}


async def change(program: Program, **changes: Variant) -> None:
    await program.call("Efficiency", "ChangeSettings", "a{sv}", changes)


async def settings_of(program: Program) -> tuple[dict[str, Any], list[str]]:
    values = await program.get_all("Efficiency")
    return values["Settings"], values["ChangedSettings"]


async def test_the_settings_are_those_of_the_configuration_at_first(program: Program) -> None:
    assert await settings_of(program) == (AT_FIRST, [])


async def test_a_change_is_told_once_and_kept(program: Program, store: MemoryStore) -> None:
    await change(program, quiet_hours_start=Variant("s", "23:30"), low_battery_percent=Variant("i", 40))
    changed = {"quiet_hours_start": "23:30", "low_battery_percent": 40.0}
    assert await program.heard_changes("Efficiency") == [
        {"Settings": {**AT_FIRST, **changed}, "ChangedSettings": ["quiet_hours_start", "low_battery_percent"]}
    ]
    assert store.state["settings"] == changed
    await change(program, low_battery_percent=Variant("d", 40.0))
    assert await program.heard() == []


async def test_what_was_changed_can_be_reset_one_by_one_and_as_a_whole(program: Program) -> None:
    await change(
        program,
        quiet_hours_enabled=Variant("b", False),
        critical_battery_percent=Variant("d", 10.0),
        full_battery_percent=Variant("u", 90),
    )
    await program.call("Efficiency", "ResetSettings", "as", ["critical_battery_percent"])
    _, changed = await settings_of(program)
    assert changed == ["quiet_hours_enabled", "full_battery_percent"]
    await program.call("Efficiency", "ResetSettings", "as", [])
    assert await settings_of(program) == (AT_FIRST, [])


async def test_a_value_within_another_variant_is_read_and_refused_in_words_of_the_bus(program: Program) -> None:
    await change(program, low_battery_percent=Variant("v", Variant("i", 45)))
    assert (await settings_of(program))[1] == ["low_battery_percent"]
    with pytest.raises(Refused) as caught:
        await change(program, low_battery_percent=Variant("v", Variant("s", "much")))
    assert "Variant" not in str(caught.value)
    assert "'much'" in str(caught.value)


async def test_changing_back_by_hand_is_no_change(program: Program) -> None:
    await change(program, low_battery_percent=Variant("d", 40.0))
    await change(program, low_battery_percent=Variant("d", 50.0))
    assert await settings_of(program) == (AT_FIRST, [])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hot_c": Variant("d", 60.0)}, "'hot_c' is not a setting that can be changed here; the settings are: quiet_"),
        ({"low_battery_percent": Variant("d", 100.5)}, "low_battery_percent must be a number from 0 to 100"),
        ({"low_battery_percent": Variant("d", float("nan"))}, "low_battery_percent must be a number from 0 to 100"),
        ({"low_battery_percent": Variant("b", True)}, "low_battery_percent must be a number from 0 to 100"),
        ({"low_battery_percent": Variant("s", "40")}, "low_battery_percent must be a number from 0 to 100"),
        ({"quiet_hours_start": Variant("s", "24:00")}, 'quiet_hours_start must be a time of day such as "22:00"'),
        ({"quiet_hours_end": Variant("i", 7)}, 'quiet_hours_end must be a time of day such as "22:00"'),
        ({"quiet_hours_enabled": Variant("i", 1)}, "quiet_hours_enabled must be true or false"),
        ({"critical_battery_percent": Variant("d", 50.0)}, "critical_battery_percent 50 is not below low_battery"),
        ({"quiet_hours_end": Variant("s", "22:00")}, "quiet_hours_end 22:00 is the start as well"),
    ],
)
async def test_one_bad_change_changes_nothing_and_is_refused_with_what_is_allowed(
    program: Program, store: MemoryStore, changes: dict[str, Variant], says: str
) -> None:
    with pytest.raises(Refused) as refused:
        await change(program, full_battery_percent=Variant("d", 70.0), **changes)
    assert refused.value.name == "ie.fio.OllamaProxy.Error.InvalidArgument"
    assert says in refused.value.text
    assert await settings_of(program) == (AT_FIRST, [])
    assert "settings" not in store.state


async def test_resetting_what_is_no_setting_is_refused_and_resets_nothing(program: Program) -> None:
    await change(program, low_battery_percent=Variant("d", 40.0))
    with pytest.raises(Refused, match=r"Error\.InvalidArgument: 'low' is not a setting"):
        await program.call("Efficiency", "ResetSettings", "as", ["low_battery_percent", "low"])
    assert (await settings_of(program))[1] == ["low_battery_percent"]


async def test_another_configuration_is_told_below_what_was_changed(program: Program, desk: Desk) -> None:
    await change(program, low_battery_percent=Variant("d", 40.0))
    await program.heard()
    desk.services.settings.rebase(Tuning(low_battery_percent=60.0, full_battery_percent=95.0))
    assert await program.heard_changes("Efficiency") == [
        {"Settings": {**AT_FIRST, "low_battery_percent": 40.0, "full_battery_percent": 95.0}}
    ]


def test_every_setting_is_named_by_the_contract() -> None:
    assert set(AT_FIRST) == set(KEYS)
