"""What engines tell of their load is kept while it can be right."""

import asyncio

from ollama_proxyd.core.engine_load import NOT_TOLD, EngineLoad
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import Probe
from ollama_proxyd.services.engine_loads import KEPT_ROUNDS, EngineLoads
from ollama_proxyd.services.inventory import BackendConfig
from tests.fakes import FakeBackend, FakeFleet, pass_by, services_of, spec_of


class Reader:
    """Tells what a test sets; None stands for silence."""

    def __init__(self) -> None:
        self.load: EngineLoad | None = EngineLoad(running=1, waiting=2)

    async def read(self, config: BackendConfig) -> EngineLoad:
        if self.load is None:
            raise ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "silent")
        return self.load


async def test_silence_is_borne_for_some_rounds_and_then_nothing_is_known() -> None:
    services, reader = await services_of(FakeBackend("a")), Reader()
    loads = EngineLoads(services.fleet, reader, services.clock, lambda: 1.0)
    await loads.ask()
    assert loads.of("a") == loads.queued["a"] == EngineLoad(running=1, waiting=2)
    reader.load = None
    for _ in range(KEPT_ROUNDS - 1):
        await loads.ask()
    assert loads.of("a").is_told
    await loads.ask()
    assert loads.of("a") == NOT_TOLD
    assert not loads.queued


async def test_after_a_first_look_at_all_engines_they_are_looked_at_one_after_the_other() -> None:
    services = await services_of(*[FakeBackend(each) for each in "abcd"])
    begun_s, asked = services.clock.monotonic(), list[tuple[str, float]]()

    class Noting(Reader):
        async def read(self, config: BackendConfig) -> EngineLoad:
            asked.append((config.spec.id, services.clock.monotonic() - begun_s))
            return await super().read(config)

    loads = EngineLoads(services.fleet, Noting(), services.clock, lambda: 2.0)
    following = asyncio.create_task(loads.follow())
    await pass_by(5.9)
    following.cancel()
    at_first = [(each, 0.0) for each in "abcd"]
    assert asked == [*at_first, *zip("abcdabcd", [2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5], strict=True)]


async def test_in_the_middle_of_a_round_one_that_moved_is_asked_where_it_is_and_none_that_has_gone() -> None:
    services, asked = await services_of(FakeBackend("a"), FakeBackend("b"), FakeBackend("c")), list[BackendConfig]()
    fleet = services.fleet

    class Noting(Reader):
        async def read(self, config: BackendConfig) -> EngineLoad:
            asked.append(config)
            return await super().read(config)

    loads = EngineLoads(fleet, Noting(), services.clock, lambda: 3.0)
    asking = asyncio.create_task(loads.ask(within_s=3.0))
    await pass_by(0.5)
    moved = spec_of("b", endpoint="http://elsewhere")
    assert isinstance(fleet, FakeFleet)
    fleet.have(FakeBackend("a"), FakeBackend(moved))
    fleet.note_up("b", Probe(models=()))
    await pass_by(3.0)
    await asking
    assert [each.spec.endpoint for each in asked] == [spec_of("a").endpoint, "http://elsewhere"]


async def test_only_those_that_are_up_are_asked_and_changes_are_named() -> None:
    services, reader = await services_of(FakeBackend("a"), FakeBackend("b")), Reader()
    loads = EngineLoads(services.fleet, reader, services.clock, lambda: 1.0)
    await loads.ask()
    assert loads.changed == {"a", "b"}
    loads.changed.clear()
    await loads.ask()
    assert loads.changed == set(), "nothing has changed"
    services.fleet.set_enabled("b", False)
    reader.load = EngineLoad(running=0, waiting=0)
    await loads.ask()
    assert (loads.of("a"), loads.of("b")) == (reader.load, NOT_TOLD)
    assert loads.changed == {"a", "b"}
    assert not loads.queued


async def test_of_engines_that_are_gone_no_silence_is_remembered() -> None:
    services, reader = await services_of(FakeBackend("a"), FakeBackend("b")), Reader()
    loads = EngineLoads(services.fleet, reader, services.clock, lambda: 1.0)
    reader.load = None
    await loads.ask()
    assert loads._missed.keys() == {"a", "b"}
    assert isinstance(services.fleet, FakeFleet)
    services.fleet.have(FakeBackend("a"))
    await loads.ask()
    assert loads._missed.keys() == {"a"}
