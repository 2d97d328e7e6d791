"""Addresses of machines, as people and sockets write them."""

import pytest

from ollama_proxyd.edges.house.places import joined, nearest, split, told_by


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
