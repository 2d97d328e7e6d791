"""What a new configuration means for backends: those that stay, change, come and go."""

import asyncio
from dataclasses import replace

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendSpec, BackendView, Health, Model
from ollama_proxyd.core.watts import Watts
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.health import HealthMonitor
from ollama_proxyd.services.inventory import BackendConfig, FleetChanges
from ollama_proxyd.services.learner import Learner
from ollama_proxyd.services.switches import Switches
from tests.fakes import FakeBackend, FakeClock, MemoryStore, spec_of
from tests.reasons import because

NPU, IGPU = spec_of("npu"), spec_of("igpu")
MOVED = replace(IGPU, endpoint="http://127.0.0.1:2/igpu")


class Bench:
    """A fleet that makes fake backends, of which one may refuse to be made."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.broken: str | None = None
        self.store = MemoryStore()
        clock = FakeClock()
        self.fleet = Fleet(self._make, clock, Learner().speeds, Switches(self.store))
        self.health = HealthMonitor(self.fleet, clock)

    def _make(self, config: BackendConfig) -> FakeBackend:
        if config.spec.id == self.broken:
            raise ValueError("a fault of ours")
        self.made.append(config.spec.id)
        return FakeBackend(config.spec)

    def reconcile(self, *specs: BackendSpec) -> FleetChanges:
        self.made.clear()
        return self.fleet.reconcile([BackendConfig(each) for each in specs])

    def view(self, backend_id: str) -> BackendView:
        return self.fleet.view(backend_id)

    @property
    def shown(self) -> list[str]:
        return [view.spec.id for view in self.fleet.views.value]


@pytest.fixture
async def bench() -> Bench:
    bench = Bench()
    bench.reconcile(NPU, IGPU)
    await bench.health.check_all()
    return bench


async def test_an_unchanged_backend_keeps_all_that_is_known_of_it(bench: Bench) -> None:
    bench.fleet.note_watts("npu", Watts(3.0, 60.0))
    bench.fleet.note_degraded("npu", because("it lost its GPU"))
    with bench.fleet.lease("npu"):
        before = bench.view("npu")
        assert bench.reconcile(MOVED, NPU) == FleetChanges(changed=frozenset({"igpu"}))
        assert bench.view("npu") is before
        assert (before.health, before.in_flight) == (Health.UP, 1)
        assert bench.made == ["igpu"]
        assert bench.shown == ["igpu", "npu"], "in the order of the configuration"
    assert bench.view("npu").in_flight == 0


async def test_a_changed_backend_is_replaced_and_requests_on_the_old_one_still_count(bench: Bench) -> None:
    old, keyed = bench.fleet.backend("igpu"), BackendConfig(IGPU, api_key="secret")
    with bench.fleet.lease("igpu") as lease:
        bench.fleet.reconcile([BackendConfig(NPU), keyed])
        assert lease.backend is old is not bench.fleet.backend("igpu")
        assert bench.view("igpu").in_flight == 1
        with bench.fleet.lease("igpu"):
            assert bench.view("igpu").in_flight == 2
        assert list(bench.fleet.at_work()) == [IGPU]
    assert bench.view("igpu").in_flight == 0
    assert list(bench.fleet.at_work()) == []


async def test_requests_at_a_former_address_hold_no_slot_of_the_engine_at_the_present_one(bench: Bench) -> None:
    with bench.fleet.lease("igpu") as there:
        bench.reconcile(NPU, MOVED)
        assert (bench.view("igpu").spec, bench.view("igpu").in_flight) == (MOVED, 0)
        with bench.fleet.lease("igpu") as here:
            assert (bench.view("igpu").in_flight, bench.fleet.leases("igpu")) == (1, [here])
            assert list(bench.fleet.at_work()) == [MOVED, IGPU]
            bench.reconcile(NPU, IGPU)
            assert (bench.view("igpu").in_flight, bench.fleet.leases("igpu")) == (1, [there])
            bench.reconcile(NPU)
            assert bench.view("igpu").in_flight == 2
        assert bench.view("igpu").in_flight == 1
    assert bench.shown == ["npu"]


async def test_one_that_ends_at_a_former_address_frees_nothing_at_the_present_one(bench: Bench) -> None:
    with bench.fleet.lease("igpu"):
        bench.reconcile(NPU, MOVED)
        here = bench.fleet.lease("igpu")
    assert bench.view("igpu").in_flight == 1
    with here:
        pass
    assert bench.view("igpu").in_flight == 0


async def test_an_engine_at_another_address_is_unknown_until_it_was_checked(bench: Bench) -> None:
    bench.reconcile(NPU, MOVED)
    assert bench.view("igpu").health is Health.UNKNOWN
    assert await bench.health.catch_up()
    assert bench.view("igpu").health is Health.UP
    assert not await bench.health.catch_up()


async def test_another_key_is_unknown_until_it_was_checked(bench: Bench) -> None:
    bench.fleet.reconcile([BackendConfig(NPU, api_key="secret")])
    assert bench.view("npu").health is Health.UNKNOWN


async def test_another_description_of_the_same_engine_leaves_its_health(bench: Bench) -> None:
    bench.reconcile(NPU, replace(IGPU, priority=7, slots=4))
    view = bench.view("igpu")
    assert (view.health, view.spec.priority, view.slots) == (Health.UP, 7, 4)


async def test_a_removed_backend_takes_no_request_and_is_shown_until_its_last_one_has_ended(bench: Bench) -> None:
    with bench.fleet.lease("igpu"):
        assert bench.reconcile(NPU) == FleetChanges(removed=frozenset({"igpu"}))
        view = bench.view("igpu")
        assert (view.health, view.in_flight) == (Health.DISABLED, 1)
        assert "removed" in str(view.health_reason)
        assert not bench.fleet.has("igpu")
        with pytest.raises(KeyError):
            bench.fleet.lease("igpu")
    assert bench.shown == ["npu"]


async def test_a_backend_that_comes_back_while_it_drains_counts_its_old_requests(bench: Bench) -> None:
    with bench.fleet.lease("igpu"):
        bench.reconcile(NPU)
        bench.reconcile(NPU, IGPU)
        assert (bench.view("igpu").health, bench.view("igpu").in_flight) == (Health.UNKNOWN, 1)
    assert bench.view("igpu").in_flight == 0
    assert bench.shown == ["npu", "igpu"]


async def test_a_new_backend_does_not_wait_for_the_check_of_one_that_is_silent(bench: Bench) -> None:
    bench.reconcile(NPU, MOVED)
    silent = bench.fleet.backend("igpu")
    assert isinstance(silent, FakeBackend)
    silent.probe = asyncio.Event().wait  # type: ignore[assignment, method-assign]
    earlier = asyncio.create_task(bench.health.check_new())
    await asyncio.sleep(0)
    bench.reconcile(NPU, MOVED, spec_of("cpu"))
    check = asyncio.create_task(bench.health.check_new())
    for _ in range(5):
        await asyncio.sleep(0)
    assert bench.view("cpu").health is Health.UP
    for each in (earlier, check):
        each.cancel()


async def test_an_engine_that_is_described_anew_is_asked_anew_and_serves_meanwhile(bench: Bench) -> None:
    bench.reconcile(NPU, replace(IGPU, priority=7))
    engine = bench.fleet.backend("igpu")
    assert isinstance(engine, FakeBackend)
    engine.models = (Model("other"),)
    assert bench.view("igpu").health is Health.UP
    await bench.health.check_new()
    assert [model.name for model in bench.view("igpu").models] == ["other"]


async def test_an_engine_that_is_described_anew_while_it_works_may_be_too_busy_to_say_how_it_is(bench: Bench) -> None:
    with bench.fleet.lease("igpu"):
        bench.reconcile(NPU, replace(IGPU, priority=7))
        engine = bench.fleet.backend("igpu")
        assert isinstance(engine, FakeBackend)
        engine.down = ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "it did not begin to answer within 3 s")
        await bench.health.check_all()
        assert bench.view("igpu").health is Health.UP
    await bench.health.check_all()
    assert bench.view("igpu").health is Health.DOWN, "nothing keeps it busy now"


async def test_where_one_backend_cannot_be_made_nothing_has_changed(bench: Bench) -> None:
    before, told = bench.fleet.views.value, list[FleetChanges]()
    bench.fleet.reconciled.listen(told.append)
    bench.broken = "cpu"
    with pytest.raises(ValueError, match="fault"):
        bench.reconcile(MOVED, spec_of("cpu"))
    assert bench.fleet.views.value is before
    assert bench.fleet.has("npu")
    assert told == []


async def test_a_check_of_a_backend_that_was_replaced_meanwhile_says_nothing_of_the_new_one(bench: Bench) -> None:
    old = bench.fleet.backend("igpu")
    assert isinstance(old, FakeBackend)
    going_on, probe = asyncio.Event(), old.probe

    async def slow() -> object:
        await going_on.wait()
        return await probe()

    old.probe = slow  # type: ignore[assignment, method-assign]
    check = asyncio.create_task(bench.health.check_all())
    await asyncio.sleep(0)
    bench.reconcile(NPU, MOVED)
    going_on.set()
    await check
    assert bench.view("igpu").health is Health.UNKNOWN


async def test_what_the_configuration_switches_off_and_on_follows_it(bench: Bench) -> None:
    bench.fleet.reconcile([BackendConfig(NPU, enabled=False), BackendConfig(IGPU)])
    assert str(bench.view("npu").health_reason) == "disabled in the configuration"
    assert bench.view("npu").models, "what it holds is still known"
    bench.reconcile(NPU, IGPU)
    assert bench.view("npu").health is Health.UNKNOWN


async def test_what_was_switched_off_by_hand_stays_so(bench: Bench) -> None:
    bench.fleet.set_enabled("igpu", enabled=False)
    bench.reconcile(NPU, MOVED)
    assert str(bench.view("igpu").health_reason) == "switched off by hand"
