"""Health and the requests under way, as the fleet keeps them."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BATCHING_SLOTS, BackendSpec, BackendView, Health, Probe
from ollama_proxyd.core.requests import Api
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.health import HealthMonitor
from ollama_proxyd.services.settings import HealthSettings
from tests.fakes import FakeBackend, FakeClock, FakeFleet, MemoryStore, pass_by, settle
from tests.reasons import because

QUICK = HealthSettings(interval_s=0.01, timeout_s=0.05, recheck_s=0.0)


class Bench:
    """A fleet of fake backends and what checks it."""

    def __init__(self, fleet: FakeFleet, settings: HealthSettings, clock: FakeClock) -> None:
        self.fleet = fleet
        self.health = HealthMonitor(fleet, clock, settings)
        self.clock = clock

    def view(self, backend_id: str) -> BackendView:
        return self.fleet.view(backend_id)


def fleet_of(
    *backends: FakeBackend,
    settings: HealthSettings = QUICK,
    clock: FakeClock | None = None,
    store: MemoryStore | None = None,
    off: tuple[str, ...] = (),
) -> Bench:
    clock = clock or FakeClock()
    fleet = FakeFleet(clock, store=store)
    fleet.have(*backends, off=off)
    return Bench(fleet, settings, clock)


def refused() -> ProxyError:
    return ProxyError(ErrorKind.UPSTREAM_FAILED, "backend igpu cannot be reached: Connection refused")


class Hanging(FakeBackend):
    """A backend whose health check never ends."""

    async def probe(self) -> Probe:
        await asyncio.Event().wait()
        raise AssertionError


async def until(fleet: Bench, backend_id: str, health: Health) -> None:
    async for _ in fleet.fleet.views.changes():
        if fleet.view(backend_id).health is health:
            return


async def test_before_the_first_check_nothing_is_known() -> None:
    fleet = fleet_of(FakeBackend("npu"))
    assert fleet.view("npu").health is Health.UNKNOWN
    assert fleet.view("npu").health_reason


async def test_a_check_brings_health_and_models() -> None:
    fleet = fleet_of(FakeBackend("npu", models=("a", "b")))
    await fleet.health.check_all()
    view = fleet.view("npu")
    assert view.health is Health.UP
    assert [model.name for model in view.models] == ["a", "b"]


async def test_a_backend_that_is_down_at_start_joins_when_it_comes_up() -> None:
    backend = FakeBackend("igpu")
    backend.down = refused()
    fleet = fleet_of(backend)
    await fleet.health.check_all()
    assert fleet.view("igpu").health is Health.DOWN
    assert "refused" in str(fleet.view("igpu").health_reason)
    watching = asyncio.create_task(fleet.health.watch(Activity(fleet.clock)))
    backend.down = None
    async with asyncio.timeout(5):
        await until(fleet, "igpu", Health.UP)
    watching.cancel()


async def test_one_hanging_backend_holds_up_no_other() -> None:
    fleet = fleet_of(Hanging("npu"), FakeBackend("igpu"))
    check = asyncio.create_task(fleet.health.check_all())
    async with asyncio.timeout(5):
        await until(fleet, "igpu", Health.UP)
    assert fleet.view("npu").health is Health.UNKNOWN
    await check
    assert fleet.view("npu").health is Health.DOWN


async def test_a_busy_backend_that_does_not_answer_its_check_is_not_down() -> None:
    backend = Hanging("npu")
    fleet = fleet_of(backend)
    fleet.fleet.note_up("npu", await FakeBackend("npu").probe())
    with fleet.fleet.lease("npu"):
        await fleet.health.check_all()
        assert fleet.view("npu").health is Health.UP
    await fleet.health.check_all()
    assert fleet.view("npu").health is Health.DOWN


async def test_a_request_counts_as_under_way_for_as_long_as_it_has_its_lease() -> None:
    fleet = fleet_of(FakeBackend("npu"), FakeBackend("igpu"))
    with fleet.fleet.lease("igpu"), fleet.fleet.lease("igpu"):
        assert fleet.view("igpu").in_flight == 2
        assert fleet.view("npu").in_flight == 0
    assert fleet.view("igpu").in_flight == 0


async def test_an_unreachable_backend_counts_as_down_until_a_check_that_comes_before_the_interval_is_over() -> None:
    backend = FakeBackend("igpu")
    clock = FakeClock()
    fleet = fleet_of(backend, settings=HealthSettings(interval_s=3600.0, timeout_s=5.0, recheck_s=1.0), clock=clock)
    await fleet.health.check_all()
    watching = asyncio.create_task(fleet.health.watch(Activity(clock)))
    await settle()
    fleet.fleet.note_down("igpu", because("backend igpu cannot be reached"))
    fleet.fleet.due.set()
    await pass_by(0.9)
    assert fleet.view("igpu").health is Health.DOWN
    await pass_by(0.2)
    assert fleet.view("igpu").health is Health.UP
    watching.cancel()


class Slow(FakeBackend):
    """A backend that takes half a second to say how it is."""

    async def probe(self) -> Probe:
        await asyncio.sleep(0.5)
        return await super().probe()


async def test_a_backend_that_is_doubted_during_a_check_of_all_is_checked_again_soon() -> None:
    settings = HealthSettings(interval_s=3600.0, timeout_s=5.0, recheck_s=1.0)
    fleet = fleet_of(Slow("npu"), FakeBackend("igpu"), settings=settings)
    watching = asyncio.create_task(fleet.health.watch(Activity(fleet.clock)))
    await settle()
    fleet.fleet.due.set()
    await pass_by(1.1)
    fleet.fleet.note_down("igpu", because("backend igpu cannot be reached"))
    fleet.fleet.due.set()
    await pass_by(1.5)
    assert fleet.view("igpu").health is Health.UP
    watching.cancel()


class Counting(FakeBackend):
    """A backend that counts its health checks."""

    checks = 0

    async def probe(self) -> Probe:
        self.checks += 1
        return await super().probe()


class Watched:
    """A fleet of one backend that is watched, and the moments at which it was checked."""

    def __init__(self, settings: HealthSettings) -> None:
        self.clock = FakeClock(1_020.0)
        self.activity = Activity(self.clock)
        self.backend = FakeBackend("npu")
        self.fleet = fleet_of(self.backend, settings=settings, clock=self.clock)
        self.checked: list[float] = []
        self.fleet.fleet.checked.listen(lambda _: self.checked.append(self.clock.monotonic() - 1_020.0))

    async def begin(self) -> None:
        await self.fleet.health.check_all()
        self.watching = asyncio.create_task(self.fleet.health.watch(self.activity))

    async def checks_of(self, seconds: float) -> list[float]:
        """The seconds, from the beginning on, at which checks took place meanwhile."""
        self.checked.clear()
        await pass_by(seconds)
        return [*self.checked]


@pytest.fixture
async def watched() -> AsyncGenerator[Watched, None]:
    watched = Watched(HealthSettings())
    await watched.begin()
    yield watched
    watched.watching.cancel()


async def test_while_nobody_uses_the_proxy_checks_become_rare_and_keep_the_beat(watched: Watched) -> None:
    assert await watched.checks_of(61) == [15, 30, 45, 60]
    assert await watched.checks_of(239) == [75, 135, 195, 255]


async def test_who_uses_the_proxy_after_a_while_has_the_backends_checked_at_once(watched: Watched) -> None:
    await watched.checks_of(320)
    assert await watched.checks_of(30) == []
    watched.activity.begin()
    watched.activity.end()
    assert await watched.checks_of(60) == [350, 365, 380, 395, 410]


async def test_use_just_after_a_rare_check_brings_the_next_one_at_the_busy_rhythm(watched: Watched) -> None:
    await watched.checks_of(317)
    watched.activity.begin()
    assert await watched.checks_of(20) == [330]


async def test_a_backend_that_comes_or_goes_is_looked_at_often_for_a_while(watched: Watched) -> None:
    await watched.checks_of(310)
    watched.backend.down = refused()
    await watched.checks_of(10)
    assert watched.fleet.view("npu").health is Health.DOWN
    watched.backend.down = None
    assert await watched.checks_of(60) == [330, 345, 360, 375]


async def test_a_rhythm_that_is_slower_than_the_idle_one_is_kept(watched: Watched) -> None:
    slow = Watched(HealthSettings(interval_s=100.0))
    await slow.begin()
    assert await slow.checks_of(310) == [100, 200, 300]
    slow.watching.cancel()


async def test_an_old_picture_is_made_anew_once_for_all_who_need_it(watched: Watched) -> None:
    await watched.checks_of(350)
    watched.checked.clear()
    assert await asyncio.gather(*(watched.fleet.health.catch_up() for _ in range(3))) == [True, True, True]
    assert not await watched.fleet.health.catch_up()
    assert watched.checked == [350]


async def test_a_disabled_backend_is_shown_and_never_asked() -> None:
    cpu = Counting("cpu")
    fleet = fleet_of(FakeBackend("npu"), cpu, off=("cpu",))
    await fleet.health.check_all()
    assert fleet.view("cpu").health is Health.DISABLED
    assert str(fleet.view("cpu").health_reason) == "disabled in the configuration"
    assert cpu.checks == 0


async def test_a_backend_that_is_switched_off_serves_no_more_and_its_requests_go_on() -> None:
    fleet = fleet_of(FakeBackend("npu"))
    await fleet.health.check_all()
    with fleet.fleet.lease("npu"):
        fleet.fleet.set_enabled("npu", enabled=False)
        view = fleet.view("npu")
        assert (view.health, str(view.health_reason), view.in_flight) == (Health.DISABLED, "switched off by hand", 1)
        assert fleet.fleet.is_serving.value is False
        await fleet.health.check_all()
    assert (fleet.view("npu").health, fleet.view("npu").in_flight) == (Health.DISABLED, 0)


async def test_a_backend_that_is_switched_on_is_checked_at_once() -> None:
    fleet = fleet_of(FakeBackend("npu"), off=("npu",), settings=HealthSettings(3600.0, 5.0, 1.0))
    began_s = fleet.clock.monotonic()
    watching = asyncio.create_task(fleet.health.watch(Activity(fleet.clock)))
    await asyncio.sleep(0)
    fleet.fleet.set_enabled("npu", enabled=True)
    assert fleet.view("npu").health is Health.UNKNOWN
    async with asyncio.timeout(5):
        await until(fleet, "npu", Health.UP)
    assert fleet.clock.monotonic() == began_s
    watching.cancel()


async def test_while_every_backend_is_switched_off_nothing_wakes_up_to_check_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet, checked = fleet_of(FakeBackend("npu"), off=("npu",)), asyncio.Event()

    async def check_all() -> None:
        checked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(fleet.health, "check_all", check_all)
    watching = asyncio.create_task(fleet.health.watch(Activity(fleet.clock)))
    await asyncio.sleep(5 * QUICK.interval_s)
    assert not checked.is_set()
    fleet.fleet.set_enabled("npu", enabled=True)
    async with asyncio.timeout(5):
        await checked.wait()
    watching.cancel()


async def test_a_check_under_way_does_not_switch_a_backend_on_again() -> None:
    checking, going_on = asyncio.Event(), asyncio.Event()

    class Slow(FakeBackend):
        async def probe(self) -> Probe:
            checking.set()
            await going_on.wait()
            return await super().probe()

    backend = Slow("npu")
    fleet = fleet_of(backend, settings=HealthSettings())
    for backend.down in (None, refused()):
        fleet.fleet.set_enabled("npu", enabled=True)
        check = asyncio.create_task(fleet.health.check_all())
        await checking.wait()
        fleet.fleet.set_enabled("npu", enabled=False)
        going_on.set()
        await check
        assert fleet.view("npu").health is Health.DISABLED
        checking.clear()
        going_on.clear()


async def test_what_was_switched_by_hand_is_remembered_over_the_configuration() -> None:
    store = MemoryStore({"mode": "Quiet"})
    fleet = fleet_of(FakeBackend("npu"), FakeBackend("cpu"), store=store, off=("cpu",))
    fleet.fleet.set_enabled("npu", enabled=False)
    fleet.fleet.set_enabled("cpu", enabled=True)
    again = fleet_of(FakeBackend("npu"), FakeBackend("cpu"), store=store, off=("cpu",))
    assert [view.health for view in again.fleet.views.value] == [Health.DISABLED, Health.UNKNOWN]
    assert store.state["mode"] == "Quiet"


async def test_what_was_switched_back_follows_the_configuration_again() -> None:
    store = MemoryStore()
    fleet = fleet_of(FakeBackend("npu"), store=store)
    fleet.fleet.set_enabled("npu", enabled=False)
    fleet.fleet.set_enabled("npu", enabled=True)
    assert store.state == {"enabled": {}}
    assert fleet_of(FakeBackend("npu"), store=store, off=("npu",)).view("npu").health is Health.DISABLED


async def test_switching_to_what_is_already_so_changes_nothing() -> None:
    fleet = fleet_of(FakeBackend("npu"))
    await fleet.health.check_all()
    before = fleet.fleet.views.value
    fleet.fleet.set_enabled("npu", enabled=True)
    assert fleet.fleet.views.value is before


@pytest.mark.parametrize("saved", [None, 7, ["npu"], {"npu": "off"}, {"npu": 0}])
async def test_a_saved_switch_that_is_not_one_is_forgotten(saved: object) -> None:
    fleet = fleet_of(FakeBackend("npu"), store=MemoryStore({"enabled": saved}))
    assert fleet.view("npu").health is Health.UNKNOWN


async def test_nobody_switches_a_backend_that_is_not_there() -> None:
    store = MemoryStore()
    with pytest.raises(KeyError):
        fleet_of(store=store).fleet.set_enabled("tpu", enabled=False)
    assert store.state == {}


async def test_a_change_of_health_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    backend = FakeBackend("igpu")
    backend.down = refused()
    fleet = fleet_of(backend)
    await fleet.health.check_all()
    await fleet.health.check_all()
    assert caplog.text.count("is down") == 1


class Odd(FakeBackend):
    """A backend whose words make our own code fail."""

    async def probe(self) -> Probe:
        raise ValueError("year 55840 is out of range")


async def test_a_fault_of_ours_in_one_check_marks_only_that_backend_down(caplog: pytest.LogCaptureFixture) -> None:
    fleet = fleet_of(Odd("npu"), FakeBackend("igpu"))
    await fleet.health.check_all()
    assert fleet.view("npu").health is Health.DOWN
    assert "fault of the proxy" in str(fleet.view("npu").health_reason)
    assert fleet.view("igpu").health is Health.UP
    assert "55840" in caplog.text


class Lasting(Counting):
    """A backend whose health check takes so many seconds."""

    def __init__(self, backend_id: str, seconds: float) -> None:
        super().__init__(backend_id)
        self.seconds = seconds

    async def probe(self) -> Probe:
        self.checks += 1
        await asyncio.sleep(self.seconds)
        return await FakeBackend.probe(self)


async def test_whoever_needs_a_fresh_picture_shares_one_check_and_the_next() -> None:
    backend = Lasting("npu", 0.1)
    fleet = fleet_of(backend, settings=HealthSettings())
    await asyncio.gather(*(fleet.health.catch_up(0.0) for _ in range(50)))
    assert backend.checks == 1
    running = asyncio.create_task(fleet.health.check_all())
    await pass_by(0.05)
    await asyncio.gather(running, *(fleet.health.catch_up(0.0) for _ in range(50)))
    assert backend.checks == 3, "what began before they asked is not fresh enough, and one more is for all of them"


async def test_a_dead_backend_is_waited_for_only_a_moment() -> None:
    dead, good = Lasting("npu", 60.0), FakeBackend("igpu")
    fleet = fleet_of(dead, good, settings=HealthSettings())
    await fleet.health.check_all()
    assert fleet.view("npu").health is Health.DOWN
    began_s = fleet.clock.monotonic()
    assert await fleet.health.catch_up(0.0)
    assert fleet.clock.monotonic() - began_s < 0.5


async def test_where_one_backend_is_meant_no_other_is_checked() -> None:
    meant, other = Counting("npu"), Counting("igpu")
    fleet = fleet_of(meant, other)
    await fleet.health.check_all()
    await pass_by(0.1)
    assert await fleet.health.catch_up(0.0, "npu")
    assert (meant.checks, other.checks) == (2, 1)


async def test_a_picture_that_is_new_enough_is_not_made_anew() -> None:
    backend = Counting("npu")
    fleet = fleet_of(backend)
    await fleet.health.check_all()
    await pass_by(1.9)
    assert not await fleet.health.catch_up(2.0)
    await pass_by(0.2)
    assert await fleet.health.catch_up(2.0)
    assert backend.checks == 2


@pytest.mark.parametrize(
    ("spec", "slots"),
    [
        ({}, 1),
        ({"flavor": "vllm"}, BATCHING_SLOTS),
        ({"is_local": False}, BATCHING_SLOTS),
        ({"flavor": "vllm", "slots": 3}, 3),
        ({"is_local": False, "slots": 3}, 3),
    ],
)
def test_an_engine_that_batches_and_a_service_elsewhere_take_many_requests_until_they_say(
    spec: dict[str, Any], slots: int
) -> None:
    assert BackendSpec("a", "a", Api.OPENAI, "http://a:1", **spec).assumed_slots.count == slots
