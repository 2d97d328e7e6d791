"""The endpoints that a picker picks from: the configured backends, a name with several addresses as several."""

import logging
import re
from dataclasses import replace

from ollama_proxyd.config.problems import ConfigError, Origin, Problem
from ollama_proxyd.config.settings import Config
from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.policy.priors import CLASS_PRIORS
from ollama_proxyd.edges.backends.resolve import addresses_of, at_address
from ollama_proxyd.services.inventory import BackendConfig, Backends, Source
from ollama_proxyd.services.ports import Clock

log = logging.getLogger(__name__)

MOST_ID_CHARACTERS = 64
SOON_S = 1.0
"""Until a configuration is in force."""


def of_picker(config: Config) -> Config:
    """A configuration without this machine's sensors, bus and sleep; raises ConfigError where it has no backends."""
    if not config.backends:
        message = "the picker looks for no engines; name the endpoints"
        raise ConfigError([Problem(Origin(str(config.path or "the configuration")), "backends", message)])
    return replace(
        config,
        sensors=replace(config.sensors, enabled=False),
        bus=replace(config.bus, enabled=False),
        sleep=replace(config.sleep, enabled=False),
    )


class Endpoints(Source):
    """What the configuration names, by address."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("from the configuration")
        self._clock = clock
        self._config: Config | None = None
        self._known: dict[str, tuple[str, ...]] = {}
        """The addresses of each endpoint, as they were found last."""
        self._complained: set[str] = set()

    async def offer(self, config: Config, *, has_better: bool) -> Backends:  # noqa: ARG002
        """The endpoints of a configuration now."""
        self._config = config
        offers = [await self._expanded(each) for each in config.backends]
        return tuple(each for offer in offers for each in offer)

    async def follow(self) -> None:
        """Look the names up again and again; never returns."""
        while True:
            await self._clock.sleep(SOON_S if self._config is None else self._config.picker.resolve_interval_s)
            if self._config is not None:
                self.backends.set(await self.offer(self._config, has_better=False))

    async def _expanded(self, config: BackendConfig) -> Backends:
        spec = config.spec
        if not spec.endpoint.startswith("http://"):
            self._complain(spec.id, "is left out: gateways are told addresses alone and add TLS themselves; use http")
            return ()
        try:
            self._known[spec.endpoint] = await addresses_of(spec.endpoint)
            self._complained.discard(spec.id)
        except OSError as error:
            self._complain(spec.id, f"has no address now ({error.strerror or error}); its last ones are kept")
        addresses = self._known.get(spec.endpoint, ())
        return tuple(replace(config, spec=_at(spec, address)) for address in addresses)

    def _complain(self, backend_id: str, what: str) -> None:
        if backend_id not in self._complained:
            self._complained.add(backend_id)
            log.warning("backend %s %s", backend_id, what)


def _at(spec: BackendSpec, address: str) -> BackendSpec:
    """A backend at one of its addresses; its watts are those of its class where none are configured.

    None of them is taken for a device of this machine, whose sensors would then speak for it.
    """
    endpoint = at_address(spec.endpoint, address)
    is_named = endpoint != spec.endpoint and "//localhost" not in spec.endpoint
    suffix = "-" + re.sub("[^0-9a-f]", "-", address)
    power_w = spec.profile.power_w or CLASS_PRIORS[spec.hardware].power_w
    return replace(
        spec,
        id=spec.id[: MOST_ID_CHARACTERS - len(suffix)] + suffix if is_named else spec.id,
        endpoint=endpoint,
        profile=replace(spec.profile, power_w=power_w),
        is_local=False,
    )
