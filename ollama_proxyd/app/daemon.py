"""The daemon's life: start, reload, look for engines, stop."""

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ollama_proxyd.app import limits
from ollama_proxyd.app.foundation import Foundation
from ollama_proxyd.app.generation import Generation
from ollama_proxyd.app.logging import configure as configure_logging
from ollama_proxyd.app.machine import Machine
from ollama_proxyd.app.sources import Demo, Found, Source, Sources
from ollama_proxyd.config import changes, watch
from ollama_proxyd.config.load import Overrides, find, load, search_paths
from ollama_proxyd.config.problems import ConfigError
from ollama_proxyd.config.settings import Config
from ollama_proxyd.edges.http_api.server import HttpServer
from ollama_proxyd.edges.storage.state_file import StateFile, state_path
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line and the environment say."""

    environ: Mapping[str, str]
    config: Path | None = None
    overrides: Overrides = field(default_factory=Overrides)
    demo: Demo = Demo.NEVER

    def load(self) -> Config:
        """The configuration now; raises ConfigError."""
        return load(self.config, self.environ, self.overrides)


class Daemon:
    """Everything that runs, from `start` to `stop`."""

    def __init__(self, options: Options, config: Config) -> None:
        self._options = options
        self._foundation = Foundation.lay(config, StateFile(state_path(options.environ)))
        self._sources = Sources(options.demo)
        self._watchers = Tasks("daemon")
        self._draining = Tasks("generation")
        self._search: asyncio.Task[None] | None = None
        self._reloading = asyncio.Lock()
        self._reload_asked = asyncio.Event()
        self._config = config
        self._source = Source.CONFIGURED
        self._generation = Generation(config, (), self._foundation)
        self.services: Cell[Services] = Cell(self._generation.services)
        self._machine = Machine(config, self._foundation.clock)
        self._server = HttpServer(self.services, config.server)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return self._server.url

    @property
    def source(self) -> Source:
        """Where its backends come from."""
        return self._source

    async def start(self) -> None:
        """Listen, find the backends and check them; raises ProxyError when it cannot listen."""
        await self._server.start()
        self._foundation.start()
        self._machine.listen(self.services, self._foundation.sensing, self._foundation.activity)
        await self._adopt(self._config, await self._sources.find(self._config))
        await self._machine.show(self.services)
        self._watchers.start("config-file", self._follow_the_file())
        self._watchers.start("reload", self._reload_when_asked())

    async def stop(self) -> None:
        """Listen no more, let running requests finish for a while, close everything."""
        await self._watchers.close()
        self._generation.services.gateway.refuse_new()
        await self._server.refuse_new()
        drain_s = self._config.server.drain_s
        await asyncio.gather(self._generation.close(drain_s), self._draining.finish(drain_s))
        await self._machine.close()
        await self._server.stop()
        await self._sources.close()
        await self._foundation.close()

    def ask_reload(self) -> None:
        """Have the configuration read again soon; asking often means one reload."""
        self._reload_asked.set()

    async def _reload_when_asked(self) -> None:
        while True:
            await self._reload_asked.wait()
            self._reload_asked.clear()
            await self.reload()

    async def reload(self) -> None:
        """Put the configuration as it is written now in force; a bad one changes nothing."""
        async with self._reloading:
            try:
                config = self._options.load()
            except ConfigError as error:
                log.error("the configuration is not reloaded and nothing has changed:\n%s", error)  # noqa: TRY400
                return
            difference = changes.compare(self._config, config)
            for sentence in (*difference.applied, *difference.waiting):
                log.info("reload: %s", sentence)
            for warning in config.warnings:
                log.warning("%s", warning)
            config = changes.until_restart(self._config, config)
            await self._adopt(config, await self._sources.find(config))
            log.info("the configuration was reloaded")

    async def _adopt(self, config: Config, found: Found) -> None:
        """Build a generation, swap it in, and let the old one drain."""
        generation = Generation(config, found.backends, self._foundation)
        try:
            await generation.start()
        except BaseException:
            await generation.close(0)
            raise
        old, self._generation = self._generation, generation
        self._config, self._source = config, found.source
        configure_logging(config.log.level, self._options.environ)
        self._server.reconfigure(config.server)
        self.services.set(generation.services)
        self._draining.start("drain", old.close())
        if self._search is not None:
            self._search.cancel()
        if self._sources.is_looking(found, config):
            self._search = self._watchers.start("search", self._look_again(generation, found))

    async def _follow_the_file(self) -> None:
        found = find(self._options.config, self._options.environ)
        searched = () if self._options.config else search_paths(self._options.environ)
        paths = tuple(dict.fromkeys((*([found] if found else []), *searched)))
        async for _ in watch.changes(paths, self._foundation.clock):
            self.ask_reload()

    async def _look_again(self, generation: Generation, now: Found) -> None:
        """Look for engines again whenever, and as long as, none answers, or only the demo stands in for them."""
        is_serving = generation.services.fleet.is_serving
        async for _ in is_serving.changes():
            while now.source is Source.DEMO or not is_serving.value:
                await self._foundation.clock.sleep(generation.config.detection.interval_s)
                found = await self._sources.look_around(generation.config)
                if found.backends == generation.backends:
                    generation.services.fleet.check_soon()  # it answers again, so it may be healthy again
                elif found.backends:
                    self._watchers.start("adopt", self._adopt_found(generation, found))
                    return

    async def _adopt_found(self, generation: Generation, found: Found) -> None:
        async with self._reloading:
            if self._generation is generation:
                await self._adopt(generation.config, found)


async def run(options: Options, config: Config, on_ready: Callable[[Daemon], None]) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP reloads."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    limits.allow_many_files(config.gateway.max_in_flight)
    daemon = Daemon(options, config)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, daemon.ask_reload)
    try:
        await daemon.start()
        on_ready(daemon)
        await stopping.wait()
        log.info("stopping")
    finally:
        await daemon.stop()
