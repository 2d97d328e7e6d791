"""One process of an engine, from the first wish for it until it is gone."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ollama_proxyd.core.engine_files import ModelFile
from ollama_proxyd.core.engine_instances import (
    HELD,
    LEAVING,
    LOOPBACK,
    NOWHERE,
    Address,
    End,
    Instance,
    KeptEngine,
    Phase,
    Signal,
    after,
)
from ollama_proxyd.core.engine_program import slots_of
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.fleet import BackendSpec, Probe
from ollama_proxyd.core.memory_budget import Bytes, Tenant
from ollama_proxyd.core.model_names import canonical
from ollama_proxyd.core.residency import Place
from ollama_proxyd.core.saved_prompts import SavedPrompt
from ollama_proxyd.services.ports import Backend, EngineProcess

ENDS_WITHIN_S = 0.5


def started_with(spec: BackendSpec, file: ModelFile) -> tuple[object, ...]:
    """What a process is started with, so that another one is not the same."""
    return (spec.engine, spec.slots, spec.hardware, spec.pci_address, file.path, file.size_bytes)


class OwnBackend(Backend, Protocol):
    """The backend that asks a process of ours."""

    async def settle(self, model: str) -> None:
        """Have its model in memory, where it says sooner that it is well; raises ProxyError."""

    def starts_anew(self, error: ProxyError) -> bool:
        """Whether what computes in it has ended, of which it starts another one for the next request."""


@dataclass(eq=False, slots=True)
class Running:
    """A process and what is under way on it; `settled` is set when it is ready or has failed, `gone` at its end."""

    spec: BackendSpec
    file: ModelFile
    needs: Bytes
    phase: Phase = Phase.WAITING
    users: int = 0
    used_s: float = 0.0
    used_unix_s: float | None = None
    load_s: float | None = None
    is_measured: bool = False
    is_fresh: bool = True
    """Whether no answer has come of it yet."""
    address: Address = NOWHERE
    api_key: str = ""
    process: EngineProcess | None = None
    backend: OwnBackend | None = None
    probe: Probe | None = None
    """What it said when it was ready."""
    saved: Sequence[SavedPrompt] | None = None
    """Prompts on the disk that it may read back; None while nobody has looked."""
    bringing: asyncio.Lock = field(default_factory=asyncio.Lock)
    silent_since_s: float | None = None
    """Since when it has answered nothing while it works."""
    is_looked_at: bool = False
    is_hung: bool = False
    """Whether it is ended for that."""
    loaded_percent: int | None = None
    """While it loads."""
    end: End | None = None
    """How its process ended last before it was ready."""
    failure: ProxyError | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def place(self) -> Place:
        """The model and its backend."""
        return Place(self.spec.id, self.file.name)

    @property
    def is_held(self) -> bool:
        """Whether it has memory."""
        return self.phase in HELD

    @property
    def is_ready(self) -> bool:
        """Whether it answers."""
        return self.phase is Phase.READY

    def is_for(self, spec: BackendSpec, file: ModelFile) -> bool:
        """Whether it runs as another configuration would have it, with the same file."""
        return started_with(self.spec, self.file) == started_with(spec, file)

    def take(self, process: EngineProcess, kept: KeptEngine) -> None:
        """Have a process that runs already, of which it is not known yet whether it answers."""
        self.process, self.address, self.api_key = process, kept.address, kept.api_key
        self.needs = kept.needs
        self.move(Signal.FITS)

    def lose(self) -> None:
        """Have no process any more, and wait for memory anew."""
        self.process = None
        self.move(Signal.LOST)

    def let_go(self, now_s: float, unix_s: float) -> None:
        """One request less is under way on it."""
        self.users -= 1
        self.used_s, self.used_unix_s = now_s, unix_s
        if not self.users:
            self.note_sign()  # nothing is asked of it until it works again

    def note_sign(self) -> None:
        """It has answered something."""
        self.silent_since_s = None

    def note(self, probe: Probe) -> None:
        """Take what it says of itself."""
        self.probe = probe

    @property
    def context_tokens(self) -> int | None:
        """The context that it is started with."""
        return None if self.spec.engine is None else self.spec.engine.context_tokens

    async def has_ended(self) -> bool:
        """Whether its process has ended, of which a broken connection may tell a moment earlier."""
        try:
            async with asyncio.timeout(ENDS_WITHIN_S):
                await self.gone.wait()
        except TimeoutError:
            return False
        return True

    @property
    def served_name(self) -> str:
        """Its own name of the model; mlx_lm.server gives it the path, after all models that it finds elsewhere."""
        names = [] if self.probe is None else [each.name for each in self.probe.models]
        known = [each for each in (self.file.name, self.file.path) if each in names]
        return (known or names[-1:] or [self.file.name])[0]

    @property
    def is_pinned(self) -> bool:
        """Whether it stays once it is loaded."""
        pinned = () if self.spec.engine is None else self.spec.engine.pinned
        return canonical(self.file.name) in map(canonical, pinned)

    def move(self, signal: Signal) -> None:
        """Go on to the phase that follows."""
        self.phase = after(self.phase, signal)

    def tenant(self, reload_j: float, waiting: int) -> Tenant:
        """What the budget sees."""
        is_leaving = self.phase in LEAVING
        return Tenant(self, self.needs, self.users, self.used_s, reload_j, self.is_pinned, is_leaving, waiting)

    def values(self, context_tokens: int) -> Mapping[str, str | int]:
        """What its command is filled in with."""
        slots = slots_of(self.spec.engine, self.spec.slots)
        return {
            "model": self.file.path,
            "name": self.file.name,
            "host": self.address.socket or LOOPBACK,
            "port": self.address.port,
            "context": context_tokens,
            "slots": slots,
            "folder": self.file.folder,
            "cache": self.file.reserved_bytes(context_tokens, slots),
        }

    def told(self) -> Instance:
        """What others are told of it."""
        assert self.spec.engine is not None
        return Instance(
            *self.place,
            self.spec.engine,
            self.phase,
            self.needs,
            self.is_measured,
            self.users,
            self.used_unix_s,
            None if self.process is None else self.process.pid,
            self.address,
            self.load_s,
            self.loaded_percent if self.phase is Phase.LOADING else None,
        )
