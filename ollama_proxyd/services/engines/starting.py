"""Starts one process, and waits until it answers."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from math import inf
from typing import Any, Final

from ollama_proxyd.core.engine_instances import Address, End, Launch
from ollama_proxyd.core.errors import ENGINE_DEAD, NOT_LOADED, UNREACHABLE, ErrorKind, ProxyError
from ollama_proxyd.core.fleet import Hardware, Probe
from ollama_proxyd.core.memory_budget import RAM
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.services.engines.prompts import SavedPrompts
from ollama_proxyd.services.engines.running import ENDS_WITHIN_S, OwnBackend, Running
from ollama_proxyd.services.ports import Clock, EngineProcess, EngineRunner

log = logging.getLogger(__name__)

FIRST_LOOK_S: Final = 0.05
LONGEST_LOOK_S: Final = 1.0
LOOK_S: Final = 10.0
MOST_SILENCES: Final = 3
HUNG_S: Final = 60.0
"""An engine answers such questions also while it computes; health checks are a quarter of a minute apart."""
MOST_PERCENT: Final = 99
"""It is loaded once it answers."""
ADDRESSES_TRIED: Final = 3
"""Another program may take a port between the look for it and its use, and some programs know no sockets."""

Make = Callable[[Running], OwnBackend]
"""Makes the backend that asks a process."""


class Starter:
    """Starts processes with an address and a key of their own."""

    def __init__(self, runner: EngineRunner, clock: Clock, make: Make, prompts: SavedPrompts) -> None:
        self._runner = runner
        self._clock = clock
        self._make = make
        self.prompts = prompts
        self._without_sockets: set[str] = set()
        """Programs that made no socket when they were to."""
        self.listening: Reason | None = None
        """Where the last one listens that might at a socket, and why not; None while none was started."""
        self.news: Callable[[Running], None] = lambda _running: None
        """Told of each process, and of what it has loaded."""

    @property
    def way(self) -> Reason | None:
        """How processes are started, and why so; None while none was."""
        return self._runner.way

    async def log(self, backend_id: str, model: str, lines: int) -> list[str]:
        """The last lines that the process of a model wrote; none where none ever ran."""
        return await self._runner.log(log_name(backend_id, model), lines)

    def follow(self, backend_id: str, model: str, lines: int) -> AsyncGenerator[str, None]:
        """The last lines, and each further one as it is written."""
        return self._runner.follow(log_name(backend_id, model), lines)

    async def start(self, running: Running, most_bytes: int | None) -> Probe:
        """Have it run and answer; raises ProxyError, its process stopped."""
        for _ in range(ADDRESSES_TRIED - 1):
            try:
                return await self._start(running, most_bytes)
            except ProxyError:
                if running.end is None or not running.end.has_failed or self._runner.was_usable(running.address):
                    raise
                self._note_unusable(running)
        return await self._start(running, most_bytes)

    def _note_unusable(self, running: Running) -> None:
        assert running.spec.engine is not None
        if running.address.socket:
            self._without_sockets.add(running.spec.engine.program)
            log.info("%s made no Unix socket, and is given a port from now on", running.spec.engine.program)
        else:
            log.info("port %d was taken meanwhile; another one is tried", running.address.port)

    def _where(self, address: Address, program: str) -> Reason:
        if address.socket:
            return Reason("engines_behind_sockets", path=address.socket.rpartition("/")[0])
        made_none = f"{program} makes no socket" if program in self._without_sockets else ""
        return Reason("engines_at_ports", detail=made_none or self._runner.why_no_socket)

    async def end(self, running: Running) -> None:
        """End its process, and leave nothing of it but prompts that are worth it."""
        if running.process is not None:
            try:
                await self.prompts.save(running)
            finally:  # whatever befalls its prompts, it does not stay
                await running.process.stop()
        self.clear(running)

    async def end_all(self, running: Sequence[Running]) -> None:
        """End them together; what goes wrong with one is told, and is not the others' matter."""
        ends = await asyncio.gather(*map(self.end, running), return_exceptions=True)
        for each, error in zip(running, ends, strict=True):
            if error is not None:
                log.warning("%s of %s could not be ended: %s", each.file.name, each.spec.id, error)

    def clear(self, running: Running) -> None:
        """Leave nothing of one that has ended."""
        self._runner.clear(running.address)

    async def _start(self, running: Running, most_bytes: int | None) -> Probe:
        engine = running.spec.engine
        assert engine is not None
        try:
            wants_socket = engine.wants_socket and engine.program not in self._without_sockets
            running.address = self._runner.new_address(wants_socket=wants_socket)
            if engine.wants_socket:
                self.listening = self._where(running.address, engine.program)
            running.process, running.end, running.api_key = None, None, self._runner.new_key()
            key, values = engine.facts.key, running.values(engine.context_tokens)
            launch = Launch(
                log_name(*running.place),
                engine.words(values, at_socket=bool(running.address.socket)),
                (
                    *engine.variables(values, is_on_cpu=running.spec.hardware is Hardware.CPU),
                    *self.prompts.variables(running.spec),
                    *engine.environment,
                    *(() if key is None else (f"{key}={running.api_key}",)),
                ),
                running.address,
                running.api_key,
                most_bytes,
            )
            running.process = process = await self._runner.start(launch)
        except OSError as error:
            raise _failure(running, f"{error.strerror or error}") from None
        self.news(running)
        return await self.ready(running, process)

    async def ready(self, running: Running, process: EngineProcess, most_silences: float = inf) -> Probe:
        """Wait until a process answers and has its model.

        Raises ProxyError where it ends, or is too slow or too silent, and stops it.
        """
        assert running.spec.engine is not None
        running.backend = self._make(running)
        ended = asyncio.create_task(process.ended(), name="engines.ended")
        until_s = self._clock.monotonic() + running.spec.engine.start_timeout_s
        try:
            probe = await self._until_ready(running, process, ended, until_s, most_silences)
            running.note(probe)
            if not running.file.is_store:
                await self._until_loaded(running, process, ended, until_s)
        except BaseException:
            await process.stop()
            raise
        else:
            return probe
        finally:
            ended.cancel()

    async def _until_ready(
        self, running: Running, process: EngineProcess, ended: asyncio.Task[End], until_s: float, most_silences: float
    ) -> Probe:
        backend, silences, pause_s = running.backend, 0, FIRST_LOOK_S
        assert backend is not None
        while True:
            trouble = _too_late(running)
            try:
                probe = await backend.probe()
                if await process.holds(running.address):
                    return probe
                trouble = f"another program listens at its address {running.address.endpoint}"
            except ProxyError as error:
                silences = silences + 1 if error.kind is ErrorKind.UPSTREAM_TIMEOUT else 0
                if error.code == ENGINE_DEAD:
                    raise _failure(running, await process.last_words() or error.message) from error
                if error.code != UNREACHABLE:
                    trouble = f"{trouble}: {error.message}"
            if self._clock.monotonic() > until_s or silences >= most_silences:
                raise _failure(running, trouble)
            await self._pause(running, process, pause_s, {ended})
            if ended.done():
                raise await _ended(running, process, ended)
            pause_s = min(1.5 * pause_s, LONGEST_LOOK_S)

    async def _until_loaded(
        self, running: Running, process: EngineProcess, ended: asyncio.Task[End], until_s: float
    ) -> None:
        """Wait until its model is in memory; raises ProxyError where it does not get there."""
        assert running.backend is not None
        loading = asyncio.create_task(running.backend.settle(running.served_name), name="engines.load")
        try:
            while not loading.done():
                await self._pause(running, process, LONGEST_LOOK_S, {ended, loading})
                if ended.done():
                    raise await _ended(running, process, ended)
                if self._clock.monotonic() > until_s:
                    raise _failure(running, _too_late(running))
            await loading
        except ProxyError as error:
            if error.code == NOT_LOADED:
                raise
            await asyncio.wait({ended}, timeout=ENDS_WITHIN_S)  # a connection may break before that is told
            if ended.done():
                raise await _ended(running, process, ended) from error
            raise _failure(running, await _why_not(running.backend, process, error)) from error
        finally:
            loading.cancel()

    async def _pause(
        self, running: Running, process: EngineProcess, pause_s: float, until: set[asyncio.Task[Any]]
    ) -> None:
        """Wait for a while, or until something has happened; see how far it is."""
        pause = asyncio.ensure_future(self._clock.sleep(pause_s))
        try:
            await asyncio.wait({pause, *until}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
        if not any(each.done() for each in until):
            await self._measure(running, process)

    async def look(self, running: Running) -> None:
        """Ask one at work whether it is there still; one that hangs is ended, as if it had crashed.

        It hangs where no answer to this and no piece of an answer has come for a while; some servers work on one thing.
        """
        if running.is_looked_at:
            return
        running.is_looked_at = True
        try:
            async with asyncio.timeout(LOOK_S):
                await self._make(running).probe()
        except (ProxyError, TimeoutError):
            now_s = self._clock.monotonic()
            running.silent_since_s = now_s if running.silent_since_s is None else running.silent_since_s
            if now_s - running.silent_since_s >= HUNG_S and running.process is not None and not running.is_hung:
                running.is_hung = True
                await running.process.stop()
        else:
            running.note_sign()
        finally:
            running.is_looked_at = False

    async def _measure(self, running: Running, process: EngineProcess) -> None:
        """How far it is, by its memory: a model that goes to a card leaves no trace in the main one."""
        found, needed = await process.memory_bytes(), running.needs.get(RAM)
        if found is not None and needed and len(running.needs) == 1:
            percent = min(int(100 * found / needed), MOST_PERCENT)
            if percent > (running.loaded_percent or 0):
                running.loaded_percent = percent
                self.news(running)


def _too_late(running: Running) -> str:
    assert running.spec.engine is not None
    return f"it was not ready after {running.spec.engine.start_timeout_s:g} s"


async def _why_not(backend: OwnBackend, process: EngineProcess, error: ProxyError) -> str:
    """Why a model did not load: what its program says to that, or its last words where it is dead of it."""
    try:
        await backend.probe()
    except ProxyError as told:
        if told.code == ENGINE_DEAD:
            return await process.last_words() or error.message
    return error.message


async def _ended(running: Running, process: EngineProcess, ended: asyncio.Task[End]) -> ProxyError:
    """The failure of one whose process has ended."""
    running.end = ended.result()
    return _failure(running, ": ".join(filter(None, (running.end.words, await process.last_words()))))


def log_name(backend_id: str, model: str) -> str:
    """By which the log of a process is found."""
    return f"{backend_id}-{model}"


def _failure(running: Running, why: str) -> ProxyError:
    """What a client is told; by its code the model is left alone there for a while."""
    at, model = running.place
    message = f"backend {at} could not load model {model!r}: {why}; see ollama-proxyctl engines log {at} {model}"
    return ProxyError(ErrorKind.UPSTREAM_FAILED, message, code=NOT_LOADED, cause=why)
