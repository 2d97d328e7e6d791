"""A backend whose engine is a systemd unit: stopped once nothing is in its memory, started by the next request."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from ollama_proxyd.core.errors import IN_USE, UNREACHABLE, ErrorKind, ProxyError
from ollama_proxyd.core.events import Event
from ollama_proxyd.core.fleet import BackendSpec, Model, Probe
from ollama_proxyd.core.management import Managed, Management
from ollama_proxyd.core.requests import Json, Request
from ollama_proxyd.edges.backends.backend import EngineBackend
from ollama_proxyd.services.ports import Clock, StateStore, Units

log = logging.getLogger(__name__)

START_S: Final = 3.0
"""How long a start is taken to last until one was seen."""
LONGEST_START_S: Final = 120.0
LOOK_S: Final = 0.1
NEW_COUNTS: Final = 0.5
MOST_KEPT: Final = 100
"""So many models of an engine that is off are remembered over a restart."""


class OnDemand:
    """The engine and its unit. While the engine is off its models are those of the last check that found it on."""

    def __init__(self, inner: EngineBackend, unit: str, units: Units, clock: Clock, store: StateStore) -> None:
        self._inner = inner
        self._unit = unit
        self._units = units
        self._clock = clock
        self._store = store
        self._key = f"models of {unit}"
        self._last = _recalled(store.get(self._key))
        """What the engine said last, also before this start; None where it was never seen on."""
        self._is_off = False
        self._start_s = START_S
        self._under_way = 0
        self._turn = asyncio.Lock()
        """Held while the unit is started or stopped."""

    @property
    def spec(self) -> BackendSpec:
        """What this backend is."""
        return self._inner.spec

    @property
    def can_keep(self) -> bool:
        """As its engine does."""
        return self._inner.can_keep

    @property
    def can_unload(self) -> bool:
        """Stopping the engine unloads in any case."""
        return True

    @property
    def can_manage(self) -> bool:
        """As its engine does."""
        return self._inner.can_manage

    def keep(self, model: str, seconds: float | None) -> None:
        """As its engine does."""
        self._inner.keep(model, seconds)

    def can_resume(self, request: Request) -> bool:
        """As its engine does."""
        return self._inner.can_resume(request)

    async def manage(self, asked: Management) -> AsyncGenerator[Managed | bytes, None]:
        """Have the engine change the files of its models, once it runs."""
        await self._begin()
        try:
            async with aclosing(self._inner.manage(asked)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self._under_way -= 1

    async def answer(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
        """Send the request, once the engine runs."""
        await self._begin()
        try:
            async with aclosing(self._inner.answer(request, model)) as events:
                async for event in events:
                    yield event
        finally:
            self._under_way -= 1

    async def show(self, model: str, body: Mapping[str, Json]) -> Mapping[str, Json]:
        """A model's details, for which the engine is started."""
        await self._begin()
        try:
            return await self._inner.show(model, body)
        finally:
            self._under_way -= 1

    async def count_tokens(self, request: Request, model: str) -> int | None:
        """By the engine's own count, where it runs; it is not started for that."""
        return None if self._is_off else await self._inner.count_tokens(request, model)

    async def unload(self, model: str) -> None:
        """Have the engine let go of a model, and stop it once it holds none."""
        if self._is_off:
            return
        if self._inner.can_unload:
            await self._inner.unload(model)
            if (await self._inner.probe()).loaded != ():
                return
        elif await self._inner.is_working():
            message = f"{self._unit} works for another program"
            raise ProxyError(ErrorKind.UPSTREAM_REJECTED, message, status=409, code=IN_USE)
        async with self._turn:
            if not self._under_way:
                await self._stop()

    async def probe(self) -> Probe:
        """What the engine says; what it said last where it is stopped."""
        try:
            probe = await self._inner.probe()
        except ProxyError as error:
            if self._last is None or error.code != UNREACHABLE or not await self._is_stopped():
                raise
            self._is_off = True
            return replace(self._last, loaded=(), start_s=self._start_s, is_off=True)
        self._is_off = False
        if self._last is None or probe.models != self._last.models:
            self._store.put(self._key, [_kept(each) for each in probe.models[:MOST_KEPT]])
        self._last = probe
        return replace(probe, start_s=self._start_s)

    async def _is_stopped(self) -> bool:
        try:
            return await self._units.is_off(self._unit)
        except OSError as error:
            log.info("whether %s is stopped is not known: %s", self._unit, error)
            return False

    async def _begin(self) -> None:
        """One more piece of work, for which the engine runs; raises ProxyError where it does not start."""
        self._under_way += 1
        try:
            if self._is_off or self._turn.locked():
                async with self._turn:
                    if self._is_off:
                        await self._start()
        except BaseException:
            self._under_way -= 1
            raise

    async def _start(self) -> None:
        begun_s = self._clock.monotonic()
        try:
            await self._units.start(self._unit)
        except OSError as error:
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, f"{self._unit} cannot be started: {error}") from None
        log.info("%s is started for a request", self._unit)
        while True:
            try:
                self._last = await self._inner.probe()
                break
            except ProxyError as error:
                took_s = self._clock.monotonic() - begun_s
                if took_s > LONGEST_START_S or (error.code == UNREACHABLE and await self._has_failed(took_s)):
                    message = f"{self._unit} was started, and its engine does not answer: {error.message}"
                    raise ProxyError(ErrorKind.UPSTREAM_FAILED, message) from None
            await self._clock.sleep(LOOK_S)
        self._is_off = False
        self._start_s += NEW_COUNTS * (self._clock.monotonic() - begun_s - self._start_s)

    async def _has_failed(self, took_s: float) -> bool:
        """Whether the unit is off again although it was started a moment ago."""
        return took_s > 1.0 and await self._is_stopped()

    async def _stop(self) -> None:
        try:
            await self._units.stop(self._unit)
        except OSError as error:
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, f"{self._unit} cannot be stopped: {error}") from None
        log.info("%s is stopped, as its models were unused", self._unit)
        self._is_off = True


def _kept(model: Model) -> Json:
    able = None if model.capabilities is None else sorted(model.capabilities)
    return {"name": model.name, "size_bytes": model.size_bytes, "capabilities": able}


def _recalled(kept: Json) -> Probe | None:
    """The models of an engine that was seen before this start; None where another version wrote them otherwise."""
    try:
        models = tuple(_model(each) for each in kept) if isinstance(kept, Sequence) and kept else ()
    except (TypeError, KeyError):
        return None
    return Probe(models) if models else None


def _model(kept: Mapping[str, Json]) -> Model:
    able = kept["capabilities"]
    return Model(str(kept["name"]), kept["size_bytes"], capabilities=None if able is None else frozenset(able))
