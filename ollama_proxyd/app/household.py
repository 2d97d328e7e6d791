"""The house: this machine's key, the machines that it is paired with, and the pairing under way."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ollama_proxyd.app.foundation import Foundation
from ollama_proxyd.app.house_guests import HouseGuests
from ollama_proxyd.app.neighbours import NeighbourNews, Neighbours
from ollama_proxyd.app.shown_code import ShownCode
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.house import (
    CODE_DIGITS,
    HouseStatus,
    PairingStatus,
    Peer,
    PeerStatus,
    bare,
    is_code,
)
from ollama_proxyd.edges.house.card import Card, name_of
from ollama_proxyd.edges.house.door import Door
from ollama_proxyd.edges.house.identity import identity_in
from ollama_proxyd.edges.house.interfaces import changes
from ollama_proxyd.edges.house.multicast import NUMBER_CHARACTERS, Multicast, Place
from ollama_proxyd.edges.house.paired import Paired
from ollama_proxyd.edges.house.pairing import Host, WrongCodeError, join
from ollama_proxyd.edges.house.places import joined, split
from ollama_proxyd.edges.house.settings import HouseSettings
from ollama_proxyd.edges.http_api.guests import guests_runner
from ollama_proxyd.edges.http_api.server import HttpServer
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.inventory import Source
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)


class HouseholdDeps(NamedTuple):
    """What the house rests on. shared: takes what paired machines share."""

    foundation: Foundation
    server: HttpServer
    shared: Source


class Household:
    """What a daemon knows of the house; see `services.ports.House`."""

    def __init__(self, folder: Path, settings: HouseSettings, deps: HouseholdDeps) -> None:
        self._folder = folder
        self._settings = Cell(settings)
        self._deps = deps
        self._clock = clock = deps.foundation.clock
        self._paired = Paired(folder / "peers.json")
        services = deps.foundation.services
        self._guests = HouseGuests(services, self._settings, lambda: self._paired.peers)
        self._runner = guests_runner(deps.server.app, self._guests)
        fleet, http = services.fleet, deps.foundation.http
        self._neighbours = Neighbours(
            deps.shared,
            fleet,
            http,
            clock,
            NeighbourNews(self._addresses, lambda peer, **news: self._tasks.start("note", self._note(peer, **news))),
        )
        self._neighbours.mains_weight = settings.mains_weight
        self._pairing: ShownCode | None = None
        self._trouble: str | None = None
        self._tasks = Tasks("house")
        self._multicast: Multicast | None = None

    async def know(self) -> None:
        """Know who we are, and whom we know with what they have; raises ProxyError."""
        try:
            self._own = await asyncio.to_thread(identity_in, self._folder)
            await asyncio.to_thread(self._paired.read)
        except (OSError, ValueError) as error:
            message = f"the keys of this machine in {self._folder} cannot be used: {error}"
            raise ProxyError(ErrorKind.UNAVAILABLE, message, code="house_keys") from error
        self._deps.foundation.engines.shared = self._neighbours.make
        for each in self._paired.peers:
            self._follow(each)

    async def open(self) -> None:
        """Listen to them, and be found; raises ProxyError."""
        settings = self._settings.value
        if settings.multicast:
            number = self._own.fingerprint[:NUMBER_CHARACTERS]
            self._multicast = Multicast(number, settings.port, settings.interfaces, self._is_known, self._hear)
        await self._listen(settings)
        self._tasks.start("interfaces", self._follow_interfaces())

    async def _listen(self, settings: HouseSettings) -> None:
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        self._renew()
        self._door = Door(server, lambda: self._context, lambda: len(server.connections))
        try:
            self._door.open(settings.port, settings.interfaces)
        except OSError as error:
            message = f"cannot listen on port {settings.port} for paired machines: {error.strerror or error}"
            raise ProxyError(ErrorKind.UNAVAILABLE, f"{message}; change house.port", code="cannot_listen") from error

    def _renew(self) -> None:
        """Let in exactly the paired machines from now on."""
        self._context = self._own.context(ssl.PROTOCOL_TLS_SERVER, [each.certificate for each in self._paired.peers])
        self._guests.renew()

    def reconfigure(self, settings: HouseSettings) -> None:
        """Share by other settings from now on."""
        self._settings.set(settings)
        self._neighbours.mains_weight = settings.mains_weight
        self._guests.renew()

    async def close(self) -> None:
        """Say goodbye."""
        await self._tasks.close()
        if self._multicast is not None:
            await self._multicast.close()
        await self._neighbours.close()
        await self._door.close()
        await self._runner.cleanup()

    async def _follow_interfaces(self) -> None:
        await self._be_found()
        async for _ in changes():
            with suppress(OSError):  # what was open stays
                self._door.open(self._settings.value.port, self._settings.value.interfaces)
            await self._be_found()

    async def _be_found(self) -> None:
        if self._multicast is None:
            return
        try:
            await self._multicast.refresh()
            self._trouble = None
        except OSError as error:
            self._trouble = f"other machines are not found by themselves: {error.strerror or error}"
            log.warning("%s; name their addresses in house.peers", self._trouble)

    def _is_known(self, number: str) -> bool:
        return any(each.fingerprint.startswith(number) for each in self._paired.peers)

    async def _hear(self, number: str, place: Place) -> None:
        peer = next((each for each in self._paired.peers if each.fingerprint.startswith(number)), None)
        if peer is not None:
            linked = self._neighbours.linked_at(peer.fingerprint)
            stays = linked is not None and linked[0] in place.addresses
            address = linked[0] if linked and stays else place.address
            if (there := await self._note(peer, address=address, port=place.port)) is not None:
                self._follow(there)

    async def _note(self, peer: Peer, **news: Any) -> Peer | None:
        """Know over a restart where a machine is, and what it has even while it is away; None where it was unpaired."""
        try:
            return await self._paired.note(peer.fingerprint, **news)
        except OSError as error:
            log.warning("what is new of %s is not remembered over a restart: %s", peer.name, error.strerror or error)
            return replace(peer, **news)

    def _follow(self, peer: Peer) -> None:
        self._neighbours.add(peer, self._own.context(ssl.PROTOCOL_TLS_CLIENT, (peer.certificate,)))

    @property
    def _card(self) -> Card:
        name = self._settings.value.name or name_of(socket.gethostname())
        return Card(self._own.certificate, name, self._settings.value.port)

    def status(self) -> HouseStatus:
        """See the port."""
        peers = tuple(self._peer_status(each) for each in self._paired.peers)
        pairing = None if self._pairing is None else self._pairing.status()
        card = self._card
        return HouseStatus(card.name, self._own.fingerprint, card.port, peers, pairing, self._trouble)

    def _peer_status(self, peer: Peer) -> PeerStatus:
        address, found = joined(peer.address, peer.port), self._neighbours.find(peer.fingerprint)
        told = None if found is None else found.told
        if found is None or told is None:
            why = None if found is None else found.why
            return PeerStatus(peer.name, peer.fingerprint, address, False, None, None, None, (), why)
        rtt_ms = None if found.rtt_s is None else found.rtt_s * 1000
        shared = tuple(each.id for each in told.backends if each.why_not is None)
        why = None if shared else next((each.why_not for each in told.backends), "it has no backends")
        state = told.on_battery, told.battery_percent, rtt_ms, shared, why
        return PeerStatus(peer.name, peer.fingerprint, address, True, *state)

    def _addresses(self, peer: Peer) -> Iterator[tuple[str, int]]:
        """Where a machine may be: where it was last, and where the configuration says that machines are."""
        yield peer.address, peer.port
        for each in self._settings.value.peers:
            host, port = split(each)
            yield host, port or self._settings.value.port

    async def show_code(self) -> AsyncGenerator[PairingStatus | PeerStatus, None]:
        """See the port."""
        if self._pairing is not None:
            message = "a code is shown already; use that one, or end the command that shows it"
            raise ProxyError(ErrorKind.INVALID_REQUEST, message, code="pairing_under_way")
        pairing = self._pairing = ShownCode(self._clock)
        host, port = Host(pairing.code, self._card, self._meet, pairing.fail), self._settings.value.port + 1
        try:
            await _opened(host, port)
            if self._multicast is not None:
                await self._multicast.show_pairing(port)
            yield pairing.status()
            yield self._peer_status(await pairing.used())
        finally:
            self._pairing = None
            await host.close()
            if self._multicast is not None:
                await self._multicast.show_pairing(None)

    async def _meet(self, peer: Peer) -> None:
        """The other machine knows the code."""
        pairing = self._pairing
        if pairing is None or not pairing.take():
            raise ValueError("the code was used already")
        try:
            pairing.met = await self._met(peer)
        finally:
            pairing.end_attempt()

    async def join(self, code: str, address: str | None) -> PeerStatus:
        """See the port."""
        if not is_code(bare(code)):
            message = f"the code has {CODE_DIGITS} digits; the other machine shows it: ollama-proxyctl pair"
            raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="code")
        host, port = await self._place(address)
        where = f"{host} port {port}"
        try:
            return self._peer_status(await self._met(await join(bare(code), host, port, self._card)))
        except WrongCodeError:
            message = f"the machine at {where} shows another code"
            raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="code", code="wrong_code") from None
        except (OSError, ValueError) as error:
            why = "it did not answer in time" if isinstance(error, TimeoutError) else str(error)
            message = f"no pairing with {where}: {why}; does it show a code (ollama-proxyctl pair)?"
            raise ProxyError(ErrorKind.UNAVAILABLE, message, code="pairing_failed") from error

    async def _place(self, address: str | None) -> tuple[str, int]:
        """Where the machine is that shows a code; raises ProxyError where that is not certain."""
        if address is not None:
            host, port = split(address)
            return host, port or self._settings.value.port + 1
        found = [] if self._multicast is None else await self._multicast.pairing()
        if len(found) == 1 and found[0].pairing_port is not None:
            return found[0].address, found[0].pairing_port
        said = (
            f"{len(found)} machines show one: {', '.join(each.address for each in found)}" if found else "none is found"
        )
        message = f"which machine shows the code is not known, as {said}; name its address with --address"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="address", code="no_pairing_found")

    async def _met(self, peer: Peer) -> Peer:
        """Know a machine from now on that has shown that it may be trusted; raises OSError or ValueError."""
        return await asyncio.shield(asyncio.ensure_future(self._keep(peer)))  # who leaves meanwhile leaves no half

    async def _keep(self, peer: Peer) -> Peer:
        offers = next((each.offers for each in self._paired.peers if each.fingerprint == peer.fingerprint), ())
        kept = await self._paired.add(replace(peer, offers=offers))
        self._renew()
        self._follow(kept)
        log.info("paired with %s at %s", kept.name, kept.address)
        if self._multicast is not None:
            self._multicast.look_again(kept.fingerprint[:NUMBER_CHARACTERS])
        return kept

    async def unpair(self, name: str) -> None:
        """See the port."""
        peer = next((each for each in self._paired.peers if each.name == name), None)
        if peer is None:
            known = ", ".join(each.name for each in self._paired.peers) or "none"
            message = f"no machine {name[:100]!r} is paired; there are: {known}"
            raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="name")
        await asyncio.shield(asyncio.ensure_future(self._forget(peer)))

    async def _forget(self, peer: Peer) -> None:
        await self._paired.remove(peer)
        self._renew()
        self._neighbours.remove(peer.fingerprint)
        log.info("%s is no longer paired", peer.name)


async def _opened(host: Host, port: int) -> None:
    try:
        await host.open(port)
    except OSError as error:
        message = f"cannot wait for the other machine at port {port}: {error.strerror or error}; change house.port"
        raise ProxyError(ErrorKind.UNAVAILABLE, message, code="cannot_listen") from error
