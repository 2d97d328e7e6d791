"""Models that the proxy loaded are unloaded when keeping them has cost as much as loading them again would."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from math import inf

import pytest

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.errors import IN_USE, ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Event, Finished, FinishReason, Timings
from ollama_proxyd.core.fleet import BackendView, Hardware, Health, LoadedModel, Model, Probe
from ollama_proxyd.core.keeping import Kept, KeptBy, Memory
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.core.policy.decision import Decision, Ranked
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.residence import Residence
from ollama_proxyd.core.readings import NO_SENSOR, DeviceState, PowerState, Reading, SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import LoadAction, Operation, Request
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.keeper import GRACE_S
from ollama_proxyd.services.keeping_facts import KeepingFacts
from ollama_proxyd.services.settings import KeepAlive, KeepingSettings
from ollama_proxyd.services.tasks import Tasks
from tests.fakes import FakeBackend, FakeClock, pass_by, reload, services_of, settle, words
from tests.services.engines.machine import engine_spec
from tests.services.test_gateway import answer, request

TINY = Model("tiny:latest", size_bytes=4_700_000_000)
AGAIN_J = 55.0 * (0.5 + 4.7e9 / 1.5e9 + 2.0)
"""Loading, and waking the card, at 55 W."""
KEEP_S = (AGAIN_J + DEFAULT_TABLE[Mode.BALANCED].price_of_time_w * AGAIN_J / 55.0) / 9.0
"""In Balanced, at 9 W."""
BY_ENGINE_S = 300.0


class Ollama(FakeBackend):
    """An engine that lets go of its models by itself, after the time that it was told last."""

    def __init__(
        self, clock: FakeClock, name: str = "nvidia", *, obeys: bool = True, models: tuple[str, ...] = ()
    ) -> None:
        held = [replace(TINY, name=each) for each in models] or [TINY]
        super().__init__(name, *words("Hello"), models=held, loaded=())
        self.clock = clock
        self.obeys = obeys
        self.stays_s: dict[str, float] = {}
        self.until_s: dict[str, float] = {}
        self.gate: asyncio.Event | None = None

    async def answer(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
        asked_s = self.keep_s.get(model) if request.keeps_s is None and request.load_action is None else None
        told_s = asked_s if request.keeps_s is None else request.keeps_s
        self.stays_s[model] = self.stays_s.get(model, BY_ENGINE_S) if told_s is None else told_s
        self.until_s[model] = inf
        try:
            async for event in super().answer(request, model):
                yield Accepted(asked_s=asked_s) if isinstance(event, Accepted) else event
                if self.gate is not None:
                    await self.gate.wait()
        finally:
            self.use(model, self.stays_s[model])

    def use(self, model: str, stays_s: float) -> None:
        """The model was used, by whomsoever."""
        self.stays_s[model] = stays_s
        self.until_s[model] = self.clock.monotonic() + stays_s

    async def unload(self, model: str) -> None:
        await super().unload(model)
        self.until_s.pop(model, None)

    @property
    def in_memory(self) -> list[str]:
        now_s = self.clock.monotonic()
        return [model for model, until_s in self.until_s.items() if until_s > now_s or not self.obeys]

    async def probe(self) -> Probe:
        shift_s = self.clock.unix() - self.clock.monotonic()
        self.loaded = tuple(
            LoadedModel(each, expires_unix_s=self.until_s[each] + shift_s if self.until_s[each] < inf else 1e11)
            for each in self.in_memory
        )
        return await super().probe()


class Bench:
    """Services with a keeper at work, and one engine."""

    def __init__(self, clock: FakeClock, services: Services, engine: Ollama) -> None:
        self.clock, self.services, self.engine = clock, services, engine

    async def ask(self, keeps_s: float | None = None, model: str = "tiny") -> None:
        await answer(self.services, replace(request(model=model), keeps_s=keeps_s))
        await settle()

    @property
    def kept(self) -> tuple[Kept, ...]:
        return self.services.keeper.kept("nvidia")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engine(clock: FakeClock) -> Ollama:
    return Ollama(clock)


@pytest.fixture
async def bench(clock: FakeClock, engine: Ollama) -> AsyncIterator[Bench]:
    services = await services_of(engine, clock=clock)
    async with Tasks("test") as tasks:
        services.keeper.follow(tasks)
        await settle()
        yield Bench(clock, services, engine)


async def test_the_engine_is_asked_to_keep_a_model_until_loading_again_would_cost_as_much(bench: Bench) -> None:
    await bench.ask()
    assert bench.engine.keep_s == {"tiny:latest": pytest.approx(KEEP_S)}
    (kept,) = bench.kept
    assert (kept.kept_by, kept.keep_s, kept.left_s) == (KeptBy.PROXY, pytest.approx(KEEP_S), pytest.approx(KEEP_S))
    assert str(kept.reason) == (
        f"unloads after {KEEP_S:.0f} s without requests: loading again costs {AGAIN_J:.0f} J, keeping an estimated 9 W"
    )


async def test_what_its_card_draws_with_an_unused_model_says_how_long_it_is_kept(bench: Bench) -> None:
    def show(joules: float | None) -> None:
        state = PowerState.ASLEEP if joules is None else PowerState.AWAKE
        said = NO_SENSOR if joules is None else Reading(joules, bench.clock.monotonic())
        card = DeviceState("0000:01:00.0", Hardware.NVIDIA, "", power_state=state, energy_j=said)
        bench.services.system.set(SystemState(devices=(card,)))

    async with Tasks("energy") as tasks:
        bench.services.energy.follow(tasks)
        for joules in (None, 0.0):
            show(joules)
            await settle()
        await bench.ask()
        await pass_by(10)
        show(240.0)
        await settle()
        await bench.services.health.check_all()
    (kept,) = bench.kept
    assert kept.keep_s == pytest.approx(KEEP_S * 9 / 24)
    assert "as measured 24 W" in str(kept.reason)


async def test_what_the_engine_lets_go_of_by_itself_needs_no_request(bench: Bench) -> None:
    await bench.ask()
    await pass_by(KEEP_S + GRACE_S + 1)
    assert not bench.kept
    assert not bench.engine.unloaded
    assert bench.services.fleet.view("nvidia").loaded == ()


async def test_an_engine_that_takes_no_time_is_had_to_unload_when_the_time_is_over(bench: Bench) -> None:
    bench.engine.keep = lambda model, seconds: None  # type: ignore[method-assign]
    await bench.ask()
    await pass_by(KEEP_S - 1)
    assert not bench.engine.unloaded
    await pass_by(2)
    assert bench.engine.unloaded == ["tiny:latest"]
    assert not bench.kept


async def test_an_engine_that_does_not_obey_is_had_to_unload(bench: Bench) -> None:
    bench.engine.obeys = False
    await bench.ask()
    await pass_by(KEEP_S + GRACE_S + 1)
    assert bench.engine.unloaded == ["tiny:latest"]


async def test_each_request_begins_the_time_anew(bench: Bench) -> None:
    for _ in range(3):
        await bench.ask()
        await pass_by(KEEP_S - 1)
    assert bench.engine.in_memory == ["tiny:latest"]


async def test_what_a_mode_makes_of_a_second_is_worth_the_mode_counts(bench: Bench) -> None:
    await bench.ask()
    bench.services.governor.select(Mode.PERFORMANCE)
    await bench.ask()
    longer_s = bench.engine.keep_s["tiny:latest"]
    assert longer_s is not None
    assert longer_s > 2 * KEEP_S
    bench.services.governor.select(Mode.ULTRA_EFFICIENCY)
    await pass_by(KEEP_S + GRACE_S)
    assert bench.engine.unloaded == ["tiny:latest"]


@pytest.mark.parametrize("keeps_s", [inf, 60.0, 3600.0, 1.0])
async def test_a_clients_own_time_counts_until_the_model_is_gone(bench: Bench, keeps_s: float) -> None:
    await bench.ask(keeps_s)
    await bench.ask()
    assert bench.engine.keep_s == {"tiny:latest": None}
    assert bench.engine.stays_s == {"tiny:latest": keeps_s}
    assert [(each.kept_by, each.keep_s) for each in bench.kept] == [(KeptBy.CLIENT, None)]
    await pass_by(min(keeps_s, 4000.0) - 0.5)
    assert bench.engine.in_memory == ["tiny:latest"]
    assert not bench.engine.unloaded


async def test_after_a_client_had_it_unloaded_the_proxy_says_again(bench: Bench) -> None:
    await bench.ask(0.0)
    assert not bench.kept
    await bench.services.health.check_all()
    await bench.ask()
    assert [each.kept_by for each in bench.kept] == [KeptBy.PROXY]


async def test_what_another_program_loaded_is_left_to_it(bench: Bench) -> None:
    bench.engine.use("tiny:latest", inf)
    await bench.services.health.check_all()
    await bench.ask()
    await pass_by(1000.0)
    assert bench.engine.keep_s == {"tiny:latest": None}
    assert not bench.engine.unloaded
    assert [str(each.reason) for each in bench.kept] == ["another program loaded it or uses it, so it is left alone"]


async def test_what_another_program_uses_after_us_is_left_to_it(bench: Bench) -> None:
    bench.engine.obeys = False
    await bench.ask()
    await pass_by(KEEP_S / 2)
    bench.engine.use("tiny:latest", 600.0)
    await pass_by(KEEP_S)
    assert not bench.engine.unloaded
    assert [each.kept_by for each in bench.kept] == [KeptBy.OTHER]


async def test_a_model_that_works_for_another_program_is_asked_for_again_later(bench: Bench) -> None:
    bench.engine.obeys = False
    bench.engine.unloading = ProxyError(ErrorKind.UPSTREAM_REJECTED, "it works", code=IN_USE)
    await bench.ask()
    await pass_by(3.5 * (KEEP_S + GRACE_S))
    assert len(bench.engine.unloaded) == 3
    bench.engine.unloading = None
    await pass_by(KEEP_S + GRACE_S)
    assert not bench.kept


async def test_where_it_stays_the_reason_is_told_and_it_is_not_tried_again_and_again(bench: Bench) -> None:
    bench.engine.obeys = False
    bench.engine.unloading = ProxyError(ErrorKind.UPSTREAM_FAILED, "broken")
    await bench.ask()
    await pass_by(20 * KEEP_S)
    assert len(bench.engine.unloaded) == 1
    assert [each.reason for each in bench.kept] == [Reason("not_unloaded", model="tiny:latest", detail="broken")]


async def test_a_model_stays_while_a_request_for_it_is_under_way(bench: Bench) -> None:
    bench.engine.gate = asyncio.Event()
    first = asyncio.create_task(bench.ask())
    await settle()
    await pass_by(10 * KEEP_S)
    assert [each.left_s for each in bench.kept] == [None]
    bench.engine.gate.set()
    await first
    assert [each.left_s for each in bench.kept] == [pytest.approx(KEEP_S)]


async def test_twenty_at_once_end_in_one_unloading(bench: Bench) -> None:
    bench.engine.obeys = False
    await asyncio.gather(*(bench.ask() for _ in range(20)))
    await pass_by(KEEP_S + GRACE_S + 1)
    assert bench.engine.unloaded == ["tiny:latest"]


async def test_a_model_that_was_only_loaded_waits_for_its_first_request(bench: Bench) -> None:
    bench.engine.script = (Accepted(), Finished(FinishReason.LOAD))
    await answer(bench.services, replace(request(), load_action=LoadAction.LOAD))
    assert bench.engine.stays_s == {"tiny:latest": BY_ENGINE_S}
    await pass_by(BY_ENGINE_S - 1)
    assert bench.engine.in_memory == ["tiny:latest"]


async def test_an_engine_that_is_gone_when_the_time_is_over_is_not_asked(bench: Bench) -> None:
    await bench.ask()
    bench.engine.down = ProxyError(ErrorKind.UPSTREAM_FAILED, "killed")
    await bench.services.health.check_all()
    await pass_by(2 * KEEP_S)
    assert bench.services.fleet.view("nvidia").health is Health.DOWN
    assert not bench.engine.unloaded
    assert not bench.kept


async def test_two_models_of_one_engine_have_times_of_their_own(clock: FakeClock) -> None:
    engine = Ollama(clock, models=("one", "two"))
    engine.obeys = False
    services = await services_of(engine, clock=clock)
    async with Tasks("test") as tasks:
        services.keeper.follow(tasks)
        bench = Bench(clock, services, engine)
        await bench.ask(model="one")
        await pass_by(KEEP_S / 2)
        await bench.ask(model="two")
        await pass_by(KEEP_S / 2 + GRACE_S + 1)
        assert engine.unloaded == ["one"]
        await pass_by(KEEP_S / 2)
        assert engine.unloaded == ["one", "two"]


async def test_an_unloading_that_takes_long_puts_off_no_other_one(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Ollama(clock, models=("one", "two"))
    engine.obeys, takes_s, unload = False, KEEP_S / 4, engine.unload

    async def unload_slowly(model: str) -> None:
        await asyncio.sleep(takes_s)
        await unload(model)

    monkeypatch.setattr(engine, "unload", unload_slowly)
    services = await services_of(engine, clock=clock)
    async with Tasks("test") as tasks:
        services.keeper.follow(tasks)
        bench = Bench(clock, services, engine)
        await bench.ask(model="one")
        await pass_by(KEEP_S / 2)
        await bench.ask(model="two")
        await pass_by(KEEP_S + takes_s + GRACE_S + 1)
        assert engine.unloaded == ["one", "two"]


async def test_a_reload_changes_nothing_for_what_is_kept(bench: Bench) -> None:
    await bench.ask()
    await reload(bench.services, bench.engine)
    assert len(bench.kept) == 1
    bench.services.keeper.reconfigure(KeepingSettings(KeepAlive.ENGINE))
    await bench.ask()
    assert bench.engine.keep_s == {"tiny:latest": None}
    assert [str(each.reason) for each in bench.kept] == ["its engine says how long it stays"]
    await pass_by(KEEP_S + 10)
    assert not bench.engine.unloaded


async def test_a_service_elsewhere_keeps_its_models_as_it_likes(clock: FakeClock) -> None:
    engine = Ollama(clock)
    engine._spec = replace(engine.spec, is_local=False)
    services = await services_of(engine, clock=clock)
    await Bench(clock, services, engine).ask()
    assert engine.keep_s == {"tiny:latest": None}


async def test_what_unloading_saved_is_counted_and_loading_again_is_taken_off(bench: Bench) -> None:
    await bench.ask()
    await pass_by(KEEP_S + GRACE_S)
    began_s = bench.clock.monotonic()
    await pass_by(50.0)
    savings = bench.services.keeper.savings
    lost_j = savings.saved_j - 9.0 * (bench.clock.monotonic() - began_s)
    assert (savings.unloads.value, lost_j) == (1, pytest.approx(0.0, abs=30.0))
    saved_j = savings.saved_j
    await bench.ask()
    assert savings.saved_j == pytest.approx(saved_j - AGAIN_J, abs=1.0)


async def test_no_more_is_saved_than_until_the_engine_itself_would_have_unloaded(bench: Bench) -> None:
    await bench.ask()
    await pass_by(10_000.0)
    assert bench.services.keeper.savings.saved_j == pytest.approx(9.0 * (BY_ENGINE_S - KEEP_S), abs=30.0)


async def test_the_policy_knows_when_a_model_leaves(bench: Bench) -> None:
    await bench.ask()
    memory = bench.services.fleet.view("nvidia").memory
    assert memory.is_kept_by_us
    assert memory.expires_s["tiny:latest"] - bench.clock.monotonic() == pytest.approx(KEEP_S)
    terms = bench.services.gateway.explain(Query("tiny")).ranked[0].terms
    assert (terms["keep_alive_s"], terms["idle_tail_j"]) == (pytest.approx(KEEP_S), pytest.approx(0.0, abs=0.1))
    await pass_by(KEEP_S / 2)
    terms = bench.services.gateway.explain(Query("tiny")).ranked[0].terms
    assert terms["idle_tail_j"] == pytest.approx(9.0 * KEEP_S / 2, rel=0.1)


async def test_a_request_beside_another_for_its_model_has_come_at_once(clock: FakeClock) -> None:
    facts, ended = KeepingFacts(clock), AttemptEnded("nvidia", TINY.name, Operation.CHAT, "r", 0.0, 1.0)
    for _ in range(3):
        facts.note_sent("nvidia", TINY.name, is_fresh=False)
    for _ in range(3):
        facts.note_ended(ended)
    await pass_by(5.0)
    facts.note_sent("npu", TINY.name, is_fresh=False)
    memory = facts.memory(BackendView(FakeBackend("nvidia").spec), is_kept_by_us=True)
    assert memory.gaps_s[TINY.name] == (0.0, 0.0, pytest.approx(5.0))


async def test_a_backend_that_is_removed_under_way_does_not_end_the_learning_of_gaps(bench: Bench) -> None:
    bench.engine.gate = asyncio.Event()
    asking = asyncio.create_task(bench.ask())
    await settle()
    await reload(bench.services)
    bench.engine.gate.set()
    await asking
    await reload(bench.services, bench.engine)
    await bench.ask()
    await pass_by(7.0)
    await bench.ask()
    (gaps_s,) = bench.services.fleet.view("nvidia").memory.gaps_s.values()
    assert gaps_s[-1] == pytest.approx(7.0)


async def test_backends_that_are_removed_while_models_are_unloaded_do_not_end_unloading(
    bench: Bench, clock: FakeClock
) -> None:
    other = Ollama(clock, "other", obeys=False)
    bench.engine.obeys = False
    await reload(bench.services, bench.engine, other)
    is_unloading, go_on = asyncio.Event(), asyncio.Event()

    async def unload(model: str) -> None:
        is_unloading.set()
        await go_on.wait()

    for engine in (bench.engine, other):
        engine.unload = unload  # type: ignore[method-assign]
        await answer(bench.services, request(target=engine.spec.id))
    await is_unloading.wait()
    await pass_by(60.0)
    await reload(bench.services)
    go_on.set()
    await settle()
    third = Ollama(clock, "third", obeys=False)
    await reload(bench.services, third)
    await answer(bench.services, request(target="third"))
    await pass_by(BY_ENGINE_S + GRACE_S)
    assert third.unloaded == ["tiny:latest"]


async def test_an_engine_of_ours_that_was_running_before_leaves_too(clock: FakeClock) -> None:
    engine = FakeBackend(engine_spec(), models=[TINY], loaded=(LoadedModel(TINY.name),))
    services = await services_of(engine, clock=clock)
    async with Tasks("test") as tasks:
        services.keeper.follow(tasks)
        await services.health.check_all()
        (kept,) = services.keeper.kept("llama")
        assert kept.kept_by is KeptBy.PROXY
        await pass_by((kept.keep_s or inf) + 1)
    assert engine.unloaded == [TINY.name]


def loaded(facts: KeepingFacts, model: Model, load_s: float, stay: Residence | None = None) -> Memory:
    """What is known once a request has loaded a model, where so much waking and loading was expected."""
    view = BackendView(engine_spec("nvidia"))
    facts.memory(view, is_kept_by_us=True)
    decision = None if stay is None else served_with(stay)
    ended = AttemptEnded("nvidia", model.name, Operation.CHAT, "r", 0.0, 1.0, timings=Timings(load_s=load_s))
    facts.note_sent("nvidia", model.name, is_fresh=True)
    learned_s = facts.note_ended(replace(ended, decision=decision))
    assert learned_s is not None
    facts.learn_load("nvidia", model, learned_s)
    return facts.memory(view, is_kept_by_us=True)


def served_with(stay: Residence) -> Decision:
    best = Ranked("nvidia", "any", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, stay)
    return Decision((best,), (), Mode.BALANCED, Mode.BALANCED, REASON, REASON)


REASON = Reason("any")


async def test_small_models_say_little_of_how_fast_large_ones_are_loaded(clock: FakeClock) -> None:
    facts = KeepingFacts(clock)
    for _ in range(10):
        memory = loaded(facts, Model("embed:latest", size_bytes=300_000_000), 2.0)
    assert memory.bytes_per_s is not None
    assert 4.7e9 / memory.bytes_per_s < 5.0
    memory = loaded(facts, Model("large:latest", size_bytes=40_000_000_000), 10.5)
    assert memory.bytes_per_s == pytest.approx(4e9, rel=0.05)


async def test_the_waking_that_an_engine_counts_as_loading_is_not_counted_twice(clock: FakeClock) -> None:
    memory = loaded(KeepingFacts(clock), TINY, 3.0, Residence(wake_s=2.0, load_s=4.0))
    assert memory.load_s[TINY.name] == pytest.approx(2.0)


async def test_a_model_that_loads_in_no_time_makes_no_other_take_forever(clock: FakeClock) -> None:
    memory = loaded(KeepingFacts(clock), Model("tiny:latest", size_bytes=10), 0.1)
    assert memory.bytes_per_s == pytest.approx(1.5e9)
