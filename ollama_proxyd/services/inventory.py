"""Which backends there should be, from all sources together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.options import Option, Within
from ollama_proxyd.core.values import value
from ollama_proxyd.services.cell import Cell


@value
class BackendConfig:
    """A backend that there should be, whether it may be used, and the key that its API asks for."""

    spec: BackendSpec
    enabled: Annotated[bool, Option("backends[].", "Whether it is used.")] = True
    unhealthy_threshold: Annotated[
        int,
        Within(1, 100),
        Option("backends[].", "Failed checks or connections in a row until it is down."),
    ] = 1
    healthy_threshold: Annotated[
        int, Within(1, 100), Option("backends[].", "Successful health checks in a row until one that was down is up.")
    ] = 1
    requests_per_minute: Annotated[
        Annotated[int, Within(1, 10**6)] | None,
        Option("backends[].", "The limit of requests in a minute that are sent to it; others go elsewhere meanwhile."),
    ] = None
    api_key: str | None = field(default=None, repr=False)


Backends: TypeAlias = tuple[BackendConfig, ...]


@dataclass(eq=False)
class Source:
    """One origin of backends; `backends` is what it offers."""

    label: str
    stands_in: bool = False
    """Whether its backends count only where no earlier source has any."""
    backends: Cell[Backends] = field(default_factory=lambda: Cell(()))


class Inventory:
    """Merges the offers of all sources; where two name one id or one address, the earlier source's counts."""

    def __init__(self, *sources: Source) -> None:
        self.sources = sources

    @property
    def label(self) -> str:
        """Where the backends in force come from, for a person."""
        in_force = self._in_force([source.backends.value for source in self.sources])
        labels = [source.label for source, offer in zip(self.sources, in_force, strict=True) if offer]
        return " and ".join(labels) or self.sources[0].label

    @property
    def backends(self) -> Backends:
        """All of them, as the sources offer them now."""
        return self.merge([source.backends.value for source in self.sources])

    def merge(self, offers: Sequence[Backends]) -> Backends:
        """All of them, for one offer of each source."""
        return tuple(each for offer in self._in_force(offers) for each in offer)

    def put(self, offers: Sequence[Backends]) -> None:
        """Take these as what the sources offer."""
        for source, offer in zip(self.sources, offers, strict=True):
            source.backends.set(offer)

    def _in_force(self, offers: Sequence[Backends]) -> list[Backends]:
        in_force: list[Backends] = []
        ids: set[str] = set()
        addresses: set[tuple[str | None, int | None]] = set()
        for source, offer in zip(self.sources, offers, strict=True):
            if source.stands_in and ids:
                offer = ()  # noqa: PLW2901
            new = tuple(each for each in offer if each.spec.id not in ids and _address(each) not in addresses)
            ids.update(each.spec.id for each in new)
            addresses.update(map(_address, new))
            in_force.append(new)
        return in_force


def _address(config: BackendConfig) -> tuple[str | None, int | None]:
    """Host and port, or the path of a socket; loopback has several names."""
    url = urlsplit(config.spec.endpoint)
    if url.scheme == "unix":
        return url.path, None
    host = "127.0.0.1" if url.hostname in {"localhost", "::1"} else url.hostname
    return host, url.port or {"http": 80, "https": 443}.get(url.scheme)


@value
class FleetChanges:
    """What a reconciliation changed, as backend ids."""

    added: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
