"""Addresses of machines: of this one's interfaces, as people write them, and which of another's is the nearest."""

import socket
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from pathlib import Path

import ifaddr

_IF_INET6 = Path("/proc/net/if_inet6")
"""Address, index, prefix, scope, flags and name of each interface's addresses of IPv6, numbers in hexadecimal."""
_COLUMNS = 6
_UNUSABLE = 0x40 | 0x08
"""IFA_F_TENTATIVE and IFA_F_DADFAILED (linux/if_addr.h)."""
_OPTIMISTIC = 0x04
"""IFA_F_OPTIMISTIC: used while it is looked for."""


def addresses(names: Collection[str]) -> dict[str, list[str]]:
    """The addresses by interface, of these interfaces, or of all but loopback where none is named.

    An address of IPv6 that only its link knows has the interface behind a `%`. One that nothing can listen at yet
    is left out; the kernel tells of it again when it can be used.
    """
    found: dict[str, list[str]] = {}
    unusable = unusable_in(_IF_INET6.read_text(encoding="ascii")) if _IF_INET6.exists() else frozenset()
    for adapter in ifaddr.get_adapters():
        own = [_text(each, adapter.name) for each in adapter.ips if each.is_IPv4 or str(each.ip[0]) not in unusable]
        if own and (adapter.name in names if names else not any(ip_address(each).is_loopback for each in own)):
            found[adapter.name] = own
    return found


def unusable_in(if_inet6: str) -> frozenset[str]:
    """The addresses in such a text that may be another machine's too, or are (RFC 4862, 5.4)."""
    lines = [line.split() for line in if_inet6.splitlines()]
    return frozenset(
        str(IPv6Address(int(words[0], 16)))
        for words in lines
        if len(words) == _COLUMNS and int(words[4], 16) & _UNUSABLE and not int(words[4], 16) & _OPTIMISTIC
    )


def _text(address: ifaddr.IP, interface: str) -> str:
    return str(address.ip) if address.is_IPv4 else _scoped(str(address.ip[0]), interface)


def _scoped(address: str, interface: str) -> str:
    return f"{address}%{interface}" if ip_address(address).is_link_local else address


def told_by(address: str, scope_id: int = 0) -> str:
    """An address as a socket tells it: IPv4 within IPv6 as IPv4, with the interface where only its link knows it."""
    bare, _, scope = address.partition("%")
    found = ip_address(bare)
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    if isinstance(found, IPv4Address) or not found.is_link_local:
        return str(found)
    number = int(scope) if scope.isdigit() else scope_id
    try:
        return f"{found}%{socket.if_indextoname(number) if number else scope}".rstrip("%")
    except OSError:
        return str(found)


def nearest(found: Iterable[str]) -> str | None:
    """The one of a machine's addresses that is reached first: in a network of this machine, IPv4 before IPv6.

    An address that only its link knows is the last of those.
    """
    here = [
        ip_interface(f"{each.ip if each.is_IPv4 else each.ip[0]}/{each.network_prefix}").network
        for adapter in ifaddr.get_adapters()
        for each in adapter.ips
    ]

    def place(each: str) -> tuple[bool, bool, bool]:
        address = ip_address(each.partition("%")[0])
        is_near = any(address in network for network in here)
        return not is_near, address.version == 6 and address.is_link_local, address.version == 6

    return min(found, key=place, default=None)


def split(written: str) -> tuple[str, int | None]:
    """A host, and a port where one is written: `host`, `host:port`, `[address]:port` or an address of IPv6 alone."""
    host, bracket, rest = written.removeprefix("[").partition("]")
    if not bracket and host.count(":") != 1:
        return host, None
    host, _, port = (host, "", rest.removeprefix(":")) if bracket else host.partition(":")
    return host, int(port) if port.isascii() and port.isdigit() else None


def joined(host: str, port: int) -> str:
    """Both as people write them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
