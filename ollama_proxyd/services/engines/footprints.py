"""How much memory a model takes: estimated from its file and its context, corrected by what was seen."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from ollama_proxyd.core.engine_files import UNKNOWN_CACHE_BYTES, ModelFile
from ollama_proxyd.core.engine_program import PROCESS_BYTES, slots_of
from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.memory_budget import RAM
from ollama_proxyd.core.model_memory import ModelMemory, Serving, estimate
from ollama_proxyd.core.requests import Json
from ollama_proxyd.services.engines.running import Running
from ollama_proxyd.services.ports import StateStore

SHARE: Final = 1.3
"""What a model has beside its file where that does not tell, by experience."""
MARGIN: Final = 1.05
MOST_KEPT: Final = 300
_KEY: Final = "engine_memory"


class Footprints:
    """The one owner of what was seen; it outlives restarts."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        kept = store.get(_KEY)
        entries: Mapping[str, Json] = kept if isinstance(kept, Mapping) else {}
        self._peaks = {key: float(value) for key, value in entries.items() if isinstance(value, int | float)}

    def expected(self, spec: BackendSpec, file: ModelFile) -> float:
        """What it will take."""
        seen, memory = self._peaks.get(_name(spec, file)), _estimate(spec, file)
        if seen is not None:
            filled = file.size_bytes if memory is None else memory.weights_bytes + memory.cache_bytes
            return max(seen * MARGIN, filled)
        process = PROCESS_BYTES if spec.engine is None else spec.engine.facts.process_bytes
        if memory is not None:
            return process + memory.total_bytes
        reserved = UNKNOWN_CACHE_BYTES if spec.engine is not None and spec.engine.reserves else 0
        return process + file.size_bytes * SHARE + reserved

    async def measure(self, running: Running) -> None:
        """Take note of what a process has of main memory; less than before changes nothing."""
        process, own = running.process, running.needs
        found = None if process is None else await process.memory_bytes()
        if found is None or running.is_fresh or list(own) != [RAM]:
            return  # what lies on a device is not told of each process
        key = _name(running.spec, running.file)
        if found > self._peaks.get(key, 0.0):
            self._peaks[key] = float(found)
            while len(self._peaks) > MOST_KEPT:
                del self._peaks[next(iter(self._peaks))]
            self._store.put(_KEY, dict(self._peaks))
        running.needs = {RAM: self.expected(running.spec, running.file)}
        running.is_measured = True


def _estimate(spec: BackendSpec, file: ModelFile) -> ModelMemory | None:
    """By the facts of its file; None where it does not say enough."""
    if file.facts is None or spec.engine is None:
        return None
    splits, slots = spec.engine.facts.splits_context, slots_of(spec.engine, spec.slots)
    tokens = spec.engine.context_tokens * (1 if splits else slots)
    memory = estimate(file.facts, Serving(tokens, slots, is_unified=splits))
    return memory and replace(memory, weights_bytes=memory.weights_bytes + file.beside_bytes)


def cache_bytes(spec: BackendSpec, file: ModelFile, tokens: int) -> float:
    """What a prompt of so many tokens takes, about; 0 where the file does not say enough."""
    memory = _estimate(spec, file)
    if memory is None or spec.engine is None:
        return 0.0
    return memory.cache_bytes * min(tokens / spec.engine.context_tokens, 1.0)


def _name(spec: BackendSpec, file: ModelFile) -> str:
    context = 0 if spec.engine is None else spec.engine.context_tokens
    return f"{spec.id}/{file.name}/{file.size_bytes}/{context}"
