"""Keeps the prompts of engines that are stopped, and has the next process for the same model read them back."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, Protocol

from ollama_proxyd.core.engine_files import ModelFile
from ollama_proxyd.core.engine_instances import Address
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.saved_prompts import SavedPromptSettings, Slot, pays
from ollama_proxyd.services.engines.footprints import cache_bytes
from ollama_proxyd.services.engines.running import Running
from ollama_proxyd.services.engines.survivors import mark_of

log = logging.getLogger(__name__)

WITHIN_S: Final = 3.0
"""A stop waits so long for it, since another model may wait for the memory, or the machine wants to sleep."""


class PromptFiles(Protocol):
    """Prompts of engines on the disk; what asks an engine raises ProxyError, and the rest OSError."""

    def folder(self, backend_id: str) -> str:
        """Where the processes of a backend have them."""

    async def slots(self, address: Address, api_key: str) -> Sequence[Slot]:
        """What the slots of a process hold; none where it does not tell."""

    async def save(self, backend_id: str, mark: str, number: int, address: Address, api_key: str) -> None:
        """Have a process write the prompt of a slot; `mark` tells what it was started with."""

    async def restore(self, backend_id: str, mark: str, number: int, address: Address, api_key: str) -> int:
        """Have it read one, which is removed; how many tokens that were."""

    async def keep_only(self, backend_id: str, marks: Collection[str]) -> None:
        """Remove those of a backend that have other marks."""

    async def keep_backends(self, ids: Collection[str]) -> None:
        """Remove those of other backends."""

    async def bound(self, most_bytes: float, most_s: float) -> None:
        """Remove those that are older, and the oldest beyond a size; with 0, all."""


class SavedPrompts:
    """Does nothing unless it is configured; what fails is as if nothing had been saved."""

    def __init__(self, files: PromptFiles, settings: SavedPromptSettings) -> None:
        self._files = files
        self.settings = settings
        self.read_j: Callable[[BackendSpec, ModelFile, int], float] = lambda _spec, _file, tokens: float(tokens)
        """What reading a prompt of so many tokens costs; until the policy says it, one joule for each."""

    def variables(self, spec: BackendSpec) -> tuple[str, ...]:
        """What a process is started with so that it can save its prompts."""
        variable = None if spec.engine is None else spec.engine.facts.prompts
        if variable is None or not self.settings.max_bytes:
            return ()
        return (f"{variable}={self._files.folder(spec.id)}/",)

    async def save(self, running: Running) -> None:
        """Save what of its prompts pays; for a process that is about to be stopped."""
        if running.probe is None or not self.variables(running.spec):
            return
        mark, saved = mark_of(running.spec, running.file), 0
        try:
            async with asyncio.timeout(WITHIN_S):
                for slot in await self._files.slots(running.address, running.api_key):
                    if self._is_worth_it(running, slot):
                        await self._files.save(running.spec.id, mark, slot.number, running.address, running.api_key)
                        saved += slot.tokens
        except (ProxyError, OSError, TimeoutError) as error:
            log.info("prompts of %s of %s are not saved: %s", running.file.name, running.spec.id, error or "too slow")
        if saved:
            log.info("%s of %s leaves %d tokens of prompts on the disk", running.file.name, running.spec.id, saved)
        await self._bound()

    def _is_worth_it(self, running: Running, slot: Slot) -> bool:
        if slot.is_busy or not slot.tokens:
            return False
        size_bytes = cache_bytes(running.spec, running.file, slot.tokens)
        fits = size_bytes <= self.settings.max_bytes
        return fits and pays(self.read_j(running.spec, running.file, slot.tokens), size_bytes)

    async def restore(self, running: Running) -> None:
        """Have a process that was just started read back what its model left; it is no longer on the disk then."""
        if not self.variables(running.spec):
            return
        mark, tokens = mark_of(running.spec, running.file), 0
        try:
            await self._bound()
            for number in range(running.slots):
                tokens += await self._files.restore(running.spec.id, mark, number, running.address, running.api_key)
        except (ProxyError, OSError) as error:
            log.info("prompts of %s of %s are not read back: %s", running.file.name, running.spec.id, error)
        if tokens:
            log.info("%s of %s has %d tokens of prompts from the disk", running.file.name, running.spec.id, tokens)

    async def keep_only(self, spec: BackendSpec, models: Iterable[ModelFile]) -> None:
        """Remove what belongs to no model of a backend any more, and what has become too old."""
        await self._files.keep_only(spec.id, {mark_of(spec, each) for each in models})
        await self._bound()

    async def keep_backends(self, ids: Iterable[str]) -> None:
        """Remove what belongs to no engine any more, and all where nothing is to be kept."""
        await self._files.keep_backends(set(ids))
        await self._bound()

    async def _bound(self) -> None:
        await self._files.bound(self.settings.max_bytes, self.settings.max_age_s)
