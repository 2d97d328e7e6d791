"""What the benchmark of the footprint reads, and how it says it."""

import os
import socket
from pathlib import Path

from bench import procfs
from bench.footprint import Manager, Memory, render


def memory(name: str, rss_mb: float) -> Memory:
    return Memory(name, int(rss_mb * 1e6), 40_000_000)


def test_shared_pages_count_in_part_only() -> None:
    own = Memory.of("this", os.getpid())
    assert 0 < own.pss_bytes <= own.rss_bytes
    assert procfs.pss_bytes(2**22 + 1) == 0  # nobody


def test_a_start_is_over_when_the_service_says_ready_and_not_before(tmp_path: Path) -> None:
    manager = Manager(tmp_path)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
            for said in (b"STATUS=not READY=1 yet", b"READY=1\nSTATUS=serving"):
                service.sendto(said, str(manager.path))
        assert manager.until_ready() > 0
    finally:
        manager.close()


def test_a_goal_is_met_up_to_its_bound_and_the_median_counts() -> None:
    text = render([memory("idle", 60.0), memory("100 open streams", 60.1)], [0.5, 0.6, 9.0])
    assert "| memory, idle: RSS MB | ≤ 60 | 60.0 | met |" in text
    assert "| memory, 100 open streams: RSS MB | ≤ 60 | 60.1 | missed |" in text
    assert "| 3 starts | 0.500 | 0.600 | 9.000 |" in text
    assert "| start to READY, median: s | ≤ 0.6 | 0.600 | met |" in text
