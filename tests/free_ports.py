"""A port for a server that a test starts, which nothing else gets before it listens."""

import socket
from contextlib import suppress
from pathlib import Path
from random import SystemRandom

LOWEST = 12_000
_CHANCE = SystemRandom()
"""Not the module's own numbers, which are the same in each process where a test has seeded them."""


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens now, below those that the kernel gives to connections."""
    above = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert above > LOWEST, "the kernel gives every port to connections (ip_local_port_range)"
    while True:
        port = _CHANCE.randrange(LOWEST, above)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
