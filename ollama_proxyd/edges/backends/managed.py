"""A backend whose engines the proxy runs itself: a process for each model, started by the first request for it."""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Final

import msgspec

from ollama_proxyd.core.engine_files import STORE, ModelFile, Shelf, of_the_store
from ollama_proxyd.core.engine_program import Form, slots_of
from ollama_proxyd.core.errors import ENGINE_DEAD, ENGINE_ENDED, NOT_LOADED, UNREACHABLE, ErrorKind, ProxyError
from ollama_proxyd.core.events import Event, Finished, Flow, Tell
from ollama_proxyd.core.features import EngineWishes, as_wished
from ollama_proxyd.core.fleet import BackendSpec, LoadedModel, Model, Probe
from ollama_proxyd.core.management import Managed, Management
from ollama_proxyd.core.memory_budget import RAM
from ollama_proxyd.core.model_names import resolve
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Json, Request
from ollama_proxyd.core.slots import Slots, SlotsFrom
from ollama_proxyd.dialects.framing.jsonbody import object_in
from ollama_proxyd.dialects.ollama.models import describe
from ollama_proxyd.edges.backends.backend import EngineBackend
from ollama_proxyd.edges.backends.findings import filled
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.engines.pool import EnginePool
from ollama_proxyd.services.engines.running import OwnBackend, Running
from ollama_proxyd.services.ports import ModelFiles

log = logging.getLogger(__name__)

MOST_TOLD: Final = 50
"""The details of so many models are kept."""


class ManagedBackend:
    """The models of a folder, those in memory being the ones that a process runs for."""

    can_keep = False
    can_unload = True
    """By the end of the process."""

    def __init__(
        self,
        spec: BackendSpec,
        pool: EnginePool,
        files: ModelFiles,
        asleep: EngineBackend,
        wishes: Cell[EngineWishes] | None = None,
    ) -> None:
        self._spec = spec
        self._wishes = wishes or Cell(EngineWishes())
        self._pool = pool
        self._files = files
        self._asleep = asleep
        """Tells what engines of this kind can do; it is never asked anything."""
        self._shelf: Shelf | None = None
        """What is in the folder, None before the first look."""
        self._known: dict[str, Model] = {}
        """What processes told of their models."""
        self._told: dict[tuple[str | None, bytes], Mapping[str, Json]] = {}
        self._version: str | None = None

    @property
    def can_manage(self) -> bool:
        """Whether its program keeps a store, into which it pulls models."""
        return self._spec.engine is not None and self._spec.engine.facts.keeps_store

    @property
    def spec(self) -> BackendSpec:
        """What this backend is."""
        return self._spec

    def keep(self, model: str, seconds: float | None) -> None:
        """Processes keep their models until they are ended."""

    def can_resume(self, request: Request) -> bool:
        """As engines of its kind do."""
        return self._asleep.can_resume(request)

    async def manage(self, asked: Management) -> AsyncGenerator[Managed | bytes, None]:
        """By a process that has no model, so that none is in its way; it ends with the last such call."""
        if not self.can_manage:
            raise ProxyError(ErrorKind.UNSUPPORTED, f"backend {self._spec.id} changes no files of models")
        async with self._of_the_store() as backend, aclosing(backend.manage(asked)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Managed) and piece.status == HTTPStatus.NOT_FOUND and await self._is_done(asked):
                    yield Managed(HTTPStatus.OK, "")
                    return
                yield piece

    async def _is_done(self, asked: Management) -> bool:
        """Whether another backend with the same store has deleted meanwhile what was there."""
        fields = object_in(asked.body) if asked.path == "/api/delete" and isinstance(asked.body, bytes) else None
        name = fields and (fields.get("model") or fields.get("name"))
        files = {each.name: each.path for each in (await self._looked()).files}
        held = resolve(name, files) if isinstance(name, str) else None
        return held is not None and await asyncio.to_thread(_is_gone, files[held])

    @asynccontextmanager
    async def _of_the_store(self) -> AsyncIterator[OwnBackend]:
        """What asks a process without a model, which ends with who uses it last."""
        folder = (await self._looked()).folder
        store = ModelFile(Model(STORE), folder, folder=folder)
        try:
            async with self._pool.use(of_the_store(self._spec), store) as running:
                assert running.backend is not None
                yield running.backend
        finally:
            for each in self._pool.running(self._spec.id):
                if each.file.is_store and not each.users:
                    self._pool.leave(each)

    async def answer(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
        """Send the request, once a process has the model; one that ends before its first words is started again."""
        file = await self._file(model)
        for is_last in (False, True):
            async with self._pool.use(as_wished(self._spec, self._wishes.value), file) as running:
                assert running.backend is not None
                load_s, has_begun = running.load_s if running.is_fresh else None, False
                try:
                    await self._pool.starter.prompts.bring(running, request)
                    async with aclosing(running.backend.answer(request, running.served_name)) as events:
                        async for event in events:
                            has_begun = True
                            running.note_sign()
                            yield _told(event, running, load_s)
                        return
                except ProxyError as error:
                    if not await self._is_lost(running, error):
                        raise
                    if is_last or has_begun:
                        raise error.but(code=ENGINE_ENDED) from error
            log.info("%s of %s ended before it answered, and is started again", model, self._spec.id)

    async def _is_lost(self, running: Running, error: ProxyError) -> bool:
        """Whether its process has ended, or what computes in it, or it is to leave since it is of no use any more."""
        if error.kind is not ErrorKind.UPSTREAM_FAILED:
            return False
        if running.backend is not None and running.backend.starts_anew(error):
            self._pool.ends.note(running, Reason("engine_ended", model=running.file.name, detail=error.message))
            return True
        if error.status is None and await running.has_ended():
            return True
        why = await self._why_useless(running, error)
        if why is not None and running.is_ready:
            self._pool.ends.note(running, why)
            self._pool.leave(running)
        return why is not None

    async def _why_useless(self, running: Running, error: ProxyError) -> Reason | None:
        """Nothing can reach it any more, or it says of itself that it is dead."""
        assert running.backend is not None
        facts = {"model": running.file.name, "detail": error.message}
        if error.code == UNREACHABLE:
            return Reason("engine_unreachable", **facts)
        try:
            await running.backend.probe()
        except ProxyError as told:
            code = {ENGINE_DEAD: "engine_dead", UNREACHABLE: "engine_unreachable"}.get(told.code or "")
            return None if code is None else Reason(code, **facts)
        return None

    async def show(self, model: str, body: Mapping[str, Json]) -> Mapping[str, Json]:
        """What is known of a model, for which it is not started."""
        running, engine = self._running(model), self._spec.engine
        tells_more = engine is not None and engine.facts.form is not Form.FOLDER  # such a folder says what it knows
        if running is not None and running.backend is not None and tells_more and running.served_name == model:
            return await running.backend.show(model, body)
        file = await self._file(model)
        if self.can_manage and (told := await self._shown(file, body)) is not None:
            return told
        return describe(self._model(file), self._spec.name, self._spec.endpoint, None)

    async def _shown(self, file: ModelFile, body: Mapping[str, Json]) -> Mapping[str, Json] | None:
        """What its program says of a model, kept for the same question; None where that cannot be started."""
        key = (file.model.digest, msgspec.json.encode(body))
        if (kept := self._told.get(key)) is not None:
            return kept
        try:
            async with self._of_the_store() as backend:
                told = await backend.show(file.name, body)
        except ProxyError as error:
            if error.code == NOT_LOADED:
                return None
            raise
        if not body.get("verbose"):
            self._told[key] = told
            while len(self._told) > MOST_TOLD:
                del self._told[next(iter(self._told))]
        return told

    async def count_tokens(self, request: Request, model: str) -> int | None:
        """By the process of the model, where there is one; none is started for that."""
        running = self._running(model)
        if running is None or running.backend is None:
            return None
        return await running.backend.count_tokens(request, running.served_name)

    async def unload(self, model: str) -> None:
        """End the process of a model."""
        await self._pool.stop(self._spec.id, model)

    async def probe(self) -> Probe:
        """The models on the disk, and those that processes run for; a process that has ended is gone already."""
        assert self._spec.engine is not None
        shelf = self._shelf = await self._files.look(self._spec.engine)
        await self._pool.measure(self._spec.id)
        loaded = [each for each in self._pool.running(self._spec.id) if not each.file.is_store]
        wished = as_wished(self._spec, self._wishes.value)
        if not any(each.code == "models_folder_unreadable" for each in shelf.unusable):
            await self._pool.starter.prompts.keep_only(wished, shelf.files)
        names = {each.name for each in shelf.files}
        for each in loaded:
            self._learn(each)
            if each.file.name not in names and await asyncio.to_thread(_is_gone, each.file.path):
                log.info("%s of %s leaves, since its file is not there any more", each.file.name, self._spec.id)
                self._pool.leave(each)
        return Probe(
            models=tuple(self._model(each) for each in shelf.files),
            loaded=tuple(_loaded(each) for each in loaded),
            version=self._version,
            slots=None if self._spec.slots else Slots(slots_of(wished.engine, wished.slots), SlotsFrom.TOLD),
            unusable=shelf.unusable,
        )

    def _running(self, model: str) -> Running | None:
        return next((each for each in self._pool.running(self._spec.id) if each.file.name == model), None)

    async def _looked(self) -> Shelf:
        """What the last look found; after a reload a request may come before the first one."""
        if self._shelf is None:
            assert self._spec.engine is not None
            self._shelf = await self._files.look(self._spec.engine)
        return self._shelf

    async def _file(self, model: str) -> ModelFile:
        found = next((each for each in (await self._looked()).files if each.name == model), None)
        if found is None:
            message = f"backend {self._spec.id} holds no model {model!r}"
            raise ProxyError(ErrorKind.UPSTREAM_REJECTED, message, status=404)
        return found

    def _model(self, file: ModelFile) -> Model:
        known = self._known.get(file.name)
        model = file.model if known is None else filled(file.model, known)
        return replace(model, unfit=self._pool.unfit(self._spec, file))

    def _learn(self, running: Running) -> None:
        """Keep what a process told of its model after it has ended."""
        if running.probe is not None:
            self._version = running.probe.version or self._version
            told = next((each for each in running.probe.models if each.name == running.served_name), None)
            if told is not None:
                self._known[running.file.name] = replace(told, name=running.file.name)


def _loaded(running: Running) -> LoadedModel:
    sizes = [size for memory, size in running.needs.items() if memory != RAM] or [running.needs.get(RAM, 0.0)]
    return LoadedModel(running.file.name, size_bytes=int(max(sizes)), context_length=running.context_tokens)


def _is_gone(path: str) -> bool:
    """Whether a file is not there, and not only out of reach for a moment."""
    try:
        os.stat(path)  # noqa: PTH116 - one that cannot be looked at is there
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _watched(running: Running, tell: Tell) -> Tell:
    """A consumer of what flows, of which each piece is a sign of life."""

    def hear(event: Event | bytes) -> bool:
        running.note_sign()
        return tell(event)

    return hear


def _told(event: Event, running: Running, load_s: float | None) -> Event:
    """The event with signs of life from what flows, and at the end with how long the model was loaded for it."""
    if isinstance(event, Flow):
        return event.through(partial(_watched, running))
    if load_s is None or not isinstance(event, Finished) or event.timings.load_s is not None:
        return event
    return replace(event, timings=replace(event.timings, load_s=load_s))
