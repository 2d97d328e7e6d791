"""What is usually wanted at this hour is loaded before anybody asks: on the charger, once, and for its time alone."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ollama_proxyd.app.loading_ahead import load_ahead
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Finished, FinishReason
from ollama_proxyd.core.fleet import LoadedModel, Model, Profile
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.prewarm import Habits
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.core.residency import Place
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.prewarm import Load, PrewarmDeps, Prewarmer
from ollama_proxyd.services.tasks import Tasks
from tests.fakes import FakeBackend, FakeClock, MemoryHistory, pass_by, services_of, settle, spec_of

MAINS = SystemState(on_battery=Reading(False, 0.0), games=Reading(0, 0.0))
BATTERY = SystemState(on_battery=Reading(True, 0.0), games=Reading(0, 0.0))
AT = Place("cpu", "tiny")


class Habitual(MemoryHistory):
    """Every day so far somebody asked for a model ten minutes past the hour."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = Habits(10, {"tiny": [600.0] * 10})

    async def habits(self, since: str, today: str, hour: int) -> Habits:
        return self.seen


class Bench:
    """One engine in main memory, and what was loaded ahead at it."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.loaded: list[tuple[str, str]] = []
        self.fails = False
        self.load: Load = self._note
        deps = PrewarmDeps(
            services.fleet,
            services.governor,
            services.history,
            services.keeper,
            services.system,
            services.clock,
            self._load,
        )
        self.prewarmer = Prewarmer(deps)

    async def _load(self, model: str, backend_id: str) -> None:
        await self.load(model, backend_id)

    async def _note(self, model: str, backend_id: str) -> None:
        self.loaded.append((model, backend_id))
        if self.fails:
            raise ProxyError(ErrorKind.NO_ROOM, "there is no room")


@pytest.fixture
def engine() -> FakeBackend:
    profile = Profile(power_w=28, ttft_s=1, decode_tps=6, load_s=5, load_j=50, idle_w=0)
    models = [Model("tiny", size_bytes=10**9)]
    spec = replace(spec_of("cpu"), profile=profile)
    backend = FakeBackend(spec, Accepted(), Finished(FinishReason.STOP), models=models, loaded=())
    backend.can_keep = False
    return backend


@pytest.fixture
async def bench(engine: FakeBackend) -> AsyncIterator[Bench]:
    services = await services_of(engine, mode=Mode.BALANCED, clock=FakeClock())
    services.history.store = Habitual()
    bench = Bench(services)
    async with Tasks("test") as tasks:
        bench.prewarmer.follow(tasks)
        yield bench


async def test_it_is_loaded_shortly_before_its_usual_time_and_stays_until_then(bench: Bench) -> None:
    bench.services.system.set(MAINS)
    bench.prewarmer.reconfigure(is_on=True)
    await pass_by(500)
    assert bench.loaded == []
    await pass_by(99)
    assert bench.loaded == [("tiny", "cpu")]
    assert bench.services.keeper.wanted_until_s[AT] == pytest.approx(1_000 + 600)


async def test_nothing_is_loaded_unless_it_is_switched_on(bench: Bench) -> None:
    bench.services.system.set(MAINS)
    await pass_by(7200)
    assert bench.loaded == []


async def test_on_battery_nothing_is_loaded_until_the_charger_comes(bench: Bench) -> None:
    bench.services.system.set(BATTERY)
    bench.prewarmer.reconfigure(is_on=True)
    await pass_by(3700)
    assert bench.loaded == []
    bench.services.system.set(MAINS)
    await pass_by(500)
    assert bench.loaded == [("tiny", "cpu")]


async def test_what_is_unplugged_or_played_on_before_the_time_is_left_alone(bench: Bench) -> None:
    bench.services.system.set(MAINS)
    bench.prewarmer.reconfigure(is_on=True)
    await pass_by(300)
    bench.services.system.set(replace(MAINS, games=Reading(1, 0.0)))
    await pass_by(400)
    assert bench.loaded == []


async def test_for_it_nothing_leaves_the_memory(bench: Bench, engine: FakeBackend) -> None:
    engine.loaded = (LoadedModel("other"),)
    await bench.services.health.check_all()
    bench.services.system.set(MAINS)
    bench.prewarmer.reconfigure(is_on=True)
    await pass_by(700)
    assert bench.loaded == []


async def test_what_leaves_the_memory_before_the_time_is_in_nobody_s_way(bench: Bench, engine: FakeBackend) -> None:
    engine.loaded = (LoadedModel("other"),)
    await bench.services.health.check_all()
    bench.services.system.set(MAINS)
    bench.prewarmer.reconfigure(is_on=True)
    await pass_by(60)
    engine.loaded = ()
    await bench.services.health.check_all()
    await pass_by(640)
    assert bench.loaded == [("tiny", "cpu")]


async def test_it_stays_over_a_switch_of_the_mode_and_leaves_when_nobody_came(
    bench: Bench, engine: FakeBackend
) -> None:
    services, store = bench.services, bench.services.history.store
    assert isinstance(store, Habitual)
    store.seen = Habits(10, {"tiny": [600.0] * 5 + [2400.0] * 5})
    engine.script = (Accepted(), Finished(FinishReason.LOAD))

    async def load(model: str, backend_id: str) -> None:
        engine.loaded = (LoadedModel("tiny"),)
        await load_ahead(services.gateway, model, backend_id)
        await services.health.check_all()

    bench.load = load
    async with Tasks("keeper") as tasks:
        services.keeper.follow(tasks)
        services.system.set(MAINS)
        bench.prewarmer.reconfigure(is_on=True)
        await pass_by(2000)
        services.governor.select(Mode.PERFORMANCE)
        await pass_by(390)
        assert engine.unloaded == []
        await pass_by(100)
        assert engine.unloaded == ["tiny"]


async def test_a_fault_of_one_hour_is_told_and_the_next_tries_anew(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def load(model: str, backend_id: str) -> None:
        bench.loaded.append((model, backend_id))
        raise RuntimeError("a fault")

    bench.load = load
    bench.services.system.set(MAINS)
    bench.prewarmer.reconfigure(is_on=True)
    await pass_by(700)
    assert bench.services.keeper.wanted_until_s == {}
    await pass_by(3600)
    assert bench.loaded == [("tiny", "cpu")] * 2
    assert "a fault of the proxy" in caplog.text


async def test_in_a_mode_in_which_the_wait_is_worth_less_nothing_is_loaded(bench: Bench) -> None:
    store = bench.services.history.store
    assert isinstance(store, Habitual)
    store.seen = Habits(10, {"tiny": [600.0] * 8})
    bench.services.system.set(MAINS)
    bench.prewarmer.reconfigure(is_on=True)
    bench.services.governor.select(Mode.ULTRA_EFFICIENCY)
    await pass_by(700)
    assert bench.loaded == []
    bench.services.governor.select(Mode.PERFORMANCE)
    await pass_by(3600)
    assert bench.loaded == [("tiny", "cpu")]


async def test_one_that_does_not_load_is_not_kept_and_the_next_hour_tries_anew(bench: Bench) -> None:
    bench.fails = True
    bench.services.system.set(MAINS)
    bench.prewarmer.reconfigure(is_on=True)
    await pass_by(700)
    assert bench.loaded == [("tiny", "cpu")]
    assert bench.services.keeper.wanted_until_s == {}
    await pass_by(3600)
    await settle()
    assert bench.loaded == [("tiny", "cpu")] * 2
