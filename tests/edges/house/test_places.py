"""Addresses of machines, as people and sockets write them."""

from pathlib import Path

import ifaddr
import pytest

from ollama_proxyd.edges.house import places
from ollama_proxyd.edges.house.places import addresses, joined, nearest, split, told_by


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        ("desk", "desk", None),
        ("desk:5", "desk", 5),
        ("192.168.1.5:11484", "192.168.1.5", 11484),
        ("fd00::5", "fd00::5", None),
        ("[fd00::5]", "fd00::5", None),
        ("[fd00::5]:11484", "fd00::5", 11484),
        ("fe80::5%eth0", "fe80::5%eth0", None),
        ("[fe80::5%eth0]:11484", "fe80::5%eth0", 11484),
    ],
)
def test_a_port_is_told_from_an_address(written: str, host: str, port: int | None) -> None:
    assert split(written) == (host, port)
    if port is not None:
        assert joined(host, port) == written


@pytest.mark.parametrize(
    ("address", "scope_id", "told"),
    [
        ("::ffff:192.168.1.5", 0, "192.168.1.5"),
        ("192.168.1.5", 0, "192.168.1.5"),
        ("fd00::5", 0, "fd00::5"),
        ("fe80::5", 1, "fe80::5%lo"),
        ("fe80::5%1", 0, "fe80::5%lo"),
        ("fe80::5%lo", 0, "fe80::5%lo"),
        ("fe80::5", 0, "fe80::5"),
        ("fe80::5%4000000", 0, "fe80::5"),
    ],
)
def test_what_only_its_link_knows_keeps_its_interface(address: str, scope_id: int, told: str) -> None:
    assert told_by(address, scope_id) == told


def test_the_nearest_is_in_a_network_of_this_machine_and_ipv4_before_ipv6() -> None:
    assert nearest(["fe80::5%lo", "fd12::5", "203.0.113.9", "127.0.0.9"]) == "127.0.0.9"
    assert nearest(["fe80::5%lo", "fd12::5", "203.0.113.9"]) in {"203.0.113.9", "fe80::5%lo"}
    assert nearest([]) is None


def test_an_address_that_may_be_another_machine_s_too_is_not_used_yet() -> None:
    told = (
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "fd770000000000000000000000000001 02 40 00 c0     eth0\n"
        "fe80000000000000184f07fffe3d1efb 02 40 20 c8     eth0\n"
        "fd770000000000000000000000000002 02 40 00 44     eth0\n"
        "fe8000000000000000fc00fffe000001 04 40 20 80     eth1\n"
        "odd\n"
    )
    assert places.unusable_in(told) == {"fd77::1", "fe80::184f:7ff:fe3d:1efb"}
    assert places.unusable_in("") == frozenset()


def test_what_cannot_be_listened_at_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = tmp_path / "if_inet6"
    monkeypatch.setattr(places, "_IF_INET6", told)
    told.write_text("fd770000000000000000000000000001 02 40 00 c0     eth0\n")
    ips = [ifaddr.IP(("fd77::1", 0, 0), 64, "eth0"), ifaddr.IP(("fe80::5", 0, 2), 64, "eth0")]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: [ifaddr.Adapter("eth0", "eth0", ips, 2)])
    assert addresses(()) == {"eth0": ["fe80::5%eth0"]}
    told.write_text("")
    assert addresses(()) == {"eth0": ["fd77::1", "fe80::5%eth0"]}
