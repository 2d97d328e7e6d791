"""Holds: a program asks for a mode for as long as it is on the bus."""

import asyncio
from typing import Any

import pytest

from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.services.settings import ModeSettings
from tests.desktop.private_bus import PrivateBus
from tests.edges.dbus_api.bus_desk import DEADLINE_S, Desk, Program, Refused


async def until_nobody_holds(desk: Desk) -> None:
    async with asyncio.timeout(DEADLINE_S):
        async for holds in desk.services.governor.holds.changes():
            if not holds:
                return


async def test_a_hold_stands_above_the_chosen_mode_and_says_who_and_why(program: Program) -> None:
    cookie = await program.call("Efficiency", "HoldMode", "sss", "Quiet", "a recording", "org.example.Recorder")
    assert program.reply_signature == "u"
    values = await program.get_all("Efficiency")
    assert (values["CurrentMode"], values["EffectiveMode"]) == ("Balanced", "Quiet")
    assert values["Reason"] == "held by org.example.Recorder: a recording"
    (told,) = values["ActiveHolds"]
    assert told.pop("EndsUnixSeconds") > 0
    assert told == {
        "ApplicationId": "org.example.Recorder",
        "Profile": "Quiet",
        "Reason": "a recording",
        "Cookie": cookie,
        "Owner": program.bus.unique_name,
        "UntilCharged": False,
    }


async def test_a_hold_may_have_a_time_within_the_longest(program: Program, desk: Desk) -> None:
    await program.call("Efficiency", "HoldModeFor", "sssu", "Quiet", "", "", 60)
    (held,) = desk.services.governor.holds.value
    assert held.ends_unix_s == desk.clock.unix() + 60
    for seconds in (0, 86_401, 2**32 - 1):
        with pytest.raises(Refused, match=r"Error\.InvalidArgument: seconds must be above 0 and at most 86400"):
            await program.call("Efficiency", "HoldModeFor", "sssu", "Quiet", "", "", seconds)


def charging(desk: Desk, **parts: Any) -> None:
    told = {"on_battery": False, "battery_state": "charging", "battery_percent": 60.0, **parts}
    now: dict[str, Any] = {name: Reading(value, 0.0) for name, value in told.items()}
    desk.services.governor.observe(SystemState(**now))


@pytest.mark.parametrize(
    "end", [{"battery_state": "fully-charged"}, {"battery_state": "pending-charge"}, {"on_battery": True}]
)
async def test_a_hold_until_charged_ends_when_the_battery_is_full_or_the_charger_unplugged(
    program: Program, desk: Desk, end: dict[str, Any]
) -> None:
    with pytest.raises(Refused, match=r"Error\.InvalidArgument: the battery is not being charged"):
        await program.call("Efficiency", "HoldModeUntilCharged", "sss", "Performance", "", "me")
    charging(desk)
    assert await program.get("Efficiency", "Charging") is True
    await program.call("Efficiency", "HoldModeUntilCharged", "sss", "Performance", "", "me")
    kept = await program.call("Efficiency", "HoldMode", "sss", "Performance", "", "other")
    charging(desk, battery_percent=90.0)
    told = await program.get("Efficiency", "ActiveHolds")
    assert [hold["UntilCharged"] for hold in told] == [True, False]
    charging(desk, **end)
    assert [hold["Cookie"] for hold in await program.get("Efficiency", "ActiveHolds")] == [kept]
    assert await program.get("Efficiency", "Charging") is (end == {"on_battery": True})


async def test_a_hold_that_changes_nothing_is_shown_all_the_same(program: Program) -> None:
    await program.call("Efficiency", "HoldMode", "sss", "UltraEfficiency", "", "first")
    await program.heard()
    await program.call("Efficiency", "HoldMode", "sss", "Quiet", "", "second")
    (told,) = await program.heard_changes("Efficiency")
    assert told.keys() == {"ActiveHolds"}
    assert [hold["ApplicationId"] for hold in told["ActiveHolds"]] == ["first", "second"]


async def test_whoever_holds_nothing_any_more_is_not_watched(program: Program) -> None:
    def watchers() -> list[str]:
        return [task.get_name() for task in asyncio.all_tasks() if "holder " in task.get_name()]

    cookie = await program.call("Efficiency", "HoldMode", "sss", "Quiet", "", "")
    await program.settle()
    assert watchers() == [f"dbus.holder {program.bus.unique_name}"]
    await program.call("Efficiency", "ReleaseMode", "u", cookie)
    await program.settle()
    assert watchers() == []


async def test_a_released_hold_gives_the_chosen_mode_back(program: Program) -> None:
    cookie = await program.call("Efficiency", "HoldMode", "sss", "Quiet", "", "")
    await program.heard()
    await program.call("Efficiency", "ReleaseMode", "u", cookie)
    assert await program.heard_named() == [
        ("ModeReleased", cookie),
        ("EffectiveModeChanged", "Quiet", "Balanced", "the default, as none was chosen", "none_chosen", {}),
    ]
    assert await program.get("Efficiency", "ActiveHolds") == []


async def test_choosing_a_mode_ends_every_hold(program: Program) -> None:
    cookie = await program.call("Efficiency", "HoldMode", "sss", "Quiet", "", "")
    await program.heard()
    await program.call("Efficiency", "SetMode", "s", "Performance")
    assert ("ModeReleased", cookie) in await program.heard_named()
    assert await program.get("Efficiency", "EffectiveMode") == "Performance"


async def test_the_holds_of_a_program_end_with_its_connection_and_no_others(
    program: Program, desk: Desk, private_bus: PrivateBus
) -> None:
    other = await Program.start(private_bus.address)
    kept = await program.call("Efficiency", "HoldMode", "sss", "Efficiency", "", "")
    await other.call("Efficiency", "HoldMode", "sss", "Quiet", "", "")
    await other.call("Efficiency", "HoldMode", "sss", "UltraEfficiency", "", "")
    await other.stop()
    async with asyncio.timeout(DEADLINE_S):
        async for holds in desk.services.governor.holds.changes():
            if len(holds) == 1:
                break
    assert [hold.cookie for hold in desk.services.governor.holds.value] == [kept]
    assert await program.call("Efficiency", "GetEffectiveMode") == "Efficiency"


async def test_a_program_that_releases_and_holds_again_is_still_watched(
    desk: Desk, program: Program, private_bus: PrivateBus
) -> None:
    other = await Program.start(private_bus.address)
    cookie = await other.call("Efficiency", "HoldMode", "sss", "Quiet", "", "")
    await other.call("Efficiency", "ReleaseMode", "u", cookie)
    await other.call("Efficiency", "HoldMode", "sss", "Quiet", "", "")
    await program.settle()
    assert len(desk.services.governor.holds.value) == 1
    await other.stop()
    await until_nobody_holds(desk)


async def test_a_program_that_leaves_at_once_holds_nothing(
    desk: Desk, program: Program, private_bus: PrivateBus
) -> None:
    governor = desk.services.governor
    governor.hold(Mode.QUIET, "", "", "bus:1/:1.4711")
    await until_nobody_holds(desk)


async def test_nobody_releases_what_another_holds(program: Program, desk: Desk, private_bus: PrivateBus) -> None:
    other = await Program.start(private_bus.address)
    cookie = await other.call("Efficiency", "HoldMode", "sss", "Quiet", "", "")
    for wrong in (cookie, cookie + 1):
        with pytest.raises(Refused, match=str(wrong)) as refused:
            await program.call("Efficiency", "ReleaseMode", "u", wrong)
        assert refused.value.name == "ie.fio.OllamaProxy.Error.NotHolder"
    assert len(desk.services.governor.holds.value) == 1
    await other.stop()


async def test_too_many_holds_are_refused_with_the_limit(program: Program, desk: Desk) -> None:
    desk.services.governor.reconfigure(ModeSettings(max_holds=1))
    await program.call("Efficiency", "HoldMode", "sss", "Quiet", "", "")
    with pytest.raises(Refused, match="1 programs") as refused:
        await program.call("Efficiency", "HoldMode", "sss", "Quiet", "", "")
    assert refused.value.name == "ie.fio.OllamaProxy.Error.TooManyHolds"


async def test_a_hold_of_an_unknown_mode_or_with_a_novel_as_its_reason_is_refused(program: Program, desk: Desk) -> None:
    with pytest.raises(Refused, match=r"Error\.UnknownMode"):
        await program.call("Efficiency", "HoldMode", "sss", "Turbo", "", "")
    with pytest.raises(Refused, match=r"Error\.InvalidArgument: reason .* 200"):
        await program.call("Efficiency", "HoldMode", "sss", "Quiet", "x" * 201, "")
    with pytest.raises(Refused, match=r"Error\.InvalidArgument: Auto cannot be held"):
        await program.call("Efficiency", "HoldMode", "sss", "Auto", "", "")
    assert desk.services.governor.holds.value == ()


async def test_holds_end_when_the_bus_is_lost(program: Program, desk: Desk, private_bus: PrivateBus) -> None:
    await program.call("Efficiency", "HoldMode", "sss", "Quiet", "", "")
    private_bus.stop()
    await until_nobody_holds(desk)
