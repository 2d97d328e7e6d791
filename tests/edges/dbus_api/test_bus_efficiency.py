"""ie.fio.OllamaProxy.Efficiency, called as scripts of old call it."""

from dataclasses import replace
from types import MappingProxyType

import pytest
from dbus_fast import Variant

from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.services.settings import ModeSettings
from tests.edges.dbus_api.bus_desk import Desk, Program, Refused
from tests.fakes import FakeBackend, MemoryStore

TOKENS = ["Performance", "Balanced", "Efficiency", "Quiet", "Auto", "UltraEfficiency"]


async def test_each_mode_that_is_listed_can_be_set_and_comes_back_the_same(program: Program) -> None:
    modes = await program.call("Efficiency", "ListModes")
    assert modes == TOKENS
    for mode in modes:
        assert await program.call("Efficiency", "SetMode", "s", mode) == []
        assert await program.call("Efficiency", "GetMode") == mode
        assert await program.get("Efficiency", "CurrentMode") == mode


async def test_ultra_efficiency_with_a_space_is_understood(program: Program) -> None:
    await program.call("Efficiency", "SetMode", "s", "Ultra Efficiency")
    assert await program.call("Efficiency", "GetMode") == "UltraEfficiency"


async def test_an_unknown_mode_is_refused_by_name_and_changes_nothing(program: Program, desk: Desk) -> None:
    with pytest.raises(Refused) as refused:
        await program.call("Efficiency", "SetMode", "s", "Turbo")
    assert refused.value.name == "ie.fio.OllamaProxy.Error.UnknownMode"
    assert all(token in refused.value.text for token in TOKENS)
    assert desk.services.governor.setting.value.chosen is Mode.BALANCED
    assert await program.heard() == []


async def test_writing_the_property_chooses_the_mode(program: Program, store: MemoryStore) -> None:
    await program.set("Efficiency", "CurrentMode", Variant("s", "Quiet"))
    assert await program.call("Efficiency", "GetEffectiveMode") == "Quiet"
    assert store.state["mode"] == "Quiet"
    with pytest.raises(Refused) as refused:
        await program.set("Efficiency", "CurrentMode", Variant("s", "Turbo"))
    assert refused.value.name == "ie.fio.OllamaProxy.Error.UnknownMode"


async def test_a_change_of_mode_is_told_once_in_every_way(program: Program) -> None:
    await program.call("Efficiency", "SetMode", "s", "Balanced")
    await program.heard()
    await program.call("Efficiency", "SetMode", "s", "Quiet")
    assert [each for each in await program.heard() if each[0] == "Efficiency"] == [
        (
            "Efficiency",
            "PropertiesChanged",
            ["ie.fio.OllamaProxy.Efficiency", {"CurrentMode": "Quiet", "EffectiveMode": "Quiet"}, []],
        ),
        ("Efficiency", "ModeChanged", ["Balanced", "Quiet"]),
        ("Efficiency", "EffectiveModeChanged", ["Balanced", "Quiet", "as chosen", "as_chosen", {}]),
    ]


async def test_a_choice_that_leaves_the_mode_in_force_alone_says_so(program: Program) -> None:
    await program.call("Efficiency", "SetMode", "s", "Auto")
    assert await program.get("Efficiency", "EffectiveMode") == "Balanced"
    assert await program.heard_named() == [("ModeChanged", "Balanced", "Auto")]


async def test_the_default_becomes_chosen_where_a_person_chooses_it(program: Program) -> None:
    assert await program.get("Efficiency", "ReasonCode") == "none_chosen"
    await program.call("Efficiency", "SetMode", "s", "Balanced")
    ((_, told, body),) = await program.heard()
    assert (told, body[1]) == ("PropertiesChanged", {"Reason": "as chosen", "ReasonCode": "as_chosen"})


async def test_the_same_mode_once_more_is_no_news(program: Program) -> None:
    await program.call("Efficiency", "SetMode", "s", "Balanced")
    await program.heard()
    await program.call("Efficiency", "SetMode", "s", "Balanced")
    assert await program.heard() == []


async def test_autos_own_change_is_told_with_its_reason_and_leaves_the_choice_alone(
    program: Program, desk: Desk
) -> None:
    governor = desk.services.governor
    governor.select(Mode.AUTO)
    desk.sense(on_battery=False)
    governor.observe(desk.services.system.value)
    desk.clock.advance(100)
    await program.heard()
    desk.sense(on_battery=True, battery_percent=43.0)
    governor.observe(desk.services.system.value)
    news = await program.heard()
    reason, numbers = "on battery at 43 %, below 50 %", {"battery_percent": 43.0, "limit_percent": 50.0}
    told = [body[1] for where, member, body in news if (where, member) == ("Efficiency", "PropertiesChanged")]
    assert told == [
        {"EffectiveMode": "Efficiency", "Reason": reason, "ReasonCode": "battery_low", "ReasonDetails": numbers}
    ]
    assert [(member, *body) for where, member, body in news if "Mode" in member] == [
        ("EffectiveModeChanged", "Balanced", "Efficiency", reason, "battery_low", numbers)
    ]


async def test_a_mode_is_described_with_its_limits(program: Program) -> None:
    for mode in await program.get("Efficiency", "Modes"):
        assert await program.call("Efficiency", "GetModeInfo", "s", mode["mode"]) == mode
    with pytest.raises(Refused, match=r"Error\.UnknownMode"):
        await program.call("Efficiency", "GetModeInfo", "s", "")


async def test_the_list_of_modes_has_everything_that_a_menu_needs(program: Program) -> None:
    modes = await program.get("Efficiency", "Modes")
    assert [mode["mode"] for mode in modes] == TOKENS
    assert modes[1] == {
        "mode": "Balanced",
        "label": "Balanced",
        "description": DEFAULT_TABLE[Mode.BALANCED].description,
        "icon": "power-profile-balanced-symbolic",
        "price_of_time_watts": 7.5,
        "price_of_noise": 0.0,
        "max_power_watts": 60.0,
        "max_temperature_celsius": 85.0,
        "max_fan_percent": 80.0,
        "max_wait_seconds": 15.0,
        "strict": False,
    }


async def test_a_new_table_of_modes_is_told_after_a_reload(program: Program, desk: Desk) -> None:
    quiet = replace(DEFAULT_TABLE[Mode.QUIET], max_power_w=9.0)
    await program.heard()
    desk.services.governor.reconfigure(ModeSettings(MappingProxyType({**DEFAULT_TABLE, Mode.QUIET: quiet})))
    await desk.reload(FakeBackend("npu"))
    (told,) = await program.heard_changes("Efficiency")
    assert [mode["max_power_watts"] for mode in told["Modes"] if mode["mode"] == "Quiet"] == [9.0]
