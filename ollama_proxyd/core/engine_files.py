"""The models on the disk that an engine can be started with, and what of each is known."""

from dataclasses import replace
from typing import Final, NamedTuple

from ollama_proxyd.core.fleet import BackendSpec, Hardware, Model
from ollama_proxyd.core.gguf import GgufFacts
from ollama_proxyd.core.model_memory import Serving, estimate
from ollama_proxyd.core.reasons import Reason

STORE: Final = "(store)"
"""What stands for a model where a process has none, and only looks after the store of all."""
UNKNOWN_CACHE_BYTES: Final = 4 << 30
"""What is reserved for the context of a model that does not say what that takes."""
BLOCKS_SHARE: Final = 1.05
BLOCKS_BYTES: Final = 64 << 20


class ModelFile(NamedTuple):
    """A model on the disk: its path, which the engine is given, and its facts."""

    model: Model
    path: str
    facts: GgufFacts | None = None
    """What its file says, or its config.json; None where that says not enough."""
    folder: str = ""
    """The one in which it was looked for."""
    beside_bytes: int = 0
    """What is loaded beside its weights: adapters, and what it sees with."""

    @property
    def name(self) -> str:
        """Its name for clients."""
        return self.model.name

    @property
    def is_store(self) -> bool:
        """Whether it is no model, but all of them."""
        return self.name == STORE

    @property
    def size_bytes(self) -> int:
        """What it takes on the disk, all of its parts."""
        return self.model.size_bytes or 0

    def reserved_bytes(self, context_tokens: int, slots: int) -> int:
        """What an engine is to reserve for that context: somewhat more, since it divides it into blocks."""
        memory = None if self.facts is None else estimate(self.facts, Serving(context_tokens, slots, is_unified=True))
        return UNKNOWN_CACHE_BYTES if memory is None else int(memory.cache_bytes * BLOCKS_SHARE) + BLOCKS_BYTES


def of_the_store(spec: BackendSpec) -> BackendSpec:
    """A backend's way to a process that looks after its store alone: no device is woken for that."""
    assert spec.engine is not None
    engine = replace(spec.engine, environment=(*spec.engine.environment, *spec.engine.facts.on_cpu))
    return replace(spec, engine=engine, hardware=Hardware.CPU, pci_address=None)


class Shelf(NamedTuple):
    """What a folder of models has."""

    files: tuple[ModelFile, ...] = ()
    unusable: tuple[Reason, ...] = ()
    """Why something in it is no model, although it looks like one."""
    folder: str = ""
    """Where it was looked, for programs that keep a store."""
