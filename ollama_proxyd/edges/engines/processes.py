"""What the kernel tells of a session of processes: its members, and how much memory they have."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
_KIB: Final = 1024


def members(session: int) -> Iterator[int]:
    """The processes of a session."""
    for each in PROC.iterdir():
        if each.name.isdecimal() and _session_of(int(each.name)) == session:
            yield int(each.name)


def is_member(pid: int, session: int) -> bool:
    """Whether a process belongs to a session."""
    return _session_of(pid) == session


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def memory_of(session: int) -> int | None:
    """Their share of main memory: what they share with others counts in parts (proc(5), Pss)."""
    parts = [part for pid in members(session) if (part := _proportional(pid)) is not None]
    return sum(parts) if parts else None


def _proportional(pid: int) -> int | None:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    return next((int(line.split()[1]) * _KIB for line in lines if line.startswith("Pss:")), None)


def main_memory() -> tuple[int, int]:
    """Bytes of main memory in all, and those available (proc(5), MemAvailable); raises OSError."""
    lines = (PROC / "meminfo").read_text(encoding="ascii").splitlines()
    amounts = {name: int(rest.split()[0]) * _KIB for name, _, rest in (line.partition(":") for line in lines)}
    return amounts["MemTotal"], amounts["MemAvailable"]


def began(pid: int) -> int | None:
    """When a process began, in ticks since the machine's start; None where there is none (proc(5), starttime)."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])
