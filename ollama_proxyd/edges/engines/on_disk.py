"""What the folders of models have in common: the facts of files, and why one is no model."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from ollama_proxyd.core.counts import human_count
from ollama_proxyd.core.fleet import Model
from ollama_proxyd.core.gguf import GgufFacts
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.text import printable
from ollama_proxyd.edges.plumbing.gguf import read_gguf

MOST_KNOWN: Final = 1000
"""The facts of so many files are kept."""
MOST_UNUSABLE: Final = 20
"""So many of those that cannot be used are told."""
State = tuple[int, int, int]
"""By which a file is known not to have changed: its number, size and time."""


def unusable(path: Path, why: str) -> Reason:
    """Why a file that looks like a model is none."""
    return Reason("model_unusable", path=printable(str(path)), detail=printable(why))


@lru_cache(maxsize=MOST_KNOWN)
def facts_of(path: Path, _states: tuple[State, ...]) -> GgufFacts:
    """What a file says, read again once it has changed; raises GgufError."""
    return read_gguf(path)


def described(model: Model, facts: GgufFacts) -> Model:
    """The model with what its file says of it."""
    return replace(
        model,
        family=facts.architecture,
        parameter_size=human_count(facts.parameters),
        quantization=facts.quantization,
        format="gguf",
        context_length=facts.context_length,
        embedding_length=facts.embedding_length,
    )


def state_of(state: os.stat_result) -> State:
    """How a file is now."""
    return state.st_ino, state.st_size, state.st_mtime_ns


def time_of(unix_s: float) -> str:
    """A time as Ollama writes it."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
