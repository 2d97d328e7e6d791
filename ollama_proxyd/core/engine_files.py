"""The models on the disk that an engine can be started with, and what of each is known."""

from typing import NamedTuple

from ollama_proxyd.core.fleet import Model
from ollama_proxyd.core.gguf import GgufFacts
from ollama_proxyd.core.reasons import Reason


class ModelFile(NamedTuple):
    """A model on the disk: its path, which the engine is given, and its facts."""

    model: Model
    path: str
    facts: GgufFacts | None = None
    """What its file says; None for other forms."""

    @property
    def name(self) -> str:
        """Its name for clients."""
        return self.model.name

    @property
    def size_bytes(self) -> int:
        """What it takes on the disk, all of its parts."""
        return self.model.size_bytes or 0


class Shelf(NamedTuple):
    """What a folder of models has."""

    files: tuple[ModelFile, ...] = ()
    unusable: tuple[Reason, ...] = ()
    """Why something in it is no model, although it looks like one."""
