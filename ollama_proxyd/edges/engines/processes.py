"""What the kernel tells of a session of processes: its members, and how much memory they have."""

import asyncio
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

PROC: Final = Path("/proc")
_KIB: Final = 1024
_ENDED: Final = frozenset("ZX")
"""The states of processes that have ended (proc(5))."""


def members(session: int) -> Iterator[int]:
    """The processes of a session."""
    for each in PROC.iterdir():
        if each.name.isdecimal() and session_of(int(each.name)) == session:
            yield int(each.name)


def is_member(pid: int, session: int) -> bool:
    """Whether a process belongs to a session."""
    return session_of(pid) == session


def session_of(pid: int) -> int | None:
    """The session that a process belongs to; None where there is none."""
    try:
        return os.getsid(pid)
    except OSError:
        return None


def memory_of(session: int) -> int | None:
    """Their share of main memory: what they share with others counts in parts (proc(5), Pss)."""
    parts = [part for pid in members(session) if (part := _proportional(pid)) is not None]
    return sum(parts) if parts else None


def _proportional(pid: int) -> int | None:
    """Where a daemon in a user name space of its own may not see that: all that it has, also what it shares."""
    folder = PROC / str(pid)
    return _counted(folder / "smaps_rollup", "Pss:") or _counted(folder / "status", "VmRSS:")


def _counted(file: Path, name: str) -> int | None:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * _KIB for line in lines if line.startswith(name)), None)


def main_memory() -> tuple[int, int]:
    """Bytes of main memory in all, and those available (proc(5), MemAvailable); raises OSError."""
    lines = (PROC / "meminfo").read_text(encoding="ascii").splitlines()
    amounts = {name: int(rest.split()[0]) * _KIB for name, _, rest in (line.partition(":") for line in lines)}
    return amounts["MemTotal"], amounts["MemAvailable"]


class Identity(NamedTuple):
    """A process, told apart from others that have its number at another time."""

    pid: int
    began: int | None
    """When it began, in ticks since the machine's start (proc(5), starttime); None where there is none."""
    boot: str


def identity(pid: int) -> Identity:
    """The process that has a number now."""
    return Identity(pid, _began(pid), _boot())


def runs(process: Identity) -> bool:
    """Whether it runs still; one that ended and was not waited for does not."""
    return process.began is not None and identity(process.pid) == process


@cache
def _boot() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _began(pid: int) -> int | None:
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in _ENDED else int(fields[19])


def is_in_our_space(pid: int) -> bool:
    """Whether the numbers of its processes mean what they mean here (pid_namespaces(7))."""
    try:
        return (PROC / str(pid) / "ns/pid").readlink() == (PROC / "self/ns/pid").readlink()
    except OSError:
        return False


def variable(pid: int, name: str) -> str | None:
    """A variable of a process's environment; None where it has none, or another user's."""
    try:
        words = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return None
    begin = f"{name}=".encode()
    return next((word[len(begin) :].decode("utf-8", "replace") for word in words if word.startswith(begin)), None)


def with_variable(name: str) -> Iterator[tuple[int, str]]:
    """The processes of this user that have a variable, with its value."""
    for each in PROC.iterdir():
        if each.name.isdecimal() and (value := variable(int(each.name), name)) is not None:
            yield int(each.name), value


async def end_of(pid: int) -> None:
    """Wait until a process has ended that another one has started (pidfd_open(2)); raises OSError at most."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, has_ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(handle, has_ended.set)
    try:
        await has_ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)
