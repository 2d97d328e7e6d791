"""The way to a server: through which proxy, and whose certificates are trusted."""

import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.request import getproxies, proxy_bypass

from yarl import URL


@dataclass(frozen=True, slots=True)
class Way:
    """How a connection is made; without a proxy it is made directly."""

    proxy: URL | None = None
    tls: ssl.SSLContext | bool = True
    """The certificates that are trusted; True stands for those of the system."""


DIRECT = Way()


def way_to(address: URL, proxy: str = "env", ca_file: str | None = None) -> Way:
    """The way that a backend's configuration asks for; an address of this machine is never behind a proxy.

    `proxy` is "none", "env" or an address. "env" follows HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in small letters too.
    Raises OSError, SSLError included, where `ca_file` cannot be used.
    """
    return Way(None if is_loopback(address) else _proxy(address, proxy), trusting(ca_file) if ca_file else True)


def is_loopback(address: URL) -> bool:
    """Whether a server's address lies on this machine."""
    host = address.host or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


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
    if proxy_bypass(address.authority):
        return None
    named = proxies.get(address.scheme) or proxies.get("all", "")
    url = URL(named if "://" in named or not named else f"http://{named}")
    return url if url.scheme in {"http", "https"} else None
