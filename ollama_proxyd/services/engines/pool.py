"""Owns the processes of engines: which run, which wait for memory, and which must leave for others."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

from ollama_proxyd.core.engine_files import ModelFile
from ollama_proxyd.core.engine_instances import Changed, Instance, Phase, Signal
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendSpec, Probe
from ollama_proxyd.core.memory_budget import Budgets, Tenant, decide, excess, never_fits
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.residency import Place
from ollama_proxyd.services.cell import Topic
from ollama_proxyd.services.engines.ends import Ends
from ollama_proxyd.services.engines.footprints import Footprints
from ollama_proxyd.services.engines.patience import Patience
from ollama_proxyd.services.engines.restarts import started
from ollama_proxyd.services.engines.room import CARDS, Room, in_use, no_room, why_never
from ollama_proxyd.services.engines.roster import Roster
from ollama_proxyd.services.engines.running import Running
from ollama_proxyd.services.engines.starting import MOST_SILENCES, Starter
from ollama_proxyd.services.engines.survivors import Survivors
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)


class EnginePool:
    """The one owner of processes; a request holds one by `use`."""

    def __init__(
        self, starter: Starter, room: Room, footprints: Footprints, survivors: Survivors, clock: Clock
    ) -> None:
        self.starter = starter
        starter.news = self._tell
        self.room = room
        self._footprints = footprints
        self._clock = clock
        self._roster = Roster()
        self._tasks = Tasks("engines")
        self._patience = Patience(clock, self._tasks, self._advance)
        self._survivors = survivors
        self._has_looked = self._is_looking = False
        """Whether it was looked for what an earlier daemon left; nothing is started meanwhile."""
        self.ends = Ends(clock)
        self.loads, self.evictions = 0, 0
        self.changed: Topic[Changed] = Topic()
        self.evicted: Topic[str] = Topic()
        """The id of each backend that evicts, or from which an engine leaves for another."""
        self.reload_j: Callable[[BackendSpec, ModelFile], float] = lambda _spec, file: file.size_bytes
        """What loading costs; by size until the policy says it in joules."""
        self.waiting_for: Callable[[str, str], int] = lambda _backend_id, _model: 0
        """How many requests wait that would go to a model of a backend."""

    @asynccontextmanager
    async def use(self, spec: BackendSpec, file: ModelFile) -> AsyncIterator[Running]:
        """A process that is ready for a model, started where there is none; raises ProxyError."""
        running = self._claim(spec, file)
        try:
            await running.settled.wait()
            if running.failure is not None:
                raise running.failure.but()
            yield running
            if running.is_fresh:
                running.is_fresh = False
                self._tasks.start("measure", self._footprints.measure(running))
            self.ends.forget(running.place)
        finally:
            self._release(running)

    def running(self, backend_id: str) -> tuple[Running, ...]:
        """The processes of a backend that take requests now."""
        return self._roster.ready(backend_id)

    @property
    def instances(self) -> tuple[Instance, ...]:
        """All of them."""
        return tuple(each.told() for each in self._roster.all)

    @property
    def budgets(self) -> Budgets:
        """How much memory there may be."""
        return self.room.budgets([each.needs for each in self._roster.held])

    def unfit(self, spec: BackendSpec, file: ModelFile) -> Reason | None:
        """Why a model can never be loaded there."""
        needs = self.room.needs(spec, self._footprints.expected(spec, file))
        own = self._roster.current.get(Place(spec.id, file.name))
        others = [each for each in self._tenants() if each.key is not own]
        short = never_fits(self.budgets, others, needs)
        return None if short is None else why_never(spec.id, file.name, short)

    def _claim(self, spec: BackendSpec, file: ModelFile) -> Running:
        running = self._roster.current.get(Place(spec.id, file.name))
        if running is not None and not running.is_for(spec, file):
            self.leave(running)
            running = None
        if running is None:
            running = Running(spec, file, self.room.needs(spec, self._footprints.expected(spec, file)))
            self._roster.wait(running)
            self._tell(running)
        running.users += 1
        self._advance()
        return running

    def _release(self, running: Running) -> None:
        running.let_go(self._clock.monotonic(), self._clock.unix())
        if running.users == 0 and running.phase is Phase.WAITING:
            self._drop(running)
        elif running.users == 0 and running.phase is Phase.DRAINING:
            self._stop(running)
        self._advance()

    def _advance(self) -> None:
        """Start what fits, have leave what is in the way; later wishes do not overtake the first."""
        while self._roster.queue and not self._is_looking:
            first = self._roster.queue[0]
            verdict = decide(self.budgets, self._tenants(), first.needs, self._clock.monotonic())
            if verdict.short is not None:
                if not verdict.is_for_good and self._patience.may_wait():
                    return
                self._drop(first, no_room(*first.place, verdict))
            elif verdict.fits:
                self._roster.take(first)
                first.move(Signal.FITS)
                self._tell(first)
                self._tasks.start(first.file.name, self._load(first))
            else:
                for each in verdict.leave:
                    assert isinstance(each, Running)
                    self._note_eviction(first, each)
                    log.info("%s of %s leaves the memory for %s", each.file.name, each.spec.id, first.file.name)
                    self.leave(each)
                return
            self._patience.end()

    async def _load(self, running: Running) -> None:
        begun_s = self._clock.monotonic()
        start = partial(self.starter.start, running, self.room.most_bytes(running.needs))
        try:
            probe = await started(running, start, self._clock, self.ends.note_failure)
        except ProxyError as error:
            if running.phase is not Phase.STOPPING:
                self.ends.note_failure(running, error)
            running.failure = error
            self._gone(running)
            return
        running.load_s = self._clock.monotonic() - begun_s
        self._serve(running, probe)
        if not running.file.is_store:
            self.loads += 1
            log.info("%s of %s is loaded after %.1f s", running.file.name, running.spec.id, running.load_s)

    def _serve(self, running: Running, probe: Probe) -> None:
        running.note(probe)
        running.move(Signal.LOADED)
        running.settled.set()
        self._tasks.start("watch", self._watch(running))
        self._tell(running)

    async def _watch(self, running: Running) -> None:
        """Until its process ends; where it was not meant to, requests on it fail by themselves."""
        assert running.process is not None
        how = await running.process.ended()
        if running.phase is not Phase.STOPPING:
            self.ends.note_end(running, how)
        self._gone(running)

    def leave(self, running: Running) -> None:
        """Have it take no new requests, and stop it once those under way have ended."""
        if running.phase is Phase.WAITING:
            self._drop(running, ProxyError(ErrorKind.UNAVAILABLE, f"{running.file.name!r} is not to be loaded now"))
            return
        self._roster.leave(running)
        running.move(Signal.LEAVES)
        self._tell(running)
        if not running.users:
            self._stop(running)

    def _stop(self, running: Running) -> None:
        running.move(Signal.UNUSED)
        self._tell(running)
        self._tasks.start("stop", self._end(running))

    async def _end(self, running: Running) -> None:
        await self._footprints.measure(running)
        await self.starter.end(running)

    def _drop(self, running: Running, failure: ProxyError | None = None) -> None:
        """Forget one that never ran."""
        running.failure = failure
        self._gone(running)

    def _gone(self, running: Running) -> None:
        running.move(Signal.ENDED)
        self.starter.clear(running)
        self._roster.forget(running)
        running.settled.set()
        running.gone.set()
        self._tell(running)
        self._advance()

    async def stop(self, backend_id: str, model: str, *, drains: bool = False) -> None:
        """End the process of a model; raises ProxyError with IN_USE while requests are under way, unless it drains."""
        running = self._roster.current.get(Place(backend_id, model))
        if running is None:
            return
        if running.users and not drains:
            raise in_use(backend_id, model)
        self.leave(running)
        await running.gone.wait()

    def leave_cards(self) -> list[Running]:
        """Have idle engines leave the memory of cards, which a game wants, or a sleep would have to save."""
        leaving = [each for each in self._roster.idle if each.spec.hardware in CARDS and not each.is_pinned]
        for each in leaving:
            self.leave(each)
        return leaving

    async def measure(self, backend_id: str) -> None:
        """Have the kernel's count stand for the estimates; idle engines leave where that is too much."""
        for each in [each for each in self._roster.held if each.spec.id == backend_id]:
            if each.users and each.probe is not None:
                self._tasks.start("look", self.starter.look(each))
            await self._footprints.measure(each)
        for key in excess(self.budgets, self._tenants(), self._clock.monotonic()):
            assert isinstance(key, Running)
            self._note_eviction(key)
            log.warning("%s of %s leaves: engines have more memory than they may", key.file.name, key.spec.id)
            self.leave(key)

    def reconcile(self, specs: Mapping[str, BackendSpec]) -> None:
        """Have leave what is started otherwise now, or not wanted any more; the first time, take over what runs."""
        if not self._has_looked:
            self._has_looked = self._is_looking = True
            self._tasks.start("take-over", self._take_over(specs))
        self._tasks.start("prompts", self.starter.prompts.keep_backends(specs))
        self.ends.keep_only(specs)
        for each in tuple(self._roster.current.values()):
            spec = specs.get(each.spec.id)
            if spec is None or not each.is_for(spec, each.file):
                self.leave(each)

    async def _take_over(self, specs: Mapping[str, BackendSpec]) -> None:
        try:
            taken = await self._survivors.take_over(specs, self._roster.current)
        finally:
            self._is_looking = False
        for running in taken:
            self._roster.take(running)
            self._tasks.start(running.file.name, self._check(running))
        self._survivors.note(self._roster.held)
        self._advance()

    async def _check(self, running: Running) -> None:
        """Serve with a process that was taken over, or have another one started where somebody waits."""
        assert running.process is not None
        try:
            probe = await self.starter.ready(running, running.process, MOST_SILENCES)
        except ProxyError as error:
            log.warning("an engine of an earlier start is of no use: %s", error.message)
            if running.phase is Phase.LOADING and running.users:
                running.lose()
                self._roster.wait(running)
                self._advance()
            else:
                self._drop(running, error)
            return
        log.info("%s of %s runs since an earlier start, and is taken over", running.file.name, running.spec.id)
        self._serve(running, probe)

    async def close(self, *, keeps_units: bool = False) -> None:
        """End all processes, but those that are units where the next daemon is to take them over."""
        self._roster.queue.clear()
        has_all = not self._is_looking
        await self._tasks.close()
        kept = self._roster.units if keeps_units else []
        await self.starter.end_all([each for each in self._roster.held if each not in kept])
        if has_all:
            self._survivors.leave(kept)

    def _note_eviction(self, *concerned: Running) -> None:
        self.evictions += 1
        for backend_id in {each.spec.id for each in concerned}:
            self.evicted.publish(backend_id)

    def _tenants(self) -> list[Tenant]:
        held = self._roster.held
        return [each.tenant(self.reload_j(each.spec, each.file), self.waiting_for(*each.place)) for each in held]

    def _tell(self, running: Running) -> None:
        failed = running.failure is not None or running.phase is Phase.GONE
        self.changed.publish(Changed(running.told(), self.ends.why(running.place) if failed else None))
        if not self._is_looking:
            self._survivors.note(self._roster.held)
