"""What the kernel counts of the whole machine, beside what psutil reads of it."""

import os
from pathlib import Path

import psutil

from ollama_proxyd.edges.sensors.proc import Times, memory, times


def test_waiting_for_a_disk_is_idle_and_guests_are_counted_once(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  20 1 10 65 5 2 3 4 15 1\ncpu0 10 0 5 33 2 1 1 2 8 0\nintr 12345\n")
    assert times(tmp_path) == Times(total=110, idle=70)


def test_a_kernel_that_counts_fewer_times_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu 20 0 10 65 5\n")
    assert times(tmp_path) == Times(total=100, idle=70)


def test_the_times_are_those_that_psutil_reads() -> None:
    def told() -> float:
        seen = psutil.cpu_times()
        return float(sum(seen) - seen.guest - seen.guest_nice)

    ticks_per_s = os.sysconf("SC_CLK_TCK")
    before, ours, after = told(), times(), told()
    assert before <= ours.total / ticks_per_s + 0.01
    assert ours.total / ticks_per_s <= after + 0.01
    assert 0 < ours.idle < ours.total


def test_memory_is_what_psutil_reads() -> None:
    assert memory().total_bytes == psutil.virtual_memory().total
    assert 0 < memory().available_bytes < memory().total_bytes
