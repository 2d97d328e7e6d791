"""Keeps the prompts of engines that are stopped, and has each read back by the first request that goes on from it."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from ollama_proxyd.core.engine_files import ModelFile
from ollama_proxyd.core.engine_instances import Address
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.prefixes import READ
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Request
from ollama_proxyd.core.saved_prompts import (
    SavedPrompt,
    SavedPromptSettings,
    SavedState,
    Slot,
    best_of,
    pays,
    pays_now,
)
from ollama_proxyd.services.engines.footprints import cache_bytes
from ollama_proxyd.services.engines.running import Running
from ollama_proxyd.services.engines.survivors import mark_of

log = logging.getLogger(__name__)

WITHIN_S: Final = 3.0
"""A stop, and a request, wait so long for it: another model may wait for the memory, or the machine wants to sleep."""
AS_ESTIMATED: Final = 2.0
"""How many times more tokens than estimated a prompt may have."""


class PromptFiles(Protocol):
    """Prompts of engines on the disk; what asks an engine raises ProxyError, and the rest OSError."""

    def folder(self, backend_id: str) -> str:
        """Where the processes of a backend have them."""

    async def slots(self, address: Address, api_key: str) -> Sequence[Slot]:
        """What the slots of a process hold; none where it does not tell."""

    async def tokens(self, request: Request, model: str, address: Address, api_key: str) -> Sequence[int]:
        """What a process reads for a request."""

    async def saved(self, backend_id: str, mark: str) -> Sequence[SavedPrompt]:
        """Those that processes left; `mark` tells what they were started with."""

    async def save(self, backend_id: str, mark: str, number: int, address: Address, api_key: str) -> None:
        """Have a process write the prompt of a slot."""

    async def restore(self, backend_id: str, name: str, number: int, address: Address, api_key: str) -> int:
        """Have it read one into a slot; how many tokens that were. The file is removed in any case."""

    async def keep_only(self, backend_id: str, marks: Collection[str]) -> None:
        """Remove those of a backend that have other marks."""

    async def keep_backends(self, ids: Collection[str]) -> None:
        """Remove those of other backends."""

    async def bound(self, most_bytes: float, most_s: float) -> tuple[int, int]:
        """Remove those that are older, and the oldest beyond a size; with 0, all. What is left: files, and bytes."""


class SavedPrompts:
    """Does nothing unless it is configured; what fails is as if nothing had been saved."""

    def __init__(self, files: PromptFiles, settings: SavedPromptSettings) -> None:
        self._files = files
        self.settings = settings
        self.state = SavedState()
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
        mark, at = mark_of(running.spec, running.file), (running.address, running.api_key)
        with self._telling(running, "prompts_not_saved"):
            async with asyncio.timeout(WITHIN_S):
                for slot in await self._files.slots(*at):
                    if self._is_worth_it(running, slot):
                        await self._files.save(running.spec.id, mark, slot.number, *at)
                        self._note(running, f"leaves {slot.tokens} tokens of a prompt on the disk", saved=slot.tokens)
        await self._bound()

    def _is_worth_it(self, running: Running, slot: Slot) -> bool:
        if slot.is_busy or not slot.tokens:
            return False
        size_bytes = cache_bytes(running.spec, running.file, slot.tokens)
        fits = size_bytes <= self.settings.max_bytes
        return fits and pays(self.read_j(running.spec, running.file, slot.tokens), size_bytes)

    async def bring(self, running: Running, request: Request) -> None:
        """Have a process read back what a request goes on from, if that is on the disk, and worth it."""
        if running.saved == () or request.operation not in READ or not self.variables(running.spec):
            return
        async with running.bringing:
            with self._telling(running, "prompts_not_read_back"):
                async with asyncio.timeout(WITHIN_S):
                    await self._bring(running, request)

    async def _bring(self, running: Running, request: Request) -> None:
        at, saved = (running.address, running.api_key), running.saved
        if saved is None:
            saved = running.saved = tuple(await self._files.saved(running.spec.id, mark_of(running.spec, running.file)))
        most = int(AS_ESTIMATED * request.prompt_tokens)
        if not any(self._pays_now(running, each, min(most, len(each.tokens))) for each in saved):
            return
        best, shared = best_of(saved, await self._files.tokens(request, running.served_name, *at))
        free = [each for each in await self._files.slots(*at) if not each.is_busy]
        if best is None or not free or not self._pays_now(running, best, shared):
            return
        running.saved = tuple(each for each in saved if each is not best)
        number = min(free, key=lambda each: each.tokens).number
        tokens = await self._files.restore(running.spec.id, best.name, number, *at)
        self._note(running, f"has {tokens} tokens of a prompt from the disk", read=tokens)
        await self._bound()

    def _pays_now(self, running: Running, saved: SavedPrompt, tokens: int) -> bool:
        return pays_now(self.read_j(running.spec, running.file, tokens), saved.size_bytes)

    async def keep_only(self, spec: BackendSpec, models: Iterable[ModelFile]) -> None:
        """Remove what belongs to no model of a backend any more, and what has become too old."""
        await self._files.keep_only(spec.id, {mark_of(spec, each) for each in models})
        await self._bound()

    async def keep_backends(self, ids: Iterable[str]) -> None:
        """Remove what belongs to no engine any more, and all where nothing is to be kept."""
        await self._files.keep_backends(set(ids))
        await self._bound()

    async def _bound(self) -> None:
        files, size_bytes = await self._files.bound(self.settings.max_bytes, self.settings.max_age_s)
        self.state = self.state._replace(files=files, size_bytes=size_bytes, limit_bytes=self.settings.max_bytes)

    def _note(self, running: Running, what: str, *, saved: int = 0, read: int = 0) -> None:
        log.info("%s of %s %s", running.file.name, running.spec.id, what)
        before = self.state
        totals = before.saved_tokens + saved, before.read_tokens + read
        self.state = before._replace(saved_tokens=totals[0], read_tokens=totals[1], trouble=None)

    @contextmanager
    def _telling(self, running: Running, code: str) -> Iterator[None]:
        """What fails is told, and nothing more comes of it."""
        try:
            yield
        except (ProxyError, OSError, TimeoutError) as error:
            why = Reason(code, model=running.file.name, detail=str(error) or f"it took longer than {WITHIN_S:g} s")
            self.state = self.state._replace(trouble=why)
            log.info("backend %s: %s", running.spec.id, why)
