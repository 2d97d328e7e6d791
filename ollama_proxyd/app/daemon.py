"""The daemon's life: start, reload, look for engines, stop."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ollama_proxyd.app import limits
from ollama_proxyd.app.foundation import Foundation
from ollama_proxyd.app.generation import FIRST_CHECK_S, Generation
from ollama_proxyd.app.generations import Generations
from ollama_proxyd.app.idle_exit import Use, until_unused
from ollama_proxyd.app.logging import configure as configure_logging
from ollama_proxyd.app.machine import Machine
from ollama_proxyd.app.places import Places
from ollama_proxyd.app.presence import Presence
from ollama_proxyd.app.sources import Demo, Found, Source, Sources
from ollama_proxyd.app.watchdog import Watchdog
from ollama_proxyd.config import changes, watch
from ollama_proxyd.config.load import Overrides, find, load, search_paths
from ollama_proxyd.config.problems import ConfigError
from ollama_proxyd.config.settings import Config
from ollama_proxyd.edges.host.notify import Notifier
from ollama_proxyd.edges.http_api.server import HttpServer
from ollama_proxyd.edges.storage.state_file import KeptState, StateFile, state_path
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.settings import SensingSettings
from ollama_proxyd.services.sleep import Awake, Sleep
from ollama_proxyd.services.tasks import Tasks
from ollama_proxyd.services.watching import Pace

log = logging.getLogger(__name__)

BUS_WAIT_S = 5.0
"""The service manager is told that the daemon is ready when it has its names on the bus, or after this time."""
FIRST_ROUND_S = 5.0
"""How long the first backend may take to say that it serves."""
LOOKS_AT = (1, 1, 2, 4)
"""How many of its intervals detection waits after each look that found nothing; a request makes it look sooner."""


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
        self._foundation = Foundation.lay(config, KeptState(StateFile(state_path(options.environ))))
        self._sources = Sources(options.demo)
        self._watchers = Tasks("daemon")
        self._search: asyncio.Task[None] | None = None
        self._reloading = asyncio.Lock()
        self._reload_asked = asyncio.Event()
        self._config = config
        self._source = Source.CONFIGURED
        self._generations = Generations(Generation(config, (), self._foundation))
        self.services: Cell[Services] = Cell(self._generations.current.services)
        self._machine = Machine(config, self._foundation.clock)
        self._server = HttpServer(self.services, config.server)
        self._places = Places(options.environ, config.server)
        notifier, lasting = Notifier(options.environ), self._foundation
        self._presence = Presence(notifier, self.services, lambda: self._server.place)
        self._watchdog = Watchdog(notifier, lambda: self._server.addresses, lasting.clock)
        self._sleep = Sleep(lasting.activity, lasting.admission, lasting.waking, self._generations)
        self.ended = asyncio.Event()
        """Set when it is to end."""

    @property
    def url(self) -> str:
        """Where clients find it."""
        return self._server.url

    @property
    def source(self) -> Source:
        """Where its backends come from."""
        return self._source

    @property
    def is_asleep(self) -> Cell[bool]:
        """Whether it refuses requests because the machine sleeps."""
        return self._sleep.is_asleep

    async def start(self) -> None:
        """Listen, find the backends and check them; raises ProxyError when it cannot listen.

        Sockets that the service manager holds may have requests in them already: they are taken up when there is
        somebody who can answer them.
        """
        await self._open()
        await self._machine.show(self.services, self.url)
        self._machine.prepare_for_sleep(self._sleep, Awake(self._foundation.activity, self._foundation.sensing.system))
        self._presence.follow(self._sleep.is_asleep, self._machine.bus_trouble, self._watchers)
        if self._presence.is_heard:
            await self._machine.settled(BUS_WAIT_S)
        self._presence.ready()
        self._watchers.start("watchdog", self._watchdog.feed())
        self._watchers.start("idle", self._end_when_idle())
        self._watchers.start("config-file", self._follow_the_file())
        self._watchers.start("reload", self._reload_when_asked())

    async def _open(self) -> None:
        self._places.open()
        if not self._places.is_activated:
            await self._places.listen(self._server)
        self._foundation.start()
        self._machine.listen(self.services, self._foundation.sensing, self._foundation.activity)
        await self._adopt(self._config, await self._sources.find(self._config), FIRST_ROUND_S)
        if self._places.is_activated:
            await self._places.listen(self._server)

    async def _end_when_idle(self) -> None:
        idle_s = self._places.idle_exit_s
        if idle_s is not None:
            await until_unused(self._use, self, self._foundation.clock, idle_s)
            self.ended.set()

    def _use(self) -> Use:
        holds = len(self._foundation.governor.holds.value)
        return Use(self._server.requests - self._watchdog.calls, self._server.connections, holds)

    async def withdraw(self) -> None:
        """Take no requests for a moment; they wait where the service manager and the bus keep them."""
        await self._server.pause()
        await self._machine.withdraw()

    async def come_back(self) -> None:
        """Take requests again."""
        await self._server.go_on()
        await self._machine.come_back()

    async def stop(self) -> None:
        """Listen no more, let running requests finish for a while, close everything."""
        drain_s = self._config.server.drain_s
        self._presence.stopping(drain_s, self._foundation.activity.in_flight)
        await self._watchers.close()
        self._generations.current.services.gateway.refuse_new()
        await self._server.refuse_new()
        await self._generations.close(drain_s)
        await self._machine.close()
        await self._server.stop()
        self._places.close()
        await self._sources.close()
        await self._foundation.close()

    def ask_reload(self) -> None:
        """Have the configuration read again soon; asking often means one reload."""
        self._reload_asked.set()

    async def _reload_when_asked(self) -> None:
        while True:
            await self._reload_asked.wait()
            self._reload_asked.clear()
            await self._watchers.start("reload.once", self.reload())  # a fault in one reload is not the end of the next

    async def reload(self) -> None:
        """Put the configuration as it is written now in force; a bad one changes nothing."""
        async with self._reloading:
            self._presence.reloading()
            problem = ""
            try:
                await self._reload()
            except ConfigError as error:
                log.error("the configuration is not reloaded and nothing has changed:\n%s", error)  # noqa: TRY400
                problem = str(error)
            finally:
                self._presence.reloaded(problem)

    async def _reload(self) -> None:
        config = self._options.load()
        difference = changes.compare(self._config, config)
        for sentence in (*difference.applied, *difference.waiting):
            log.info("reload: %s", sentence)
        for warning in config.warnings:
            log.warning("%s", warning)
        config = changes.until_restart(self._config, config)
        await self._adopt(config, await self._sources.find(config))
        log.info("the configuration was reloaded")

    async def _adopt(self, config: Config, found: Found, patience_s: float = FIRST_CHECK_S) -> None:
        """Build a generation, swap it in, and let the old one drain."""
        generation = Generation(config, found.backends, self._foundation)
        try:
            await generation.start(patience_s)
        except BaseException:
            await generation.close(0)
            raise
        self._generations.swap(generation)
        self._foundation.waking.attend(generation.services.fleet)
        self._config, self._source = config, found.source
        configure_logging(config.log.level, self._options.environ)
        self._server.reconfigure(config.server)
        self.services.set(generation.services)
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
        clock, wait_s = self._foundation.clock, generation.config.detection.interval_s
        async for _ in is_serving.changes():
            pauses = lengthening(wait_s)
            while now.source is Source.DEMO or not is_serving.value:
                rhythm = SensingSettings(idle_s=next(pauses), busy_s=wait_s)
                await Pace(clock, self._foundation.activity, rhythm).pause(clock.monotonic())
                found = await self._sources.look_around(generation.config)
                if not found.backends:
                    continue
                if found.backends == generation.backends:
                    generation.services.fleet.check_soon()  # it answers again, so it may be healthy again
                else:
                    self._watchers.start("adopt", self._adopt_found(generation, found))
                    return

    async def _adopt_found(self, generation: Generation, found: Found) -> None:
        async with self._reloading:
            if self._generations.current is generation:
                await self._adopt(generation.config, found)


def lengthening(pause_s: float) -> Iterator[float]:
    """Pauses between looks that find nothing: longer while nobody uses the proxy, so that the machine can sleep."""
    for factor in LOOKS_AT:
        yield factor * pause_s
    while True:
        yield LOOKS_AT[-1] * pause_s


async def run(options: Options, config: Config, on_ready: Callable[[Daemon], None]) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP reloads."""
    loop = asyncio.get_running_loop()
    limits.allow_many_files(config.gateway.max_in_flight)
    daemon = Daemon(options, config)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.ended.set)
    loop.add_signal_handler(signal.SIGHUP, daemon.ask_reload)
    try:
        await daemon.start()
        on_ready(daemon)
        await daemon.ended.wait()
        log.info("stopping")
    finally:
        await daemon.stop()
