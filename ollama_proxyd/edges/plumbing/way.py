"""The way to a server: through which proxy or socket, and whose certificates are trusted."""

import ssl
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from socket import inet_aton
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from ollama_proxyd.core.values import value


class Pinned(ssl.SSLContext):
    """Trusts the certificates of machines nearby by themselves; that one of them has left is noticed within seconds."""


@value
class Way:
    """How a connection is made; without a proxy it is made directly."""

    proxy: URL | None = None
    tls: ssl.SSLContext | bool = True
    """The certificates that are trusted; True stands for those of the system."""
    socket: str | None = None
    """The path of a Unix socket, in place of the address."""


DIRECT = Way()
_NEAR = (".local", ".localhost", ".lan", ".home.arpa", ".internal", ".svc")
"""RFC 6762, 6761 and 8375, what ICANN has left to private networks, and Kubernetes."""


def way_to(address: URL, proxy: str = "env", ca_file: str | None = None) -> Way:
    """The way that a backend's configuration asks for; an address of this machine is never behind a proxy.

    `proxy` is "none", "env" or an address. "env" follows HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in small letters too.
    Raises OSError, SSLError included, where `ca_file` cannot be used.
    """
    if is_socket(address):
        return Way(socket=address.path)
    return Way(None if is_here(address.host or "") else _proxy(address, proxy), trusting(ca_file) if ca_file else True)


def is_socket(address: URL) -> bool:
    """Whether a server is behind a Unix socket, such as unix:/run/user/1000/llama.sock."""
    return address.scheme == "unix"


def root_of(address: URL) -> URL:
    """What its requests go to; a server behind a socket has no name but this machine's."""
    return URL("http://localhost") if is_socket(address) else address


def is_loopback(host: str) -> bool:
    """Whether an address or a name (RFC 6761, 6.3), however it is written, is reached from this machine alone."""
    name, address = host.rstrip(".").lower(), _address(host)
    return name == "localhost" or name.endswith(".localhost") or (address is not None and address.is_loopback)


def is_here(host: str) -> bool:
    """Whether a server's address lies on this machine; to connect to no address at all leads there too."""
    address = _address(host)
    return is_loopback(host) or (address is not None and address.is_unspecified)


def is_near(host: str) -> bool:
    """Whether a server lies in a private network, by its address or by a name that only such a network knows."""
    address, name = _address(host), host.rstrip(".").lower()
    return not address.is_global if address is not None else "." not in name or name.endswith(_NEAR)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The IP address that a host is, IPv4 in the older forms too (inet(3)), such as 127.1; None for a name."""
    with suppress(ValueError):
        address = ip_address(host)
        return getattr(address, "ipv4_mapped", None) or address
    with suppress(OSError):
        return IPv4Address(inet_aton(host)) if host[:1].isdigit() else None
    return None


def trusting(ca_file: str) -> ssl.SSLContext:
    """The system's certificate authorities and those of a PEM file; raises OSError, SSLError included."""
    context = ssl.create_default_context()
    context.load_verify_locations(ca_file)
    return context


def _proxy(address: URL, proxy: str) -> URL | None:
    if proxy == "none":
        return None
    if proxy != "env":
        return URL(proxy)
    proxies = getproxies()
    if proxy_bypass(address.authority) or _is_in_network(address.host or "", proxies.get("no", "")):
        return None
    named = proxies.get(address.scheme) or proxies.get("all", "")
    url = URL(named if "://" in named or not named else f"http://{named}")
    return url if url.scheme in {"http", "https"} else None


def _is_in_network(host: str, excepted: str) -> bool:
    """Whether an address lies in one of the networks of NO_PROXY, which curl and Go heed and urllib does not."""
    address = _address(host)
    for each in excepted.split(",") if address is not None else ():
        with suppress(ValueError):
            if "/" in each and address in ip_network(each.strip(), strict=False):
                return True
    return False
