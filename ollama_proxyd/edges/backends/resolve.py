"""The addresses behind a backend's name, each of which is a server of its own."""

import asyncio
import socket
from ipaddress import ip_address

from yarl import URL

LOOPBACK = "127.0.0.1"


async def addresses_of(endpoint: str) -> tuple[str, ...]:
    """The addresses of a host, in a fixed order; raises OSError where its name has none."""
    url = URL(endpoint)
    host = url.host or ""
    if host == "localhost":
        return (LOOPBACK,)
    if _is_address(host):
        return (host,)
    found = await asyncio.get_running_loop().getaddrinfo(host, url.port, type=socket.SOCK_STREAM)
    return tuple(sorted({str(address[0]) for *_, address in found}))


def at_address(endpoint: str, address: str) -> str:
    """The endpoint with an address in place of its name."""
    return str(URL(endpoint).with_host(address)).rstrip("/")


def place_of(endpoint: str) -> str:
    """Host and port, an address of IPv6 in brackets."""
    url = URL(endpoint)
    host = LOOPBACK if url.host == "localhost" else url.host or ""
    return f"[{host}]:{url.port}" if ":" in host else f"{host}:{url.port}"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
