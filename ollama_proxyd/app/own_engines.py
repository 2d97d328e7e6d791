"""What runs engines of our own: their processes, their memory, and the folders of their models."""

import os
from dataclasses import replace

from ollama_proxyd.core.engine_program import EngineSettings
from ollama_proxyd.core.features import EngineWishes
from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.values import value
from ollama_proxyd.edges.backends.backend import EngineBackend
from ollama_proxyd.edges.backends.managed import ManagedBackend
from ollama_proxyd.edges.backends.process import OwnProcess
from ollama_proxyd.edges.engines.model_files import ModelFolders
from ollama_proxyd.edges.engines.prompt_files import PromptFiles
from ollama_proxyd.edges.engines.runner import Runner
from ollama_proxyd.edges.engines.transient import TransientUnits
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.edges.storage.state_file import engines_folder, prompts_folder
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.engines.footprints import Footprints
from ollama_proxyd.services.engines.pool import EnginePool
from ollama_proxyd.services.engines.prompts import SavedPrompts
from ollama_proxyd.services.engines.room import Room
from ollama_proxyd.services.engines.running import Running
from ollama_proxyd.services.engines.starting import Starter
from ollama_proxyd.services.engines.survivors import Survivors
from ollama_proxyd.services.ports import Backend, Clock, StateStore


@value
class OwnEnginesDeps:
    """What they work with."""

    http: HttpClient
    line: BusLine
    clock: Clock
    store: StateStore
    system: Cell[SystemState]
    wishes: Cell[EngineWishes]


class OwnEngines:
    """Made once the first engine is configured."""

    def __init__(self, settings: EngineSettings, deps: OwnEnginesDeps) -> None:
        self._http = deps.http
        self._wishes = deps.wishes
        self._runner = Runner(engines_folder(os.environ), os.environ, TransientUnits(deps.line))
        self._files = ModelFolders(settings.models_dir, os.environ)
        prompts = SavedPrompts(PromptFiles(prompts_folder(os.environ), deps.http), settings.prompts)
        starter = Starter(self._runner, deps.clock, self._process_backend, prompts)
        room = Room(settings, deps.system, self._runner)
        self.pool = EnginePool(starter, room, Footprints(deps.store), Survivors(self._runner), deps.clock)

    def make(self, spec: BackendSpec) -> Backend:
        """The backend of a program."""
        return ManagedBackend(spec, self.pool, self._files, EngineBackend(spec, self._http), self._wishes)

    def _process_backend(self, running: Running) -> OwnProcess:
        """What asks one process."""
        engine = running.spec.engine
        spec = replace(running.spec, endpoint=running.address.endpoint, engine=None)
        model = running.file.name if engine is not None and engine.facts.keeps_store else None
        return OwnProcess(spec, self._http, running.api_key, model)

    def reconfigure(self, settings: EngineSettings) -> None:
        """Have other budgets, and another folder of models."""
        self.pool.room.settings, self.pool.starter.prompts.settings = settings, settings.prompts
        self._files.folder = settings.models_dir

    async def close(self, *, keeps_units: bool) -> None:
        """End all processes, or leave those that are units to the next daemon."""
        await self.pool.close(keeps_units=keeps_units)
        self._runner.close()
