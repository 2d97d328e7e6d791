"""What is usually wanted at this hour is loaded before anybody asks: on the charger, once, and for its time alone."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Finished, FinishReason
from ollama_proxyd.core.fleet import LoadedModel, Model, Profile
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.prewarm import Habits
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.keeper import Place
from ollama_proxyd.services.prewarm import PrewarmDeps, Prewarmer
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
        load = self._load
        deps = PrewarmDeps(
            services.fleet,
            services.governor,
            services.history,
            services.keeper,
            services.system,
            services.clock,
            load,
        )
        self.prewarmer = Prewarmer(deps)

    async def _load(self, model: str, backend_id: str) -> None:
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
