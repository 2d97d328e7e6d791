"""Where the backends come from: the configuration, else what answers on this machine, else the demo fleet."""

import logging
from dataclasses import dataclass, replace
from enum import Enum

from ollama_proxyd.config.settings import Config, ConfiguredBackend
from ollama_proxyd.edges.backends.detect import detect
from ollama_proxyd.edges.demo.fleet import DemoFleet, start_demo

log = logging.getLogger(__name__)


class Source(Enum):
    """Which of the three it was, as words for a person."""

    CONFIGURED = "from the configuration"
    DETECTED = "found on this machine"
    DEMO = "the built-in demo fleet: simulated devices that load no model"


class Demo(Enum):
    """When the demo fleet is used."""

    NEVER = "never"
    IF_NONE = "if no backend is configured or found"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Found:
    """Backends and where they come from."""

    source: Source
    backends: tuple[ConfiguredBackend, ...]


class Sources:
    """Finds backends; owns the demo fleet from its first use until it is closed."""

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self._fleet: DemoFleet | None = None
        self._told: set[str] = set()

    def is_looking(self, found: Found, config: Config) -> bool:
        """Whether an engine that starts later should be noticed: where none was configured, nor the demo asked for."""
        by_itself = found.source is Source.DETECTED or (found.source is Source.DEMO and self._demo is Demo.IF_NONE)
        return by_itself and config.detection.enabled

    async def find(self, config: Config) -> Found:
        """The backends for a configuration."""
        if self._demo is Demo.ALWAYS:
            return await self._simulate()
        if config.backends:
            return Found(Source.CONFIGURED, config.backends)
        found = await self.look_around(config)
        if not found.backends and self._demo is Demo.IF_NONE:
            return await self._simulate()
        return found

    async def look_around(self, config: Config) -> Found:
        """The engines that answer on this machine's known ports now."""
        if not config.detection.enabled:
            return Found(Source.DETECTED, ())
        detected = await detect(config.detection.ports)
        for each in detected:
            self._tell_once(each.how)
        return Found(Source.DETECTED, tuple(ConfiguredBackend(each.spec) for each in detected))

    def _tell_once(self, sentence: str) -> None:
        """Looking again finds the same; that is news only the first time."""
        if sentence not in self._told:
            self._told.add(sentence)
            log.info("%s", sentence)

    async def close(self) -> None:
        """End the demo fleet, if it runs."""
        if self._fleet is not None:
            await self._fleet.close()

    async def _simulate(self) -> Found:
        if self._fleet is None:
            self._fleet = await start_demo()
        specs = (replace(spec, is_local=False) for spec in self._fleet.specs)  # no device of this machine is simulated
        return Found(Source.DEMO, tuple(ConfiguredBackend(spec) for spec in specs))
