"""The sources of backends: the configuration, engines of our own, those that answer here, and the demo fleet."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ollama_proxyd.app.endpoints import Endpoints
from ollama_proxyd.config.settings import Config, DetectionSettings
from ollama_proxyd.edges.backends.detect import Look, detect, detect_late
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.inventory import BackendConfig, Backends, Inventory, Source
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.settings import SensingSettings
from ollama_proxyd.services.watching import Pace

if TYPE_CHECKING:
    from ollama_proxyd.edges.demo.fleet import DemoFleet

log = logging.getLogger(__name__)

LOOKS_AT = (1, 1, 2, 4)
"""How many of its intervals detection waits after each look that found nothing; a request makes it look sooner."""


class Demo(Enum):
    """When the demo fleet is used."""

    NEVER = "never"
    IF_NONE = "if no backend is configured or found"
    ALWAYS = "always"


class Configured(Source):
    """What the configuration names."""

    def __init__(self) -> None:
        super().__init__("from the configuration")

    async def offer(self, config: Config, *, has_better: bool) -> Backends:  # noqa: ARG002
        """The backends of a configuration."""
        return config.backends


class OwnRun(Source):
    """The programs that the proxy runs itself."""

    def __init__(self) -> None:
        super().__init__("run by the proxy")

    async def offer(self, config: Config, *, has_better: bool) -> Backends:  # noqa: ARG002
        """A backend for each program."""
        return config.engines


class Found(Source):
    """Engines that answer on this machine's known ports, looked for where none is configured."""

    def __init__(self, fleet: Fleet, activity: Activity, clock: Clock) -> None:
        super().__init__("found on this machine")
        self._fleet = fleet
        self._activity = activity
        self._clock = clock
        self._told: set[str] = set()
        self._late: frozenset[int] = frozenset()
        """Ports at which something listens that could not say in time what it is, and that is waited for next."""
        self._mute: frozenset[int] = frozenset()
        """Those that were waited for in vain."""

    async def offer(self, config: Config, *, has_better: bool) -> Backends:
        """The engines that answer now, if they are looked for, and those found before that are busy or start again."""
        if has_better or not config.detection.enabled:
            return ()
        found = await self._look(config.detection.ports)
        answering = {each.spec.endpoint for each in found}
        silent = (each for each in self.backends.value if each.spec.endpoint not in answering)
        return (*found, *(each for each in silent if _port(each) in config.detection.ports))

    async def search(self, settings: DetectionSettings) -> None:
        """Look again whenever, and as long as, no engine answers; once more at those that were late. Never returns."""
        serving = self._fleet.is_serving
        async for _ in serving.changes():
            await self._wait_for_late()
            pauses = lengthening(settings.interval_s)
            while not self.backends.value or not serving.value:
                rhythm = SensingSettings(idle_s=next(pauses), busy_s=settings.interval_s)
                await Pace(self._clock, self._activity, rhythm).pause(self._clock.monotonic())
                found = await self._look(settings.ports)
                if found and found == self.backends.value:
                    self._fleet.due.set()  # it answers again, so it may be healthy again
                elif found:
                    self.backends.set(found)
                await self._wait_for_late()

    async def _look(self, ports: Sequence[int]) -> Backends:
        """The engines that answer in time, and those found before that are late now."""
        look = await detect(ports)
        late = tuple(each for each in self.backends.value if _port(each) in look.late)
        self._mute &= look.late
        self._late = look.late - self._mute - set(map(_port, late))
        return (*self._told_of(look), *late)

    async def _wait_for_late(self) -> None:
        """Add the engines that are slower than a look waits for."""
        late, self._late = self._late, frozenset()
        await asyncio.gather(*map(self._wait_for, late))

    async def _wait_for(self, port: int) -> None:
        look = await detect_late([port])
        self._mute |= look.late
        if found := self._told_of(look):
            self.backends.set((*self.backends.value, *found))

    def _told_of(self, look: Look) -> Backends:
        for each in look.found:
            self._tell_once(each.how)
        return tuple(BackendConfig(each.spec) for each in look.found)

    def _tell_once(self, sentence: str) -> None:
        """Looking again finds the same; that is news only the first time."""
        if sentence not in self._told:
            self._told.add(sentence)
            log.info("%s", sentence)


class Shared(Source):
    """What paired machines share; the house sets it."""

    def __init__(self) -> None:
        super().__init__("shared by paired machines")

    async def offer(self, config: Config, *, has_better: bool) -> Backends:  # noqa: ARG002
        """What they share now."""
        return self.backends.value


class Simulated(Source):
    """The demo fleet, started at its first use; it stands in where there is nothing else."""

    def __init__(self) -> None:
        super().__init__("the built-in demo fleet: simulated devices that load no model", stands_in=True)
        self._fleet: DemoFleet | None = None

    async def offer(self, config: Config, *, has_better: bool) -> Backends:  # noqa: ARG002
        """The simulated devices, if they are needed."""
        if has_better:
            return ()
        if self._fleet is None:
            from ollama_proxyd.edges.demo.fleet import start_demo  # noqa: PLC0415 - memory that most daemons spare

            self._fleet = await start_demo()
        specs = (replace(spec, is_local=False) for spec in self._fleet.specs)  # no device of this machine is simulated
        return tuple(BackendConfig(spec) for spec in specs)

    async def close(self) -> None:
        """End the demo fleet, if it runs."""
        if self._fleet is not None:
            await self._fleet.close()


class Sources:
    """The sources that a command line allows, the best first, and what they offer together."""

    def __init__(self, demo: Demo, found: Found, shared: Shared, endpoints: Endpoints | None = None) -> None:
        self.found = found
        self._shared = shared
        self.endpoints = endpoints
        """Those of a picker, in place of all others."""
        self._simulated = Simulated()
        self._is_demo_only = demo is Demo.ALWAYS
        real: tuple[Configured | OwnRun | Found | Endpoints | Shared, ...] = (Configured(), OwnRun(), found, shared)
        if endpoints is not None:
            real = (endpoints,)
        elif self._is_demo_only:
            real = ()
        last: tuple[Simulated | Shared, ...] = () if demo is Demo.NEVER else (self._simulated,)
        self._all = (*real, *last, *((shared,) if self._is_demo_only else ()))
        self.inventory = Inventory(*self._all)

    @property
    def changing(self) -> Sequence[Source]:
        """Those that find other backends by themselves."""
        return [self.found, self._shared] if self.endpoints is None else [self.endpoints]

    def served_of(self, config: Config) -> Config:
        """The configuration without backends where simulated ones are served in their place."""
        if not self._is_demo_only:
            return config
        return replace(config, backends=(), values={**config.values, "backends": []})

    async def survey(self, config: Config) -> tuple[Backends, ...]:
        """What each source has for a configuration; nothing is changed by it."""
        offers: list[Backends] = []
        for source in self._all:
            offers.append(await source.offer(config, has_better=any(offers)))
        return tuple(offers)

    def is_searched(self, config: Config) -> bool:
        """Whether an engine that starts later should be noticed."""
        is_for_found = self.endpoints is None and not self._is_demo_only
        return config.detection.enabled and not (config.backends or config.engines) and is_for_found

    async def close(self) -> None:
        """End the demo fleet, if it runs."""
        await self._simulated.close()


def _port(config: BackendConfig) -> int | None:
    return urlsplit(config.spec.endpoint).port


def lengthening(pause_s: float) -> Iterator[float]:
    """Pauses between looks that find nothing: longer while the proxy is not used, so that the machine can sleep."""
    for factor in LOOKS_AT:
        yield factor * pause_s
    while True:
        yield LOOKS_AT[-1] * pause_s
