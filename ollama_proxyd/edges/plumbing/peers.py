"""Which user of this machine is at the other end of a loopback connection: sock_diag(7), else /proc/net/tcp."""

import asyncio
import os
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from ollama_proxyd.edges.plumbing.port_owner import holder_of

_NETLINK_SOCK_DIAG: Final = 4
_BY_FAMILY: Final = 20
_REQUEST: Final = 1
_ALL_STATES: Final = 0xFFFFFFFF
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBxI2s2s16s16sIII")
"""struct inet_diag_req_v2: family, protocol, states, ports, addresses, interface, and no cookie."""
_CREDENTIALS = struct.Struct("=iII")
"""struct ucred."""
_UID_AND_INODE = struct.Struct("=II")
_UID_AT: Final = _HEADER.size + 64
"""Where struct inet_diag_msg has them."""
_ATTRIBUTE = struct.Struct("=HH")
"""struct nlattr: size and kind."""
_ATTRIBUTES_AT: Final = _HEADER.size + 72
_CGROUP_ID: Final = 21
_NO_COOKIE: Final = 0xFFFFFFFF
_TABLES: Final = {socket.AF_INET: "/proc/net/tcp", socket.AF_INET6: "/proc/net/tcp6"}
_MAPPED: Final = "::ffff:"


class Place(NamedTuple):
    """An end of a connection."""

    family: socket.AddressFamily
    host: str
    port: int

    @property
    def packed(self) -> bytes:
        """The address as the kernel has it."""
        return socket.inet_pton(self.family, self.host)


class Owner(NamedTuple):
    """Who has a socket: the user, the socket's inode, and the control group in which it was made, 0 where not told."""

    uid: int
    inode: int
    cgroup_id: int = 0


class Peers:
    """The owners of connections' other ends, each looked for once.

    A socket that its owner has closed has no inode and says user 0, which would be root: it counts as unknown.
    """

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Any, Owner | None] = WeakKeyDictionary()

    def owner(self, transport: Any) -> Owner | None:
        """Who is at the other end of a connection from this machine, None where that is not known."""
        if transport not in self._known:
            self._known[transport] = _owner(transport)
        return self._known[transport]

    def uid(self, transport: Any) -> int | None:
        """The user at the other end."""
        owner = self.owner(transport)
        return None if owner is None else owner.uid

    async def process(self, transport: Any) -> str:
        """The process at the other end, as far as that can be seen, else its user, else its address."""
        connection = transport.get_extra_info("socket")
        if connection.family == socket.AF_UNIX:
            return f"pid {pid_behind(connection)}"
        if not is_from_here(transport):
            place = place_of(transport.get_extra_info("peername"))
            return "unknown" if place is None else place.host
        if (owner := self.owner(transport)) is None:
            return "unknown"
        pid = await asyncio.to_thread(holder_of, owner.inode)
        return f"uid {owner.uid}" if pid is None else f"pid {pid}"


def pid_behind(connection: socket.socket) -> int:
    """The process at the other end of a Unix socket; unix(7), SO_PEERCRED."""
    pid, _uid, _gid = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    return int(pid)


def is_from_here(transport: Any) -> bool:
    """Whether a TCP connection comes from this machine's own addresses."""
    peer, own = place_of(transport.get_extra_info("peername")), place_of(transport.get_extra_info("sockname"))
    if peer is None or own is None:
        return False
    return peer.host in {own.host, "::1"} or peer.host.startswith("127.")


def place_of(name: object) -> Place | None:
    """What a socket's name means; None where it is not one of TCP."""
    if not isinstance(name, tuple):
        return None
    host, port = name[:2]
    if host.startswith(_MAPPED):
        host = host.removeprefix(_MAPPED)
    return Place(socket.AF_INET6 if ":" in host else socket.AF_INET, host, port)


def _owner(transport: Any) -> Owner | None:
    peer, own = place_of(transport.get_extra_info("peername")), place_of(transport.get_extra_info("sockname"))
    return None if peer is None or own is None else owner_between(peer, own)


def owner_between(peer: Place, own: Place) -> Owner | None:
    """Who has the end of a connection that is not our own."""
    try:
        return owner_by_netlink(peer, own)
    except OSError:
        return owner_by_table(peer, own)


def owner_by_netlink(peer: Place, own: Place) -> Owner | None:
    """The kernel's answer for exactly this connection; raises OSError where it gives none at all."""
    size = _HEADER.size + _QUESTION.size
    ports = peer.port.to_bytes(2, "big"), own.port.to_bytes(2, "big")
    question = _HEADER.pack(size, _BY_FAMILY, _REQUEST, 0, 0) + _QUESTION.pack(
        peer.family, socket.IPPROTO_TCP, 0, _ALL_STATES, *ports, peer.packed, own.packed, 0, _NO_COOKIE, _NO_COOKIE
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(0.05)
        kernel.sendto(question, (0, 0))
        answer = kernel.recv(1024)
    _, kind, *_ = _HEADER.unpack_from(answer)
    if kind != _BY_FAMILY:
        return None
    uid, inode = _UID_AND_INODE.unpack_from(answer, _UID_AT)
    return Owner(uid, inode, _cgroup_id(answer)) if inode else None


def _cgroup_id(answer: bytes) -> int:
    """The attribute INET_DIAG_CGROUP_ID, which kernels tell since 5.7."""
    at = _ATTRIBUTES_AT
    while at + _ATTRIBUTE.size <= len(answer):
        size, kind = _ATTRIBUTE.unpack_from(answer, at)
        if kind == _CGROUP_ID and size == _ATTRIBUTE.size + 8:
            return int.from_bytes(answer[at + _ATTRIBUTE.size : at + size], sys.byteorder)
        at += max((size + 3) & ~3, _ATTRIBUTE.size)
    return 0


def owner_by_table(peer: Place, own: Place) -> Owner | None:
    """The same from the table of all connections."""
    wanted = [_in_table(peer), _in_table(own)]
    with suppress(OSError), Path(_TABLES[peer.family]).open(encoding="ascii") as table:
        for line in table:
            fields = line.split()
            if fields[1:3] == wanted:
                return Owner(int(fields[7]), int(fields[9])) if fields[9] != "0" else None
    return None


def _in_table(place: Place) -> str:
    words = struct.iter_unpack("=I", place.packed)
    return "".join(f"{word:08X}" for (word,) in words) + f":{place.port:04X}"


EVERY_USER = ["0", "0", "4294967295"]
"""The map of a process outside any user namespace."""


def served_uids() -> frozenset[int]:
    """This user and root, who may do as this user anyway."""
    return frozenset({0, os.geteuid()})


def is_hidden(uid: int, proc: Path = Path("/proc")) -> bool:
    """Whether a user id stands for all users that are hidden from this process; user_namespaces(7).

    systemd's sandbox (PrivateUsers=) maps this user alone. Root and every other user then have one and the same id.
    """
    try:
        first = (proc / "self/uid_map").read_text(encoding="ascii").split()[:3]
        hidden = (proc / "sys/kernel/overflowuid").read_text(encoding="ascii")
    except OSError:
        return False
    return first != EVERY_USER and uid == int(hidden)
