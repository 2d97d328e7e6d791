"""Stand-ins that tests share: a clock, a backend with a script, a memory instead of a file, and the reference fleet."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, TypeAlias

from ollama_proxyd.core.answer_cache import CacheSettings
from ollama_proxyd.core.budget import BudgetSettings
from ollama_proxyd.core.energy_books import Asked, Books
from ollama_proxyd.core.energy_hours import EnergyHours
from ollama_proxyd.core.energy_series import Series
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import (
    Accepted,
    Delta,
    Embedded,
    Event,
    Finished,
    FinishReason,
    Flow,
    Resumed,
    Tell,
    Usage,
)
from ollama_proxyd.core.fleet import BackendSpec, Hardware, LoadedModel, Model, Probe, Profile
from ollama_proxyd.core.history import MakeRow, Row, Values
from ollama_proxyd.core.management import Managed, Management
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode, ModeTable
from ollama_proxyd.core.prewarm import Habits
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Api, Chat, Json, Message, Operation, Request
from ollama_proxyd.core.spoken import Resume
from ollama_proxyd.core.topology import UNKNOWN_TOPOLOGY, Topology
from ollama_proxyd.core.tuning import Tuning
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.admission import Admission
from ollama_proxyd.services.answers import Answers, AnswersDeps
from ollama_proxyd.services.budget import DailyBudget
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.energy import EnergyAccounts
from ollama_proxyd.services.features import Features
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.frontends import Frontends
from ollama_proxyd.services.gate import Gate
from ollama_proxyd.services.gateway import Gateway, GatewayDeps
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.health import HealthMonitor
from ollama_proxyd.services.history import History
from ollama_proxyd.services.inventory import BackendConfig, FleetChanges
from ollama_proxyd.services.keeper import Keeper, KeeperDeps
from ollama_proxyd.services.learner import Learner
from ollama_proxyd.services.ledger import Ledger
from ollama_proxyd.services.model_sync import ModelSync, SyncDeps
from ollama_proxyd.services.ports import Clock, StateStore
from ollama_proxyd.services.power_saver import PowerSaver
from ollama_proxyd.services.runtime_settings import RuntimeSettings
from ollama_proxyd.services.settings import GatewaySettings, KeepingSettings, ModeSettings, QueueSettings
from ollama_proxyd.services.switches import Switches
from ollama_proxyd.sim.virtual_time import VirtualTimeLoop, virtual_now_s

REFERENCE_PROFILES: Mapping[str, tuple[Hardware, Profile]] = {
    "npu": (Hardware.NPU, Profile(power_w=3.0, ttft_s=0.8, decode_tps=10.0)),
    "igpu": (Hardware.IGPU, Profile(power_w=12.0, ttft_s=0.35, decode_tps=22.0)),
    "nvidia": (Hardware.NVIDIA, Profile(power_w=55.0, ttft_s=0.15, decode_tps=65.0)),
    "cpu": (Hardware.CPU, Profile(power_w=28.0, ttft_s=1.2, decode_tps=6.0)),
}
"""The four devices of the reference laptop."""


RESUME = Resume(lambda request, spoken: replace(request, spoken=spoken), lambda request: request.content())
"""How a request goes on whose API is of no matter."""
ASKED = Request(
    operation=Operation.CHAT,
    api=Api.OPENAI,
    endpoint="chat",
    model="tiny",
    stream=True,
    body=b"{}",
    content=lambda: Chat((Message("user", ()),)),
    resume=RESUME,
)
"""A streamed chat that another backend can go on with."""


class FakeClock:
    """Time that passes with the loop's virtual time, and where a test turns it by hand; elsewhere a sleep turns it."""

    def __init__(self, monotonic_s: float = 1_000.0) -> None:
        self.sleeps: list[float] = []
        """How long each sleep was meant to be."""
        self.asleep = 0
        """How many sleep now."""
        self.day, self.minute = date(2027, 1, 15), 12 * 60.0
        """The local time at the beginning."""
        self._began_s = monotonic_s
        self._slept_s = 0.0
        self._offset_s = monotonic_s - virtual_now_s()

    def monotonic(self) -> float:
        return self._offset_s + virtual_now_s()

    def slept_s(self) -> float:
        return self._slept_s

    def unix(self) -> float:
        return 1_800_000_000.0 + self.monotonic() - self._began_s + self._slept_s

    def local_minute(self) -> float:
        return self._local()[1]

    def local_date(self) -> date:
        return self.day + timedelta(self._local()[0])

    def _local(self) -> tuple[float, float]:
        return divmod(self.minute + (self.monotonic() - self._began_s + self._slept_s) / 60, 24 * 60)

    def nap(self, seconds: float) -> None:
        """The machine sleeps for a while."""
        self._slept_s += seconds

    def advance(self, seconds: float) -> None:
        """Jump, without waking those who sleep."""
        self._offset_s += seconds

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        if not isinstance(asyncio.get_running_loop(), VirtualTimeLoop):
            self.advance(seconds)
            seconds = 0
        self.asleep += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self.asleep -= 1


class SteppedClock(FakeClock):
    """For tests with real sockets, where no time is virtual: who sleeps wakes when the test turns the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.sleepers: list[tuple[float, asyncio.Event]] = []

    async def sleep(self, seconds: float) -> None:
        sleeper = (self.monotonic() + seconds, asyncio.Event())
        self.sleepers.append(sleeper)
        try:
            await sleeper[1].wait()
        finally:
            if sleeper in self.sleepers:  # it was woken by something else: cancelled
                self.sleepers.remove(sleeper)

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        due = [sleeper for sleeper in self.sleepers if sleeper[0] <= self.monotonic() + 1e-9]
        self.sleepers = [sleeper for sleeper in self.sleepers if sleeper not in due]
        for _, awake in due:
            awake.set()


async def pass_by(seconds: float) -> None:
    """Let virtual time go on, and everybody do what there is to do."""
    await settle()
    await asyncio.sleep(seconds)
    await settle()


async def settle() -> None:
    """Let every task go on until each waits for something."""
    for _ in range(20):
        await asyncio.sleep(0)


class MemoryStore:
    """A state store that forgets with the process."""

    def __init__(self, state: Mapping[str, Json] | None = None) -> None:
        self.state: dict[str, Json] = dict(state or {})

    def get(self, key: str) -> Json:
        return self.state.get(key)

    def put(self, key: str, value: Json) -> None:
        self.state[key] = value

    async def written(self) -> None:
        pass


class NoNetwork:
    """A machine of which nobody knows whether its connection is metered."""

    async def is_metered(self) -> bool | None:
        return None


class MemoryHistory:
    """A history store that keeps rows and finds none."""

    trouble: Reason | None = None

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(self, rows: Sequence[MakeRow]) -> None:
        self.rows += [make() for make in rows]

    async def books(self, asked: Asked) -> Books:
        return Books(asked)

    async def series(self, asked: Asked) -> Series:
        return Series(Books(asked))

    async def hours(self, since_s: float) -> EnergyHours:
        return EnergyHours(since_s)

    async def habits(self, since: str, today: str, hour: int) -> Habits:
        return Habits()

    async def recent(self, limit: int) -> Sequence[Values]:
        return [row.values for row in self.rows if row.table == "attempts"][-limit:]


Step: TypeAlias = Event | BaseException | asyncio.Event | Callable[[], None]
"""Something a fake backend does: say an event, fail, wait until a test lets it go on, or call a function."""


def spec_of(backend_id: str, api: Api = Api.OLLAMA, **changes: Any) -> BackendSpec:
    """A backend of the reference fleet by its id, or an unknown one."""
    hardware, profile = REFERENCE_PROFILES.get(backend_id, (Hardware.UNKNOWN, Profile()))
    facts: dict[str, Any] = {
        "id": backend_id,
        "name": f"Test {backend_id}",
        "api": api,
        "endpoint": f"http://127.0.0.1:1/{backend_id}",
        "hardware": hardware,
        "profile": profile,
    }
    return BackendSpec(**{**facts, **changes})


def words(*texts: str) -> tuple[Step, ...]:
    """A whole answer in words that no dialect owns."""
    usage = Usage(prompt_tokens=3, completion_tokens=len(texts))
    return (Accepted(), *(Delta(text=text) for text in texts), Finished(FinishReason.STOP, usage))


def frames(*pieces: bytes) -> tuple[Step, ...]:
    """A whole answer of upstream frames, as a backend of the client's own dialect gives it."""
    usage = Usage(prompt_tokens=3, completion_tokens=len(pieces))
    return (Accepted(), *(Delta(frame=piece) for piece in pieces), Finished(FinishReason.STOP, usage))


def vectors(*rows: tuple[float, ...]) -> tuple[Step, ...]:
    """A whole answer to an embedding request."""
    return (Accepted(), Embedded(rows), Finished(usage=Usage(prompt_tokens=2)))


class Flowing:
    """Offers what follows each delta, as an engine's stream does; the end comes by itself."""

    def __init__(self, events: AsyncGenerator[Event, None]) -> None:
        self._events = events
        self._end: Event | None = None

    async def _pour(self, tell: Tell) -> None:
        async for event in self._events:
            if isinstance(event, Finished):
                self._end = event
            told: Event | bytes = event
            if isinstance(event, Delta) and event.frame is not None:
                told = event.frame
            if self._end or not tell(told):
                return

    async def play(self) -> AsyncGenerator[Event, None]:
        flow = Flow(self._pour)
        async with aclosing(self._events):
            async for event in self._events:
                yield event
                if isinstance(event, Delta):
                    yield flow
                    while flow.was_poured() and self._end is None:
                        yield flow
            if self._end is not None:
                yield self._end


class FakeBackend:
    """A backend that follows its script; every request it got is in `requests`, and it counts closed answers."""

    def __init__(
        self,
        spec: BackendSpec | str,
        *script: Step,
        models: Sequence[str | Model] = ("tiny:latest",),
        loaded: Sequence[LoadedModel] | None = None,
    ) -> None:
        self._spec = spec_of(spec) if isinstance(spec, str) else spec
        self.script = script or words("Hello", " world")
        self.models = tuple(Model(model) if isinstance(model, str) else model for model in models)
        self.loaded = None if loaded is None else tuple(loaded)
        self.down: BaseException | None = None
        self.can_unload = self.can_keep = True
        self.keep_s: dict[str, float | None] = {}
        """How long requests ask for each model to stay."""
        self.unloaded: list[str] = []
        self.unloading: ProxyError | None = None
        """Why it unloads nothing."""
        self.details: Mapping[str, Json] = {"modelfile": "", "details": {"family": "llama"}, "capabilities": []}
        self.requests: list[tuple[Request, str]] = []
        self.shown: list[tuple[str, Mapping[str, Json]]] = []
        self.counted: list[tuple[Request, str]] = []
        self.tokens: int | None = None
        self.can_manage = True
        self.managed: list[Management] = []
        self.management: Sequence[Managed | bytes | BaseException | asyncio.Event] = (Managed(200, ""),)
        """How it answers every call that changes models."""
        self.resumes = True
        self.flows = False
        """Whether it offers to tell what follows its first words."""
        self.open = 0
        self.opened = asyncio.Event()
        """Set when an answer was asked for."""
        self.closed = asyncio.Event()
        """Set when an answer ended, in whatever way."""

    @property
    def spec(self) -> BackendSpec:
        return self._spec

    def answer(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
        events = self._play(request, model)
        return Flowing(events).play() if self.flows else events

    async def _play(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
        self.requests.append((request, model))
        self.open += 1
        self.opened.set()
        try:
            for step in self.script:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, BaseException):
                    raise step
                elif isinstance(step, Accepted | Delta | Embedded | Finished | Flow | Resumed):
                    yield step
                else:
                    step()
        finally:
            self.open -= 1
            self.closed.set()

    def keep(self, model: str, seconds: float | None) -> None:
        self.keep_s[model] = seconds

    async def unload(self, model: str) -> None:
        self.unloaded.append(model)
        if self.unloading is not None:
            raise self.unloading
        self.loaded = tuple(each for each in self.loaded or () if each.name != model)

    def can_resume(self, request: Request) -> bool:
        return self.resumes and request.spoken is not None

    async def probe(self) -> Probe:
        if self.down is not None:
            raise self.down
        return Probe(models=self.models, loaded=self.loaded, version="1.2.3")

    async def show(self, model: str, body: Mapping[str, Json]) -> Mapping[str, Json]:
        self.shown.append((model, body))
        return self.details

    async def manage(self, asked: Management) -> AsyncGenerator[Managed | bytes, None]:
        self.managed.append(asked)
        try:
            for step in self.management:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    yield step
        finally:
            self.closed.set()

    async def count_tokens(self, request: Request, model: str) -> int | None:
        self.counted.append((request, model))
        return self.tokens


def reference_fleet(**changes: Any) -> tuple[FakeBackend, ...]:
    """The four devices of the reference laptop, each answering in words."""
    return tuple(FakeBackend(spec_of(backend_id, **changes)) for backend_id in REFERENCE_PROFILES)


class FakeFleet(Fleet):
    """The real fleet over fake backends."""

    def __init__(self, clock: Clock, learner: Learner | None = None, store: StateStore | None = None) -> None:
        self._stock: dict[str, FakeBackend] = {}
        speeds, switches = (learner or Learner()).speeds, Switches(store or MemoryStore())
        super().__init__(lambda wanted: self._stock[wanted.spec.id], clock, speeds, switches)

    def have(self, *backends: FakeBackend, off: Collection[str] = ()) -> FleetChanges:
        """Reconcile with exactly these backends."""
        self._stock = {each.spec.id: each for each in backends}
        changes = self.reconcile([BackendConfig(each.spec, each.spec.id not in off) for each in backends])
        for member in self.members.values():
            member.backend = self._stock[member.id]
        return changes


async def services_of(
    *backends: FakeBackend,
    mode: Mode = Mode.BALANCED,
    clock: FakeClock | None = None,
    store: StateStore | None = None,
    settings: GatewaySettings | None = None,
    table: ModeTable = DEFAULT_TABLE,
    gate: Gate | None = None,
    queue: QueueSettings | None = None,
    budget: BudgetSettings | None = None,
    cache: CacheSettings | None = None,
    topology: Topology = UNKNOWN_TOPOLOGY,
) -> Services:
    """The real services in front of fake backends, each of which has been checked once."""
    clock = clock or FakeClock()
    store = store or MemoryStore()
    learner = Learner()
    fleet = FakeFleet(clock, learner, store)
    fleet.have(*backends)
    health = HealthMonitor(fleet, clock)
    governor = Governor(ModeSettings(table), mode, store, clock)
    ledger = Ledger(clock)
    fleet.attempts.listen(learner.observe)
    system = Cell(SystemState())
    energy = EnergyAccounts(system, fleet, clock)
    keeper = Keeper(KeeperDeps(fleet, health, governor, clock, system, energy), KeepingSettings())
    history = History(MemoryHistory(), fleet, energy, clock)
    energy.booked.listen(history.note)
    ledger.outcomes.listen(history.note)
    fleet.attempts.listen(ledger.book)
    energy.booked.listen(ledger.charge)
    activity, gate = Activity(clock), gate or Gate()
    admission = Admission(fleet, governor, activity, gate, clock, queue or QueueSettings())
    daily = DailyBudget(energy, history, governor, clock, budget or BudgetSettings())
    deps = GatewayDeps(fleet, health, governor, ledger, system, clock, activity, gate, admission, energy, daily)
    gateway = Gateway(deps, settings or GatewaySettings())
    features = Features(store, lambda: topology)
    features.listen(gateway.queries.take_wishes)
    await health.check_all()
    return Services(
        answers=Answers(AnswersDeps(gateway, fleet, governor, clock, activity), cache or CacheSettings()),
        gateway=gateway,
        admission=admission,
        fleet=fleet,
        frontends=Frontends(clock, ledger, ModelSync(SyncDeps(fleet, health, system, clock, NoNetwork()))),
        health=health,
        governor=governor,
        ledger=ledger,
        energy=energy,
        keeper=keeper,
        settings=RuntimeSettings(Tuning(), store),
        system=system,
        store=store,
        clock=clock,
        history=history,
        budget=daily,
        power_saver=PowerSaver(fleet, governor, energy, clock),
        features=features,
    )


async def reload(services: Services, *backends: FakeBackend) -> None:
    """A reload of the configuration has brought these backends, and they have been checked."""
    assert isinstance(services.fleet, FakeFleet)
    services.fleet.have(*backends)
    await services.health.check_all()
