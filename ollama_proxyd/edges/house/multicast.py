"""mDNS: announces this machine, and hears of others; what is told is a number of the key, a port, and no name."""

import asyncio
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Collection
from typing import Any, NamedTuple

from zeroconf import IPVersion, ServiceStateChange
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from ollama_proxyd.edges.house.places import addresses, nearest, told_by
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

KIND = "_ollama-proxyd._tcp.local."
NUMBER_CHARACTERS = 16
MOST_HEARD = 64
"""Of so many machines it is known that they are there."""
RESOLVE_MS = 3000
LOOK_EVERY_S = 2.0
"""How often the announcements of one machine are acted upon."""
_NUMBER = re.compile(r"[0-9a-f]{16}")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


class Place(NamedTuple):
    """Where a machine is. pairing_port: where it waits for who knows its code, None where it shows none."""

    address: str
    """The nearest of its addresses."""
    port: int
    pairing_port: int | None
    addresses: frozenset[str] = frozenset()


class Multicast:
    """One machine's part in mDNS, between `open` and `close`.

    is_known: whether a number is a paired machine's. heard: told where those are. A goodbye only says that one is
    not waited for: anyone in the network can send it, and a machine sends it also when its addresses change.
    """

    def __init__(
        self,
        number: str,
        port: int,
        interfaces: Collection[str],
        is_known: Callable[[str], bool],
        heard: Callable[[str, Place], Awaitable[None]],
    ) -> None:
        self._number = number
        self._port = port
        self._interfaces = interfaces
        self._is_known = is_known
        self._heard = heard
        self._pairing_port: int | None = None
        self._here: list[str] = []
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._others: dict[str, str] = {}
        """The names of other machines' services, by number."""
        self._is_due: dict[str, bool] = {}
        """Of those that are looked for, whether they have been announced since; anyone can announce anything."""
        self._tasks = Tasks("multicast")
        self._turn = asyncio.Lock()

    async def refresh(self) -> None:
        """Be where the interfaces are now; raises OSError where multicast is not possible."""
        async with self._turn:
            here = sorted(each for own in addresses(self._interfaces).values() for each in own)
            if here == self._here:
                return
            self._here = here
            await self._close()
            if here:
                try:
                    await self._open(here)
                except OSError:
                    self._here = []  # the next change is an occasion to try again
                    raise

    async def _open(self, here: list[str]) -> None:
        zeroconf: Any = AsyncZeroconf(interfaces=here, ip_version=_versions(here))
        self._zeroconf = zeroconf
        await zeroconf.async_register_service(self._info(), cooperating_responders=True)
        self._browser = AsyncServiceBrowser(zeroconf.zeroconf, [KIND], handlers=[self._note])

    def _info(self) -> AsyncServiceInfo:
        told = {"v": "1"} | ({} if self._pairing_port is None else {"pair": str(self._pairing_port)})
        return AsyncServiceInfo(
            KIND,
            f"{self._number}.{KIND}",
            addresses=[_packed(each) for each in self._here],
            port=self._port,
            properties=told,
            server=f"{self._number}.local.",
        )

    async def show_pairing(self, port: int | None) -> None:
        """Tell that this machine shows a code, or no longer does."""
        async with self._turn:
            self._pairing_port = port
            if self._zeroconf is not None:
                await self._zeroconf.async_update_service(self._info())

    def _note(self, zeroconf: Any, service_type: str, name: str, state_change: ServiceStateChange) -> None:  # noqa: ARG002 - zeroconf calls by these names
        number = name.removesuffix(f".{KIND}")
        if not _NUMBER.fullmatch(number) or number == self._number:
            return
        if state_change is ServiceStateChange.Removed:
            self._others.pop(number, None)
            return
        if number in self._others or len(self._others) < MOST_HEARD:
            self._others[number] = name
            if self._is_known(number):
                self.look_again(number)

    async def _look(self, number: str) -> None:
        try:
            while self._is_due[number]:
                self._is_due[number] = False
                place = await self._resolve(number)
                if place is not None and number in self._others:
                    await self._heard(number, place)
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            del self._is_due[number]

    def look_again(self, number: str) -> None:
        """Tell where a paired machine is, at once if it was not looked for just now."""
        if number in self._others:
            is_looked_for = number in self._is_due
            self._is_due[number] = True
            if not is_looked_for:
                self._tasks.start(f"resolve.{number}", self._look(number))

    async def pairing(self) -> list[Place]:
        """The machines that show a code now."""
        found = await asyncio.gather(*(self._resolve(each) for each in tuple(self._others)))
        return [each for each in found if each is not None and each.pairing_port is not None]

    async def _resolve(self, number: str) -> Place | None:
        if self._zeroconf is None:
            return None
        info = AsyncServiceInfo(KIND, self._others.get(number, f"{number}.{KIND}"))
        if not await info.async_request(self._zeroconf.zeroconf, RESOLVE_MS):
            return None
        told = [told_by(each) for each in info.parsed_scoped_addresses(IPVersion.All)]
        address = nearest(told)
        said = (info.decoded_properties or {}).get("pair") or ""
        pairing_port = int(said) if _PORT.fullmatch(said) else None
        return Place(address, info.port, pairing_port, frozenset(told)) if address and info.port else None

    async def _close(self) -> None:
        self._others.clear()
        if self._browser is not None:
            await self._browser.async_cancel()
        if self._zeroconf is not None:
            await self._zeroconf.async_close()  # says goodbye
        self._zeroconf = self._browser = None

    async def close(self) -> None:
        """Say goodbye, and hear no more."""
        async with self._turn:
            await self._close()
        await self._tasks.close()


def _versions(here: Collection[str]) -> IPVersion:
    found = {":" in each for each in here}
    return IPVersion.All if len(found) == 2 else IPVersion.V6Only if True in found else IPVersion.V4Only


def _packed(address: str) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_pton(family, address.partition("%")[0])
