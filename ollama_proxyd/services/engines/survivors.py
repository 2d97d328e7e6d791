"""Engines that outlived the daemon which had started them: what is noted of each, and which are taken over."""

import hashlib
import logging
from collections.abc import Iterable, Mapping

from ollama_proxyd.core.engine_files import ModelFile
from ollama_proxyd.core.engine_instances import KeptEngine
from ollama_proxyd.core.fleet import BackendSpec, Model
from ollama_proxyd.core.residency import Place
from ollama_proxyd.services.engines.running import Running, started_with
from ollama_proxyd.services.ports import EngineRunner

log = logging.getLogger(__name__)


class Survivors:
    """Notes what runs after each change, and finds it again after a crash."""

    def __init__(self, runner: EngineRunner) -> None:
        self._runner = runner

    def note(self, held: Iterable[Running]) -> None:
        """Note these processes, in place of all that was noted before."""
        self._runner.keep([(_kept(each), each.process) for each in held if each.process is not None])

    def leave(self, kept: Iterable[Running]) -> None:
        """Note the units that the next daemon is to find, and say how they end without one."""
        left = list(kept)
        self.note(left)
        for each in left:
            words = "%s of %s goes on and waits for the next start; to end it: systemctl --user stop %s"
            log.info(words, each.file.name, each.spec.id, each.process and each.process.unit)

    async def take_over(self, specs: Mapping[str, BackendSpec], waiting: Mapping[Place, Running]) -> list[Running]:
        """Those that still run and are started as they would be now; all others are ended."""
        taken: dict[Place, Running] = {}
        for kept, process in await self._runner.found():
            spec = specs.get(kept.backend_id)
            file = ModelFile(Model(kept.model, kept.size_bytes), kept.path)
            at = Place(kept.backend_id, kept.model)
            if spec is None or spec.engine is None or at in taken or file.is_store or mark_of(spec, file) != kept.mark:
                log.info("%s of %s, which an earlier start left, is ended", kept.model, kept.backend_id)
                await process.stop()
                continue
            running = waiting.get(at) or Running(spec, file, kept.needs)
            running.take(process, kept)
            taken[at] = running
        return list(taken.values())


def mark_of(spec: BackendSpec, file: ModelFile) -> str:
    """Tells apart what a process is started with; a hash, since variables may have secrets."""
    return hashlib.sha256(repr(started_with(spec, file)).encode()).hexdigest()


def _kept(running: Running) -> KeptEngine:
    spec, file = running.spec, running.file
    return KeptEngine(
        *running.place,
        path=file.path,
        size_bytes=file.size_bytes,
        mark=mark_of(spec, file),
        port=running.address.port,
        socket=running.address.socket,
        api_key=running.api_key,
        needs=dict(running.needs),
    )
