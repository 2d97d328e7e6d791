"""A machine for the tests of the pool: processes that load for a while, and what they have of its memory."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from ollama_proxyd.core.engine_files import ModelFile
from ollama_proxyd.core.engine_instances import Address, End, KeptEngine, Launch
from ollama_proxyd.core.engine_program import PROCESS_BYTES, EngineProgram, EngineSettings
from ollama_proxyd.core.errors import ENGINE_DEAD, UNREACHABLE, ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendSpec, Hardware, Model, Probe
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Api, Request
from ollama_proxyd.core.saved_prompts import NONE_SAVED, SavedPrompt, Slot
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.engines.footprints import SHARE, Footprints
from ollama_proxyd.services.engines.pool import EnginePool
from ollama_proxyd.services.engines.prompts import SavedPrompts
from ollama_proxyd.services.engines.room import Room
from ollama_proxyd.services.engines.running import OwnBackend, Running
from ollama_proxyd.services.engines.starting import Starter
from ollama_proxyd.services.engines.survivors import Survivors
from ollama_proxyd.services.ports import EngineProcess
from tests.fakes import FakeBackend, FakeClock, MemoryStore, spec_of

GB = 10**9
ONE_GB_MODEL = GB * SHARE + PROCESS_BYTES
"""What a model of one gigabyte is expected to need."""
PROGRAM = EngineProgram(command=("run", "{model}", "{name}", "{port}"), environment=("A=1",))


class Process:
    """A process; `size` bytes are its own from its start to its end."""

    def __init__(self, machine: "Machine", launch: Launch) -> None:
        self.machine, self.launch = machine, launch
        self.pid = len(machine.started)
        self.unit = machine.unit
        self.began_s = machine.clock.monotonic()
        self.name = launch.words[2]
        self.over: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self.stops = 0
        self.hangs, self.is_dead = False, self.name in machine.dead

    @property
    def runs(self) -> bool:
        return not self.over.done()

    @property
    def is_ready(self) -> bool:
        return self.runs and self.machine.clock.monotonic() - self.began_s >= self.machine.load_s

    def end(self, how: str = "its process ended with status 1") -> None:
        if self.runs:
            self.over.set_result(End(how, has_failed="with status" in how))

    async def ended(self) -> End:
        return await asyncio.shield(self.over)

    async def stop(self) -> None:
        self.stops += 1
        if self.runs:
            await asyncio.sleep(self.machine.stop_s)
        self.end("stopped")

    async def holds(self, address: Address) -> bool:
        return address.port not in self.machine.taken

    async def memory_bytes(self) -> int | None:
        return self.machine.sizes.get(self.name)

    async def last_words(self) -> str:
        return "out of luck"


class Answering(FakeBackend):
    """The backend of a process."""

    def __init__(self, spec: BackendSpec, process: Process) -> None:
        super().__init__(spec, models=[process.name])
        self.process = process

    def starts_anew(self, error: ProxyError) -> bool:
        return "runner" in error.message

    async def probe(self) -> Probe:
        if self.process.hangs:
            raise ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "no answer")
        if self.process.is_dead:
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, "answered 503: unavailable", status=503, code=ENGINE_DEAD)
        if not self.process.is_ready:
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, "connection refused", code=UNREACHABLE)
        return await super().probe()

    async def settle(self, model: str) -> None:
        machine = self.process.machine
        machine.asked_to_load.append(model)
        await machine.clock.sleep(machine.settle_s)
        if machine.refuses_to_load is not None:
            raise machine.refuses_to_load


@dataclass
class Machine:
    """Where processes run."""

    clock: FakeClock = field(default_factory=FakeClock)
    load_s: float = 3.0
    stop_s: float = 1.0
    whole: int = 100 * GB
    others: int = 0
    refuses: OSError | None = None
    dies: set[str] = field(default_factory=set)
    """Models whose processes end at once."""
    dead: set[str] = field(default_factory=set)
    """Models whose processes run, and say that they never answer again."""
    settle_s: float = 0.0
    """How long a model is not in memory yet though its process is well."""
    taken: set[int] = field(default_factory=set)
    kills: int = 0
    """So many of the next processes are ended at once by a signal, before they have made their sockets."""
    asked_to_load: list[str] = field(default_factory=list)
    refuses_to_load: ProxyError | None = None
    makes_sockets: bool = True
    """Whether programs make sockets when they are to."""
    unmade: set[Address] = field(default_factory=set)
    """Sockets whose processes were killed before."""
    cleared: set[Address] = field(default_factory=set)
    sizes: dict[str, int] = field(default_factory=dict)
    started: list[Process] = field(default_factory=list)
    kept: list[tuple[KeptEngine, Process]] = field(default_factory=list)
    left: list[tuple[KeptEngine, Process]] = field(default_factory=list)
    """What an earlier daemon left."""
    unit: str | None = None
    """Of each process that is started."""
    wrote: Sequence[str] = ()
    """Before the last line of each log."""
    says: asyncio.Queue[str] | None = None
    """What is written while somebody follows."""
    ports: list[int] = field(default_factory=lambda: list(range(4700, 5700)))

    @property
    def way(self) -> Reason | None:
        return Reason("engines_as_units") if self.started else None

    def new_address(self, *, wants_socket: bool) -> Address:
        return Address(socket=f"/run/{self.ports.pop(0)}.sock") if wants_socket else Address(self.ports.pop(0))

    why_no_socket: str = ""

    def was_usable(self, address: Address) -> bool:
        made = self.makes_sockets and address not in self.unmade
        return made if address.socket else address.port not in self.taken

    def clear(self, address: Address) -> None:
        self.cleared.add(address)

    def new_key(self) -> str:
        return f"key{len(self.started)}"

    async def start(self, launch: Launch) -> Process:
        if self.refuses is not None:
            raise self.refuses
        process = Process(self, launch)
        self.started.append(process)
        is_deaf = bool(launch.address.socket) and not self.makes_sockets
        if process.name in self.dies or launch.address.port in self.taken or is_deaf:
            process.end()
        if self.kills:
            self.kills -= 1
            self.unmade.add(launch.address)
            process.end("its process was ended by SIGKILL")
        return process

    def keep(self, engines: Sequence[tuple[KeptEngine, EngineProcess]]) -> None:
        self.kept = [(kept, process) for kept, process in engines if isinstance(process, Process)]

    async def found(self) -> Sequence[tuple[KeptEngine, Process]]:
        await asyncio.sleep(0)
        return [pair for pair in self.left if pair[1].runs]

    async def log(self, name: str, lines: int) -> list[str]:
        return [*self.wrote, f"{name} spoke"][-lines:] if self.started else []

    async def follow(self, name: str, lines: int) -> AsyncGenerator[str, None]:
        for each in await self.log(name, lines):
            yield each
        while self.says is not None:
            yield await self.says.get()

    def main_memory(self) -> tuple[int, int]:
        return self.whole, self.whole - self.others

    @property
    def names(self) -> list[str]:
        """The models of the processes that run."""
        return sorted(process.name for process in self.started if process.runs)


def engine_spec(backend_id: str = "llama", program: EngineProgram = PROGRAM, **changes: object) -> BackendSpec:
    return spec_of(backend_id, Api.OPENAI, **{"engine": program, "hardware": Hardware.CPU, "slots": 4, **changes})


def file(name: str, size_bytes: float = GB) -> ModelFile:
    return ModelFile(Model(name, int(size_bytes)), f"/models/{name}.gguf")


@dataclass
class Disk:
    """The prompts on the disk, and what engines hold."""

    held: list[Slot] = field(default_factory=list)
    files: dict[tuple[str, str, str], SavedPrompt] = field(default_factory=dict)
    """By backend, mark and name."""
    asks: Sequence[int] = ()
    """The tokens of each request."""
    into: list[tuple[int, int]] = field(default_factory=list)
    """The slots that prompts were read back into, and how many tokens each had."""
    fails: ProxyError | None = None
    hangs: bool = False
    bounds: list[tuple[float, float]] = field(default_factory=list)

    def folder(self, backend_id: str) -> str:
        return f"/prompts/{backend_id}"

    async def slots(self, _address: Address, _api_key: str) -> Sequence[Slot]:
        if self.hangs:
            await asyncio.Event().wait()
        return self.held

    async def tokens(self, _request: Request, _model: str, _address: Address, _api_key: str) -> Sequence[int]:
        return self.asks

    async def saved(self, backend_id: str, mark: str) -> Sequence[SavedPrompt]:
        return [each for at, each in self.files.items() if at[:2] == (backend_id, mark)]

    async def save(self, backend_id: str, mark: str, number: int, _address: Address, _api_key: str) -> None:
        if self.fails is not None:
            raise self.fails
        tokens = next(each.tokens for each in self.held if each.number == number)
        name = f"{mark}-{len(self.files)}"
        self.files[backend_id, mark, name] = SavedPrompt(name, 1000 * tokens, tuple(range(tokens)))

    async def restore(self, backend_id: str, name: str, number: int, _address: Address, _api_key: str) -> int:
        found = self.files.pop((backend_id, name.rpartition("-")[0], name))
        if self.fails is not None:
            raise self.fails
        self.into.append((number, len(found.tokens)))
        return len(found.tokens)

    async def keep_only(self, backend_id: str, marks: Collection[str]) -> None:
        self.files = {at: tokens for at, tokens in self.files.items() if at[0] != backend_id or at[1] in marks}

    async def keep_backends(self, ids: Collection[str]) -> None:
        self.files = {at: tokens for at, tokens in self.files.items() if at[0] in ids}

    async def bound(self, most_bytes: float, most_s: float) -> tuple[int, int]:
        self.bounds.append((most_bytes, most_s))
        if not most_bytes:
            self.files.clear()
        return len(self.files), sum(each.size_bytes for each in self.files.values())


class Case:
    """A pool on a machine."""

    def __init__(self, budget_gb: float | None = None, machine: Machine | None = None) -> None:
        self.machine, self.store = machine or Machine(), MemoryStore()
        settings = EngineSettings(ram_gb=budget_gb, margin_gb=0.0)
        room = Room(settings, Cell(SystemState()), self.machine)
        self.disk = Disk()
        self.backends: list[Answering] = []
        starter = Starter(self.machine, self.machine.clock, self.make, SavedPrompts(self.disk, NONE_SAVED))
        self.pool = EnginePool(starter, room, Footprints(self.store), Survivors(self.machine), self.machine.clock)
        self.spec = engine_spec()

    def make(self, running: Running) -> OwnBackend:
        process = next(each for each in self.machine.started if each.launch.address == running.address)
        self.backends.append(Answering(running.spec, process))
        return self.backends[-1]

    async def used(self, name: str, size_bytes: float = GB, for_s: float = 0.0) -> str:
        """Use a model for a while; which process had it."""
        async with self.pool.use(self.spec, file(name, size_bytes)) as running:
            await asyncio.sleep(for_s)
            assert running.process is not None
            return str(running.process.pid)

    @asynccontextmanager
    async def holding(self, *names: str) -> AsyncGenerator[None]:
        """Requests under way on these models."""
        async with AsyncExitStack() as stack:
            for name in names:
                await stack.enter_async_context(self.pool.use(self.spec, file(name)))
            yield
