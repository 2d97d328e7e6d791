"""The efficiency mode: chosen, held, kept, resolved, and followed over time."""

from dataclasses import replace

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.holds import MOST_OF_ONE, Hold
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.core.thresholds import AutoSettings
from ollama_proxyd.core.tuning import Tuning
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.settings import ModeSettings
from ollama_proxyd.services.tasks import Tasks
from tests.fakes import FakeClock, MemoryStore, pass_by, settle

ON_BATTERY = SystemState(on_battery=Reading(value=True, at_s=0.0), battery_percent=Reading(15.0, 0.0))


MAINS = SystemState(on_battery=Reading(value=False, at_s=0.0), battery_percent=Reading(90.0, 0.0))
LOW = SystemState(on_battery=Reading(value=True, at_s=0.0), battery_percent=Reading(43.0, 0.0))


def governor(
    store: MemoryStore | None = None,
    default: Mode = Mode.BALANCED,
    clock: FakeClock | None = None,
    settings: ModeSettings | None = None,
) -> Governor:
    return Governor(settings or ModeSettings(), default, store or MemoryStore(), clock or FakeClock())


def test_the_default_mode_holds_until_one_is_chosen() -> None:
    assert governor(default=Mode.QUIET).setting.value.chosen is Mode.QUIET


def test_a_chosen_mode_is_in_force_at_once() -> None:
    it = governor()
    it.select(Mode.PERFORMANCE)
    assert it.setting.value.row is DEFAULT_TABLE[Mode.PERFORMANCE]


def test_a_chosen_mode_survives_a_restart_and_other_state_is_kept() -> None:
    store = MemoryStore({"other": 1})
    governor(store).select(Mode.EFFICIENCY)
    assert governor(store).setting.value.chosen is Mode.EFFICIENCY
    assert store.state["other"] == 1


def test_a_mode_that_nobody_chose_is_the_default_and_says_so_until_one_is_chosen_for_good() -> None:
    store = MemoryStore()
    it = governor(store)
    assert str(it.setting.value.reason) == "the default, as none was chosen"
    it.select(Mode.BALANCED)
    assert str(it.setting.value.reason) == "as chosen"
    assert str(governor(store).setting.value.reason) == "as chosen"


@pytest.mark.parametrize("saved", ["Turbo", 7, None, ["Quiet"]])
def test_a_saved_mode_that_is_not_one_gives_way_to_the_default(saved: object) -> None:
    assert governor(MemoryStore({"mode": saved})).setting.value.chosen is Mode.BALANCED


def test_auto_follows_the_machine() -> None:
    it = governor(default=Mode.AUTO)
    assert it.setting.value.effective is Mode.BALANCED
    it.observe(ON_BATTERY)
    assert it.setting.value.effective is Mode.ULTRA_EFFICIENCY
    assert it.setting.value.chosen is Mode.AUTO
    assert "15 %" in str(it.setting.value.reason)


def test_imagining_changes_nothing() -> None:
    it = governor()
    before = it.setting.value
    assert it.imagine(Mode.AUTO, ON_BATTERY).effective is Mode.ULTRA_EFFICIENCY
    assert it.setting.value is before


def test_a_new_table_applies_to_the_mode_in_force() -> None:
    it = governor()
    row = replace(DEFAULT_TABLE[Mode.BALANCED], price_of_time_w=9.0)
    it.reconfigure(ModeSettings({**DEFAULT_TABLE, Mode.BALANCED: row}))
    assert it.setting.value.row.price_of_time_w == 9.0
    assert it.setting.value.chosen is Mode.BALANCED


def test_new_numbers_of_auto_apply_at_once() -> None:
    it = governor(default=Mode.AUTO)
    it.observe(MAINS)
    it.reconfigure(ModeSettings(auto=AutoSettings(full_battery_percent=95, battery_margin_percent=0, dwell_s=0)))
    assert it.setting.value.effective is Mode.BALANCED


async def test_auto_makes_the_change_that_waits_when_it_is_due_and_looks_at_no_clock_before() -> None:
    clock = FakeClock()
    it = governor(default=Mode.AUTO, clock=clock)
    system = Cell(LOW)
    async with Tasks("test") as tasks:
        it.follow(system, tasks)
        await settle()
        assert it.setting.value.effective is Mode.EFFICIENCY
        assert clock.sleeps == []
        system.set(MAINS)
        await pass_by(29.9)
        assert it.setting.value.effective is Mode.EFFICIENCY
        assert str(it.setting.value.reason).startswith(
            "Efficiency stays until 30 s after its last change; then Performance"
        )
        await pass_by(0.2)
        assert it.setting.value.effective is Mode.PERFORMANCE
        assert clock.sleeps == [30.0]


async def test_a_change_that_waits_is_made_sooner_where_a_shorter_dwell_is_configured() -> None:
    it = governor(default=Mode.AUTO)
    system = Cell(LOW)
    async with Tasks("test") as tasks:
        it.follow(system, tasks)
        await settle()
        system.set(MAINS)
        await pass_by(6.0)
        it.reconfigure(ModeSettings(auto=AutoSettings(dwell_s=10.0)))
        await pass_by(3.9)
        assert it.setting.value.effective is Mode.EFFICIENCY
        await pass_by(0.2)
        assert it.setting.value.effective is Mode.PERFORMANCE


async def test_a_sleep_that_ends_a_little_early_is_slept_to_the_end() -> None:
    class Hasty(FakeClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds * 0.9)

    clock = Hasty()
    it = governor(default=Mode.AUTO, clock=clock)
    system = Cell(LOW)
    async with Tasks("test") as tasks:
        it.follow(system, tasks)
        await settle()
        system.set(MAINS)
        await pass_by(31)
        assert it.setting.value.effective is Mode.PERFORMANCE


async def test_a_change_of_the_machine_reaches_the_mode_without_any_clock() -> None:
    clock = FakeClock()
    it = governor(default=Mode.AUTO, clock=clock)
    system = Cell(MAINS)
    async with Tasks("test") as tasks:
        it.follow(system, tasks)
        await settle()
        system.set(ON_BATTERY)
        await settle()
        assert it.setting.value.effective is Mode.ULTRA_EFFICIENCY
        assert clock.monotonic() == 1_000.0


def test_choosing_auto_anew_looks_at_this_moment_alone() -> None:
    clock = FakeClock()
    it = governor(default=Mode.AUTO, clock=clock)
    it.observe(LOW)
    it.select(Mode.PERFORMANCE)
    it.observe(MAINS)
    it.select(Mode.AUTO)
    assert it.setting.value.effective is Mode.PERFORMANCE


def test_choosing_auto_again_forgets_nothing() -> None:
    it = governor(default=Mode.AUTO)
    it.observe(LOW)
    it.observe(MAINS)
    it.select(Mode.AUTO)
    assert it.setting.value.effective is Mode.EFFICIENCY


def test_a_hold_stands_above_the_chosen_mode_until_it_is_released() -> None:
    it = governor()
    it.select(Mode.BALANCED)
    held = it.hold(Mode.QUIET, "recording a podcast", "org.example.Recorder", ":1.5")
    setting = it.setting.value
    assert (setting.chosen, setting.effective, setting.held) == (Mode.BALANCED, Mode.QUIET, Mode.QUIET)
    assert setting.row is DEFAULT_TABLE[Mode.QUIET]
    assert str(setting.reason) == "held by org.example.Recorder: recording a podcast"
    assert it.holds.value == (held,)
    assert (held.mode, held.reason, held.owner) == (Mode.QUIET, "recording a podcast", ":1.5")
    it.release(held.cookie, ":1.5")
    assert (it.setting.value.effective, str(it.setting.value.reason)) == (Mode.BALANCED, "as chosen")
    assert it.holds.value == ()


def test_of_several_holds_the_thriftiest_counts() -> None:
    it = governor()
    first = it.hold(Mode.PERFORMANCE, "", "a", ":1.1").cookie
    second = it.hold(Mode.EFFICIENCY, "", "b", ":1.2").cookie
    assert it.setting.value.effective is Mode.EFFICIENCY
    it.release(second, ":1.2")
    assert it.setting.value.effective is Mode.PERFORMANCE
    it.release(first, ":1.1")
    assert it.setting.value.effective is Mode.BALANCED


def test_each_hold_has_a_cookie_of_its_own_even_after_others_ended() -> None:
    it = governor()
    first = it.hold(Mode.QUIET, "", "", ":1.1").cookie
    it.release(first, ":1.1")
    assert it.hold(Mode.QUIET, "", "", ":1.1").cookie not in {first, 0}


def test_a_hold_ends_with_its_owner_and_not_with_another() -> None:
    it = governor()
    it.hold(Mode.QUIET, "", "", ":1.1")
    it.hold(Mode.EFFICIENCY, "", "", ":1.1")
    it.hold(Mode.PERFORMANCE, "", "", ":1.2")
    it.release_all(":1.3")
    assert len(it.holds.value) == 3
    it.release_all(":1.1")
    assert it.setting.value.effective is Mode.PERFORMANCE


def test_nobody_releases_the_hold_of_another() -> None:
    it = governor()
    cookie = it.hold(Mode.QUIET, "", "", ":1.1").cookie
    for wrong in ((cookie, ":1.2"), (cookie + 1, ":1.1")):
        with pytest.raises(ProxyError) as caught:
            it.release(*wrong)
        assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert it.setting.value.effective is Mode.QUIET


def test_choosing_a_mode_by_hand_ends_every_hold() -> None:
    it = governor()
    it.hold(Mode.QUIET, "", "", ":1.1")
    it.hold(Mode.EFFICIENCY, "", "", ":1.2")
    it.select(Mode.BALANCED)
    assert it.holds.value == ()
    assert it.setting.value.effective is Mode.BALANCED


def test_the_end_of_each_hold_is_told_once_however_it_came_about() -> None:
    it = governor()
    told: list[int] = []
    it.released.listen(lambda hold: told.append(hold.cookie))
    cookies = [it.hold(Mode.QUIET, "", "", owner).cookie for owner in (":1.1", ":1.2", ":1.3")]
    it.release(cookies[0], ":1.1")
    it.release_all(":1.2")
    it.release_all(":1.2")
    it.select(Mode.BALANCED)
    assert told == cookies


def test_when_the_end_of_a_hold_is_told_the_mode_is_already_the_next() -> None:
    it = governor()
    seen: list[Mode] = []
    it.released.listen(lambda _: seen.append(it.setting.value.effective))
    it.hold(Mode.QUIET, "", "", ":1.1")
    it.release_all(":1.1")
    assert seen == [Mode.BALANCED]


def test_too_many_holds_are_refused() -> None:
    it = governor(settings=ModeSettings(max_holds=1))
    it.hold(Mode.QUIET, "", "", ":1.1")
    with pytest.raises(ProxyError, match=r"efficiency\.max_holds") as caught:
        it.hold(Mode.QUIET, "", "", ":1.1")
    assert caught.value.kind is ErrorKind.OVERLOADED


def test_a_hold_survives_a_reload_and_not_a_restart() -> None:
    store = MemoryStore()
    it = governor(store)
    it.hold(Mode.QUIET, "", "", ":1.1")
    it.reconfigure(ModeSettings())
    assert it.setting.value.effective is Mode.QUIET
    assert governor(store).setting.value.effective is Mode.BALANCED


def test_auto_goes_on_below_a_hold() -> None:
    it = governor(default=Mode.AUTO)
    it.observe(MAINS)
    cookie = it.hold(Mode.QUIET, "", "", ":1.1").cookie
    it.observe(ON_BATTERY)
    assert it.setting.value.effective is Mode.QUIET
    it.release(cookie, ":1.1")
    assert it.setting.value.effective is Mode.ULTRA_EFFICIENCY


def test_what_auto_sees_below_a_hold_it_remembers() -> None:
    it = governor(default=Mode.AUTO, settings=ModeSettings(auto=AutoSettings(dwell_s=0)))
    cookie = it.hold(Mode.QUIET, "", "", ":1.1").cookie
    it.observe(LOW)
    it.observe(SystemState(on_battery=Reading(value=True, at_s=0.0), battery_percent=Reading(51.0, 0.0)))
    it.release(cookie, ":1.1")
    assert str(it.setting.value.reason) == "on battery at 51 %, not yet up to 53 %"


def test_auto_is_not_held_since_it_asks_for_nothing_of_its_own() -> None:
    it = governor()
    with pytest.raises(ProxyError, match="Auto cannot be held") as caught:
        it.hold(Mode.AUTO, "", "", ":1.1")
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert it.holds.value == ()


def test_imagining_another_state_of_the_machine_keeps_to_what_is_held() -> None:
    it = governor(default=Mode.AUTO)
    it.hold(Mode.QUIET, "", "", ":1.1")
    assert it.imagine(system=ON_BATTERY).effective is Mode.QUIET


def test_imagining_the_mode_that_is_in_force_is_what_is_in_force() -> None:
    it = governor(default=Mode.AUTO)
    it.observe(LOW)
    it.observe(MAINS)
    assert it.imagine(Mode.AUTO) == it.setting.value


def test_a_changed_charge_counts_at_once_and_the_other_numbers_stay() -> None:
    it = governor(default=Mode.AUTO, settings=ModeSettings(auto=AutoSettings(dwell_s=0.0)))
    it.observe(LOW)
    assert it.setting.value.effective is Mode.EFFICIENCY
    it.tune(Tuning(low_battery_percent=30.0))
    assert it.setting.value.effective is Mode.BALANCED
    assert (it.modes.value.auto.low_battery_percent, it.modes.value.auto.dwell_s) == (30.0, 0.0)


def test_one_program_takes_a_share_of_the_holds_only() -> None:
    it = governor()
    for _ in range(MOST_OF_ONE):
        it.hold(Mode.QUIET, "", "", ":1.1")
    with pytest.raises(ProxyError, match="the most for one program") as caught:
        it.hold(Mode.QUIET, "", "", ":1.1")
    assert caught.value.kind is ErrorKind.OVERLOADED
    assert it.hold(Mode.QUIET, "", "", ":1.2")


@pytest.mark.parametrize(("asked_s", "lasts_s"), [(None, 100.0), (30, 30.0)])
async def test_a_hold_ends_when_its_time_is_over_and_says_so(asked_s: float | None, lasts_s: float) -> None:
    clock = FakeClock()
    it = governor(clock=clock, settings=ModeSettings(max_hold_s=100.0))
    ended: list[Hold] = []
    it.released.listen(ended.append)
    async with Tasks("test") as tasks:
        it.follow(Cell(SystemState()), tasks)
        await settle()
        held = it.hold(Mode.QUIET, "", "", ":1.1", asked_s)
        assert held.ends_unix_s == pytest.approx(clock.unix() + lasts_s)
        longer = it.hold(Mode.EFFICIENCY, "", "", ":1.2", 100)
        await pass_by(lasts_s - 0.1)
        assert it.holds.value == (held, longer)
        await pass_by(0.2)
        assert it.setting.value.effective is (Mode.BALANCED if lasts_s == 100 else Mode.EFFICIENCY)
        assert held in ended


async def test_a_hold_for_an_hour_ends_while_the_machine_sleeps() -> None:
    clock = FakeClock()
    it = governor(clock=clock)
    async with Tasks("test") as tasks:
        it.follow(Cell(SystemState()), tasks)
        await settle()
        it.hold(Mode.PERFORMANCE, "", "", ":1.1", 3600)
        longer = it.hold(Mode.QUIET, "", "", ":1.2", 7200)
        clock.nap(3599.0)
        it.wake(False)
        await pass_by(0.5)
        assert len(it.holds.value) == 2
        clock.nap(10.0)
        it.observe(SystemState())  # where nobody tells of the sleep a sensor does
        await pass_by(0.1)
        assert it.holds.value == (longer,)
        await pass_by(7200.0 - 3620.0)
        assert it.holds.value == (longer,)
        await pass_by(20.0)
        assert (it.holds.value, it.setting.value.effective) == ((), Mode.BALANCED)


@pytest.mark.parametrize("seconds", [0, -1, 100.5, 1e300, float("nan"), float("inf")])
def test_no_hold_is_longer_than_the_longest(seconds: float) -> None:
    it = governor(settings=ModeSettings(max_hold_s=100.0))
    with pytest.raises(ProxyError, match=r"above 0 and at most 100 \(efficiency.max_hold_s\)") as caught:
        it.hold(Mode.QUIET, "", "", ":1.1", seconds)
    assert caught.value.param == "seconds"
    assert it.holds.value == ()
