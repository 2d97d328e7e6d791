"""The daemon's life: start, reload, look for engines, stop."""

import asyncio
import logging
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ollama_proxyd.app import limits
from ollama_proxyd.app.administration import RunningSettings, file_of, kept_in
from ollama_proxyd.app.doors import Doors
from ollama_proxyd.app.endpoints import Endpoints
from ollama_proxyd.app.foundation import FIRST_CHECK_S, LAST_WORDS_S, Foundation
from ollama_proxyd.app.frontend_sockets import FrontendSockets
from ollama_proxyd.app.idle_exit import SETTLE_S, Use, until_unused
from ollama_proxyd.app.launch_options import LaunchOptions
from ollama_proxyd.app.listeners import Listeners
from ollama_proxyd.app.logging import configure as configure_logging
from ollama_proxyd.app.machine import Machine
from ollama_proxyd.app.service_status import ServiceStatus
from ollama_proxyd.app.sources import Found, Sources
from ollama_proxyd.app.watchdog import Watchdog
from ollama_proxyd.config import changes, watch
from ollama_proxyd.config.problems import ConfigError
from ollama_proxyd.config.settings import Config
from ollama_proxyd.core.errors import ASLEEP, ProxyError
from ollama_proxyd.edges.host.notify import Notifier
from ollama_proxyd.edges.http_api.context import ADMIN
from ollama_proxyd.edges.http_api.server import HttpServer
from ollama_proxyd.edges.http_api.status import GRPC_ENDPOINT
from ollama_proxyd.edges.storage.history import KeptHistory, NoHistory
from ollama_proxyd.edges.storage.history_file import HistoryFile, history_path
from ollama_proxyd.edges.storage.state_file import KeptState, StateFile, state_path
from ollama_proxyd.services.admin import Admin
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.inventory import Source
from ollama_proxyd.services.sleep import Awake, Sleep
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

BUS_WAIT_S = 5.0
"""The service manager is told that the daemon is ready when it has its names on the bus, or after this time."""
FIRST_ROUND_S = 5.0
"""How long the first backend may take to say that it serves."""


class Daemon:
    """Everything that runs, from `start` to `stop`."""

    def __init__(self, options: LaunchOptions, config: Config) -> None:
        self._options = options
        self._config = config
        state = state_path(options.environ)
        self._kept, self._history = KeptState(StateFile(state)), _history(state, config)
        self._foundation = lasting = Foundation.build(config, self._kept, self._history)
        self.services = lasting.services
        found = Found(self.services.fleet, lasting.activity, lasting.clock)
        self._watchers = Tasks("daemon")
        self._search: asyncio.Task[None] | None = None
        self._reloading = asyncio.Lock()
        self._reload_asked = asyncio.Event()
        self._read: watch.Fingerprint | None = None
        """Which files a reload has read; whoever changes one may ask for the reload, too."""
        self._machine = Machine(config, lasting.clock)
        self._server = HttpServer(self.services, config.server)
        self._doors = Doors(lasting, self._server, config, options.environ, is_picker=options.is_picker)
        endpoints = Endpoints(lasting.clock) if options.is_picker else None
        self._sources = Sources(options.demo, found, self._doors.house.shared, endpoints)
        self._listeners = Listeners(options.environ, config.server)
        self._frontends = FrontendSockets(options.environ, self._server)
        self._server.reconfigure(config.server, config.frontends)
        file, settings = (
            file_of(options.environ),
            RunningSettings(options.load_with, self.have, lambda: self._config, options.named),
        )
        self.admin = Admin(file, kept_in(file), settings, lasting.clock)
        self._server.app[ADMIN].set(self.admin)
        notifier = Notifier(options.environ)
        self._status = ServiceStatus(notifier, self.services, lambda: self._server.url.removeprefix("http://"))
        self._watchdog = Watchdog(notifier, lambda: self._server.addresses, lasting.clock)
        break_off = partial(lasting.http.cut_off, code=ASLEEP)
        self._sleep = Sleep(
            lasting.activity, lasting.gate, lasting.detector, break_off, lasting.reconnect, lasting.engines.leave_cards
        )
        self.ended = asyncio.Event()
        """Set when it is to end."""

    @property
    def url(self) -> str:
        """Where clients find it."""
        return self._server.url

    @property
    def grpc_port(self) -> int | None:
        """Where gRPC is served, None where it is not."""
        return self._doors.grpc.port

    @property
    def grpc_endpoint(self) -> str | None:
        """What clients of gRPC on this machine call, None where it is not served."""
        return self._doors.grpc.endpoint

    @property
    def picker_port(self) -> int | None:
        """Where endpoints are picked, None where they are not."""
        return None if self._doors.picker is None else self._doors.picker.port

    @property
    def source(self) -> str:
        """Where its backends come from, for a person."""
        return self._sources.inventory.label

    @property
    def is_asleep(self) -> Cell[bool]:
        """Whether it refuses requests because the machine sleeps."""
        return self._sleep.is_asleep

    async def start(self) -> None:
        """Listen, find the backends and check them; raises ProxyError when it cannot listen.

        Requests may wait already in its sockets: they are taken up once backends are known.
        """
        await self._open()
        await self._machine.show(self.services, self.url, self.grpc_endpoint or "")
        self._machine.prepare_for_sleep(self._sleep, Awake(self._foundation.activity, self._foundation.sensing.system))
        for name, wake in (("mode", self.services.governor.wake), ("hour", self._foundation.sensing.wake)):
            self._watchers.start(f"{name}.sleep", self._sleep.is_asleep.follow(wake))
        self._status.follow(self._sleep.is_asleep, self._machine.bus_trouble, self._watchers)
        if self._status.is_heard:
            await self._machine.settled(BUS_WAIT_S)
        self._status.ready()
        self._watchers.start("watchdog", self._watchdog.feed())
        self._watchers.start("idle", self._end_when_idle())
        self._watchers.start("config-file", self._follow_the_file())
        self._watchers.start("reload", self._reload_when_asked())

    async def _open(self) -> None:
        await self._listeners.open(self._server)
        self._foundation.start()
        self._foundation.engines.recover()
        self._machine.listen(self.services, self._foundation.sensing, self._foundation.activity)
        for source in self._sources.changing:
            self._watchers.start("found", self._follow(source))
        if self._sources.endpoints is not None:
            self._watchers.start("endpoints", self._sources.endpoints.follow())
        await self._doors.house.know(self._config)
        async with self._reloading:  # else a source that finds something meanwhile would be all that there is
            await self._adopt(self._config, FIRST_ROUND_S)
        await self._listeners.listen(self._server)
        await self._doors.open(self._config)
        self._server.app[GRPC_ENDPOINT].set(self.grpc_endpoint)

    async def _end_when_idle(self) -> None:
        is_found_elsewhere = self._doors.is_open or self._frontends  # nothing would start it for a call there
        idle_s = None if is_found_elsewhere else self._listeners.idle_exit_s
        if idle_s is not None:
            await until_unused(self._use, self.withdraw, self.come_back, self._foundation.clock, idle_s)
            self.ended.set()

    def _use(self) -> Use:
        holds = len(self.services.governor.holds.value)
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
        """Stop listening, let running requests finish for a while, close everything."""
        drain_s = self._config.server.drain_s
        await self._watchers.close()  # first, because a reload tells how it ended
        self._status.stopping(drain_s, self._foundation.activity.in_flight)
        await self._server.refuse_new()
        self._doors.refuse_new(drain_s + LAST_WORDS_S)
        if self._server.connections:
            await self._foundation.clock.sleep(SETTLE_S)
        self._foundation.gate.stop()
        await self._foundation.drain(drain_s)
        await self._foundation.http.close()
        await self._doors.close()
        await self._machine.close()
        await self._server.stop()
        self._listeners.close()
        self._frontends.close()
        await self._sources.close()
        await self._foundation.close(self._options.can_load)
        self._kept.flush()
        self._history.close()

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
            self._status.reloading()
            problem = "a fault of the proxy, which the log describes"
            try:
                await self._reload()
                problem = ""
            except (ConfigError, ProxyError) as error:
                log.error("the configuration is not reloaded and nothing has changed:\n%s", error)  # noqa: TRY400
                problem = str(error)
            finally:
                self._status.reloaded(problem)

    async def have(self, load: Callable[[], Config]) -> None:
        """Put a configuration in force, as it is when no reload is under way; raises ProxyError."""
        async with self._reloading:
            await self._take(load())

    async def _reload(self) -> None:
        self._read = watch.fingerprint(self._options.files)
        await self._take(self._options.load(self.admin.entries))
        log.info("the configuration was reloaded")

    async def _take(self, config: Config) -> None:
        difference = changes.compare(*map(self._sources.served_of, (self._config, config)))
        await self._adopt(changes.until_restart(self._config, config))
        for sentence in (*difference.applied, *difference.waiting):
            log.info("reload: %s", sentence)
        for warning in config.warnings:
            log.warning("%s", warning)

    async def _adopt(self, config: Config, patience_s: float = FIRST_CHECK_S) -> None:
        """Put a configuration in force in one step, once all that it needs is known."""
        offers, prepared = await self._sources.survey(config), self._frontends.prepare(config)
        try:
            self._foundation.reconfigure(config, self._sources.inventory.merge(offers))
        except BaseException:
            prepared.close()
            raise
        self._sources.inventory.put(offers)
        self._config = config
        configure_logging(config.log.level, self._options.environ, syslog=config.log.syslog)
        self._server.reconfigure(config.server, prepared.frontends)
        await self._frontends.put(prepared)
        self._doors.reconfigure(config)
        if self._search is not None:
            self._search.cancel()
        if self._sources.is_searched(config):
            self._search = self._watchers.start("search", self._sources.found.search(config.detection))
        await self._foundation.first_check(patience_s)

    async def _follow_the_file(self) -> None:
        async for _ in watch.changes(paths := self._options.files, self._foundation.clock):
            if watch.fingerprint(paths) != self._read:
                self.ask_reload()

    async def _follow(self, source: Source) -> None:
        """Have the backends that a source has found, whenever others are."""
        async for _ in source.backends.changes():
            async with self._reloading:
                wanted = self._sources.inventory.backends
                if wanted != tuple(each.config for each in self.services.fleet.members.values()):
                    self.services.fleet.reconcile(wanted)
                    await self._foundation.first_check()


def _history(state: Path, config: Config) -> KeptHistory | NoHistory:
    if not config.history.enabled:
        return NoHistory()
    return KeptHistory(HistoryFile(history_path(state), config.history))


async def run(options: LaunchOptions, config: Config, on_ready: Callable[[Daemon], None]) -> None:
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
