"""What paired machines share, as backends of this one; each is followed on a connection of its own."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.failings import why_down
from ollama_proxyd.core.fleet import BackendSpec, Hardware, Health, LoadedModel, Probe, Profile
from ollama_proxyd.core.house import Machine, Offer, Peer
from ollama_proxyd.core.requests import Api
from ollama_proxyd.core.slots import Slots, SlotsFrom
from ollama_proxyd.edges.backends.shared import SharedBackend
from ollama_proxyd.edges.house.link import LinkError, follow, prove
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.edges.plumbing.machine_words import BackendWords, MachineWords
from ollama_proxyd.edges.plumbing.way import Pinned, Way
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.inventory import BackendConfig, Source
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

PAUSES_S = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0)
"""After how long a machine is looked for again; sooner where mDNS tells of it."""
STEADY_S = 1.0
"""A connection that lasted so long is begun again at once when it ends, before the machine counts as away."""


@dataclass(eq=False)
class Neighbour:
    """A paired machine and what it told last, None while it is away; `why`: since when it is, and why."""

    peer: Peer
    way: Way
    place: tuple[str, int]
    """Where it was reached last."""
    since: str | None
    why: str | None = None
    told: MachineWords | None = None
    rtt_s: float | None = None
    linked_s: float | None = None
    """Since when there is a connection on which it has told something; None without one."""
    profiles: dict[str, Profile] = field(default_factory=dict)
    """Its speeds as they were when it was reached first: later ones are learned from its answers."""
    is_found_out: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it was reached, or was looked for in vain."""
    seen: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it may be reached."""
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it is said to be elsewhere than where it was reached."""


class NeighbourNews(NamedTuple):
    """addresses: where a machine may be, by what is known of it. keep: called with the new fields of one."""

    addresses: Callable[[Peer], Iterable[tuple[str, int]]]
    keep: Callable[..., object]


class Neighbours:
    """All of them. What a machine had stays while it is away, as what is down."""

    def __init__(
        self,
        shared: Source,
        fleet: Fleet,
        http: HttpClient,
        clock: Clock,
        news: NeighbourNews,
    ) -> None:
        self._shared = shared
        self._fleet = fleet
        self._http = http
        self._clock = clock
        self._news = news
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
        place = peer.address, peer.port
        if (known := self._all.get(peer.fingerprint)) is not None:
            if place not in {known.place, (known.peer.address, known.peer.port)}:
                known.moved.set()
            known.peer = replace(peer, offers=known.peer.offers)
            known.seen.set()
            self._show()
            return
        self._all[peer.fingerprint] = neighbour = Neighbour(peer, Way(None, context), place, self._moment())
        neighbour.why = f"away since {neighbour.since}: it was not reached yet"
        self._running[peer.fingerprint] = self._tasks.start(f"follow.{peer.name}", self._follow(neighbour))
        self._show()

    def linked_at(self, fingerprint: str) -> tuple[str, int] | None:
        """Where a machine is connected; None where it is not."""
        known = self._all.get(fingerprint)
        return known.place if known is not None and known.linked_s is not None else None

    def remove(self, fingerprint: str) -> None:
        """Follow a machine no longer."""
        if fingerprint in self._all:
            del self._all[fingerprint]
            self._running.pop(fingerprint).cancel()
            self._show()

    async def close(self) -> None:
        """Follow nothing."""
        await self._tasks.close()

    async def _follow(self, neighbour: Neighbour) -> None:
        pauses_s = iter(PAUSES_S)
        while True:
            neighbour.seen.clear()
            lasted_s, why = await self._reach(neighbour)
            if lasted_s is not None:
                pauses_s = iter(PAUSES_S)
                log.info("the connection to %s has ended: %s", neighbour.peer.name, why)
                neighbour.seen.clear()  # what was heard while it was there says nothing of its coming back
                if lasted_s >= STEADY_S:
                    continue
            self._note_away(neighbour, why)
            with suppress(TimeoutError):
                async with asyncio.timeout(next(pauses_s, PAUSES_S[-1])):
                    await neighbour.seen.wait()

    async def _reach(self, neighbour: Neighbour) -> tuple[float | None, str]:
        """Follow it as long as it can be; how many seconds that was, None where it was not reached, and why no more."""
        context, why = neighbour.way.tls, ""
        assert isinstance(context, Pinned)
        for place in dict.fromkeys((*self._news.addresses(neighbour.peer), neighbour.place)):
            link = asyncio.ensure_future(follow(*place, context, partial(self._hear, neighbour, place)))
            try:
                is_elsewhere = await self._has_moved(neighbour, link)
            finally:
                link.cancel()
                (error,) = await asyncio.gather(link, return_exceptions=True)
            why = "it is elsewhere now" if is_elsewhere else str(error)
            if (linked_s := neighbour.linked_s) is not None:
                neighbour.linked_s = None
                return self._clock.monotonic() - linked_s, why
        return None, why

    async def _has_moved(self, neighbour: Neighbour, link: asyncio.Future[None]) -> bool:
        """Wait until its connection ends, or until it answers where it is said to be by now; whether it does."""
        neighbour.moved.clear()
        while not link.done():
            moved = asyncio.ensure_future(neighbour.moved.wait())
            try:
                await asyncio.wait((link, moved), return_when=asyncio.FIRST_COMPLETED)
            finally:
                moved.cancel()
            neighbour.moved.clear()
            if not link.done() and neighbour.linked_s is not None and await self._is_there(neighbour):
                return True
        return False

    async def _is_there(self, neighbour: Neighbour) -> bool:
        """Whether it answers where it is said to be, which anyone in the network can say; if not, that is forgotten."""
        context, peer = neighbour.way.tls, neighbour.peer
        assert isinstance(context, Pinned)
        try:
            await prove(peer.address, peer.port, context)
        except LinkError as error:
            log.info("%s is not at %s, where it is said to be: %s", peer.name, peer.address, error)
            if neighbour.peer is peer:
                neighbour.peer = there = replace(peer, address=neighbour.place[0], port=neighbour.place[1])
                self._news.keep(there, address=there.address, port=there.port)
            return False
        return True

    def _note_away(self, neighbour: Neighbour, why: str) -> None:
        """Nothing of a machine is used until it is reached again."""
        if neighbour.since is None:
            neighbour.since = self._moment()
            log.info("%s is gone: %s", neighbour.peer.name, why)
        neighbour.why = f"away since {neighbour.since}: {why}"
        neighbour.told = neighbour.rtt_s = None
        neighbour.is_found_out.set()
        for each in neighbour.peer.offers:
            if self._is_used(backend_id := _id(neighbour, each)):
                self._fleet.note_down(backend_id, why_down(backend_id, _unshared(neighbour)))

    def _moment(self) -> str:
        """Now, as people write it: 2026-05-24 18:07."""
        minute = int(self._clock.local_minute())
        return f"{self._clock.local_date()} {minute // 60:02}:{minute % 60:02}"

    def _hear(self, neighbour: Neighbour, place: tuple[str, int], told: MachineWords, rtt_s: float | None) -> None:
        if self._all.get(neighbour.peer.fingerprint) is not neighbour:
            return  # it was unpaired, and must not be kept again
        if neighbour.linked_s is None:
            neighbour.linked_s = self._clock.monotonic()
            log.info("%s is reached at %s", neighbour.peer.name, place[0])
        neighbour.place, neighbour.told, neighbour.rtt_s = place, told, rtt_s
        neighbour.since = neighbour.why = None
        neighbour.is_found_out.set()
        neighbour.profiles = {
            each.id: neighbour.profiles.get(each.id) or Profile(None, each.ttft_s, each.decode_tps)
            for each in told.backends
        }
        offers = tuple(Offer(each.id, each.name, each.hardware) for each in told.backends)
        if offers != neighbour.peer.offers:
            neighbour.peer = replace(neighbour.peer, offers=offers)
            self._news.keep(neighbour.peer, offers=offers)
        self._show()
        for words in told.backends:
            self._note(neighbour, words)

    def _is_used(self, backend_id: str) -> bool:
        return self._fleet.has(backend_id) and self._fleet.view(backend_id).health is not Health.DISABLED

    def _note(self, neighbour: Neighbour, words: BackendWords) -> None:
        """What it says counts at once, without a health check."""
        if self._is_used(backend_id := _id(neighbour, words)):
            if words.why_not is None:
                self._fleet.note_up(backend_id, self._probe(neighbour, words))
            else:
                self._fleet.due.set()

    def _show(self) -> None:
        self._shared.backends.set(
            tuple(BackendConfig(self._spec(each, offer)) for each in self._all.values() for offer in each.peer.offers)
        )

    def _spec(self, neighbour: Neighbour, offer: Offer) -> BackendSpec:
        host, port = neighbour.place
        base = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        known = {each.value for each in Hardware}
        return BackendSpec(
            id=_id(neighbour, offer),
            name=f"{offer.name} on {neighbour.peer.name}",
            api=Api.OLLAMA,
            endpoint=f"{base}/at/{offer.id}",
            hardware=Hardware(offer.hardware) if offer.hardware in known else Hardware.UNKNOWN,
            flavor="ollama",
            profile=neighbour.profiles.get(offer.id, Profile()),
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

        async def told() -> Probe:
            await neighbour.is_found_out.wait()
            backends = neighbour.told.backends if neighbour.told else ()
            words = next((each for each in backends if _id(neighbour, each) == spec.id), None)
            if words is None or words.why_not is not None:
                raise _unshared(neighbour, words)
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
            models=tuple(each.model() for each in words.models),
            loaded=None if words.loaded is None else tuple(map(LoadedModel, words.loaded)),
            slots=Slots(words.slots, SlotsFrom.TOLD),
            machine=machine,
        )


def _id(neighbour: Neighbour, named: Offer | BackendWords) -> str:
    return f"{neighbour.peer.name}/{named.id}"


def _unshared(neighbour: Neighbour, words: BackendWords | None = None) -> ProxyError:
    """Why a backend of a machine is not used now, by what the machine says of it."""
    name, why = neighbour.peer.name, words.why_not if words else None
    message = (
        f"{name} is {neighbour.why}" if neighbour.why else f"{name} does not share it now: {why or 'it is gone there'}"
    )
    return ProxyError(ErrorKind.UPSTREAM_FAILED, message)
