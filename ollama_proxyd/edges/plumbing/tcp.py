"""How the kernel finds out that the other side of a connection is gone, and how far away it is (tcp(7))."""

import socket
import struct
from typing import Any

SOON, LATER = (3, 1, 3), (60, 5, 3)
"""Seconds of silence until it is asked, seconds between the questions, and how many: about 6 s, and 75 s."""
_RTT_AT = 68
"""Where `struct tcp_info` has tcpi_rtt, in microseconds (linux/tcp.h)."""


def notice_loss(connection: Any, quiet_s: int, probe_s: int, probes: int) -> None:
    """Have the kernel ask after a silence, and give up a connection over which nothing is acknowledged."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, quiet_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, probe_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, probes)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, (quiet_s + probe_s * probes) * 1000)


def socket_to(place: Any) -> socket.socket:
    """A socket for a place of `getaddrinfo`; aiohttp forgets the interface of an address that only its link knows."""
    family, kind, protocol, _, address = place
    made = socket.socket(family, kind, protocol)
    _, _, interface = str(address[0]).partition("%")
    if interface:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    return made


def round_trip_s(connection: Any) -> float | None:
    """How long a packet takes to the other side and back, as the kernel has measured it; None where it has not."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT_AT + 4)
    (rtt_us,) = struct.unpack_from("=I", info, _RTT_AT) if len(info) >= _RTT_AT + 4 else (0,)
    return rtt_us / 1e6 or None
