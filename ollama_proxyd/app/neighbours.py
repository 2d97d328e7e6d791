"""What paired machines share, as backends of this one; each is followed on a connection of its own."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendSpec, Hardware, Health, LoadedModel, Model, Probe, Profile
from ollama_proxyd.core.house import Machine, Peer
from ollama_proxyd.core.requests import Api
from ollama_proxyd.core.slots import Slots, SlotsFrom
from ollama_proxyd.edges.backends.shared import SharedBackend
from ollama_proxyd.edges.house.link import LinkError, follow
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.edges.plumbing.machine_words import BackendWords, MachineWords, ModelWords
from ollama_proxyd.edges.plumbing.way import Pinned, Way
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.inventory import BackendConfig, Source
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

PAUSES_S = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0)
"""After how long a machine is looked for again; sooner where mDNS tells of it."""


@dataclass(eq=False)
class Neighbour:
    """A paired machine and what it told last; `why`: why nothing of it is used now."""

    peer: Peer
    way: Way
    told: MachineWords | None = None
    rtt_s: float | None = None
    place: tuple[str, int] = ("", 0)
    """Where it was reached last."""
    why: str | None = "it was not reached yet"
    profiles: dict[str, Profile] = field(default_factory=dict)
    """Its speeds as they were when it was reached: later ones are learned from its answers."""
    seen: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it may be reached."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it has said goodbye."""


class Neighbours:
    """All of them. addresses: where a machine may be, by what is known of it."""

    def __init__(
        self,
        shared: Source,
        fleet: Fleet,
        http: HttpClient,
        clock: Clock,
        addresses: Callable[[Peer], Iterable[tuple[str, int]]],
    ) -> None:
        self._shared = shared
        self._fleet = fleet
        self._http = http
        self._clock = clock
        self._addresses = addresses
        self.mains_weight = 1.0
        """What a joule from another machine's mains counts while this one runs on battery."""
        self._all: dict[str, Neighbour] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks = Tasks("neighbours")

    def find(self, fingerprint: str) -> Neighbour | None:
        """What is known of a machine."""
        return self._all.get(fingerprint)

    def add(self, peer: Peer, context: Pinned) -> None:
        """Follow a machine, or know its new address or name."""
        if (known := self._all.get(peer.fingerprint)) is not None:
            known.peer = peer
            known.seen.set()
            return
        self._all[peer.fingerprint] = neighbour = Neighbour(peer, Way(None, context))
        self._running[peer.fingerprint] = self._tasks.start(f"follow.{peer.name}", self._follow(neighbour))

    def remove(self, fingerprint: str) -> None:
        """Follow a machine no longer."""
        if fingerprint in self._all:
            del self._all[fingerprint]
            self._running.pop(fingerprint).cancel()
            self._show()

    def leave(self, fingerprint: str) -> None:
        """A machine has said goodbye."""
        if (known := self._all.get(fingerprint)) is not None:
            known.left.set()

    async def close(self) -> None:
        """Follow nothing."""
        await self._tasks.close()

    async def _follow(self, neighbour: Neighbour) -> None:
        pauses_s = iter(PAUSES_S)
        while True:
            neighbour.seen.clear()
            neighbour.left.clear()
            if await self._is_reached(neighbour):
                pauses_s = iter(PAUSES_S)
                log.info("%s is gone: %s", neighbour.peer.name, neighbour.why)
                neighbour.seen.clear()  # what was heard while it was there says nothing of its coming back
            neighbour.told = neighbour.rtt_s = None
            self._show()
            with suppress(TimeoutError):
                async with asyncio.timeout(next(pauses_s, PAUSES_S[-1])):
                    await neighbour.seen.wait()

    async def _is_reached(self, neighbour: Neighbour) -> bool:
        """Follow it as long as it can be followed; whether it was reached."""
        for address, port in dict.fromkeys(self._addresses(neighbour.peer)):
            context = neighbour.way.tls
            assert isinstance(context, Pinned)
            link = asyncio.ensure_future(
                follow(address, port, context, partial(self._hear, neighbour, (address, port)))
            )
            left = asyncio.ensure_future(neighbour.left.wait())
            try:
                await asyncio.wait((link, left), return_when=asyncio.FIRST_COMPLETED)
            finally:
                left.cancel()
                link.cancel()
                (error,) = await asyncio.gather(link, return_exceptions=True)
            neighbour.why = str(error) if isinstance(error, LinkError) else "it has left"
            if neighbour.told is not None:
                return True
        return False

    def _hear(self, neighbour: Neighbour, place: tuple[str, int], told: MachineWords, rtt_s: float | None) -> None:
        is_new, neighbour.told, neighbour.rtt_s, neighbour.why = neighbour.told is None, told, rtt_s, None
        if is_new:
            log.info("%s is reached at %s", neighbour.peer.name, place[0])
            neighbour.profiles = {each.id: Profile(None, each.ttft_s, each.decode_tps) for each in told.backends}
        neighbour.place = place
        self._show()
        for each in told.backends:
            self._note(neighbour, each)

    def _note(self, neighbour: Neighbour, words: BackendWords) -> None:
        """What it says counts at once, without a health check."""
        backend_id = _id(neighbour, words)
        if self._fleet.has(backend_id) and self._fleet.view(backend_id).health is not Health.DISABLED:
            if words.why_not is None:
                self._fleet.note_up(backend_id, self._probe(neighbour, words))
            else:
                self._fleet.due.set()

    def _show(self) -> None:
        self._shared.backends.set(
            tuple(
                BackendConfig(self._spec(each, words))
                for each in self._all.values()
                for words in (each.told.backends if each.told else ())
            )
        )

    def _spec(self, neighbour: Neighbour, words: BackendWords) -> BackendSpec:
        host, port = neighbour.place
        base = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        known = {each.value for each in Hardware}
        return BackendSpec(
            id=_id(neighbour, words),
            name=f"{words.name} on {neighbour.peer.name}",
            api=Api.OLLAMA,
            endpoint=f"{base}/at/{words.id}",
            hardware=Hardware(words.hardware) if words.hardware in known else Hardware.UNKNOWN,
            flavor="ollama",
            profile=neighbour.profiles.get(words.id, Profile()),
            proxy="none",
            machine=neighbour.peer.name,
            is_local=False,
        )

    def make(self, wanted: BackendConfig) -> SharedBackend:
        """The backend of a machine; raises ProxyError where the machine is not paired."""
        spec = wanted.spec
        neighbour = next((each for each in self._all.values() if each.peer.name == spec.machine), None)
        if neighbour is None:
            raise ProxyError(ErrorKind.UNAVAILABLE, f"{spec.machine} is not paired")

        def told() -> Probe:
            backends = neighbour.told.backends if neighbour.told else ()
            words = next((each for each in backends if _id(neighbour, each) == spec.id), None)
            if words is None or words.why_not is not None:
                why = neighbour.why if words is None else words.why_not
                message = f"{spec.machine} does not share it now: {why or 'it is gone there'}"
                raise ProxyError(ErrorKind.UPSTREAM_FAILED, message)
            return self._probe(neighbour, words)

        return SharedBackend(spec, self._http, neighbour.way, told)

    def _probe(self, neighbour: Neighbour, words: BackendWords) -> Probe:
        told = neighbour.told
        machine = Machine(
            neighbour.peer.name,
            words.power_w,
            told.on_battery if told else None,
            told.battery_percent if told else None,
            neighbour.rtt_s,
            self.mains_weight,
        )
        return Probe(
            models=tuple(_model(each) for each in words.models),
            loaded=None if words.loaded is None else tuple(map(LoadedModel, words.loaded)),
            slots=Slots(words.slots, SlotsFrom.TOLD),
            machine=machine,
        )


def _model(words: ModelWords) -> Model:
    return Model(
        words.name,
        words.size_bytes,
        words.digest,
        family=words.family,
        parameter_size=words.parameter_size,
        quantization=words.quantization,
        context_length=words.context_length,
        capabilities=None if words.capabilities is None else frozenset(words.capabilities),
    )


def _id(neighbour: Neighbour, words: BackendWords) -> str:
    return f"{neighbour.peer.name}/{words.id}"
