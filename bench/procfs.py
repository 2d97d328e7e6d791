"""What the kernel says about processes: processor time, memory, and how busy everyone else is."""

import os
import time
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
CPU_STEAL_FIELD = 8
SWITCHES = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")


def _read(path: Path) -> str:
    """A file's text, or nothing when its process has just gone."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (the second may hold spaces)."""
    return _read(PROC / str(pid) / "stat").rpartition(")")[2].split()


def pids() -> list[int]:
    """Every process of the machine."""
    return [int(entry) for entry in os.listdir(PROC) if entry.isdigit()]  # noqa: PTH208 - a hot path


def session_pids(session: int) -> list[int]:
    """The processes of one session: what a contestant started, workers included."""
    return [pid for pid in pids() if len(fields := _stat(pid)) > 3 and int(fields[3]) == session]


def cpu_s(of: list[int]) -> float:
    """The processor time that these processes have used, from the scheduler's own clock."""
    return sum(_process_cpu_s(pid) for pid in of)


def _process_cpu_s(pid: int) -> float:
    threads = [_read(thread / "schedstat") for thread in (PROC / str(pid) / "task").glob("*")]
    exact = [int(text.split()[0]) for text in threads if text]
    return sum(exact) / 1e9 if any(exact) else _ticks(pid, children=False) / TICKS_PER_S


def _ticks(pid: int, *, children: bool) -> int:
    """User and system time in clock ticks; with that of children that have ended, if asked for."""
    return sum(int(field) for field in _stat(pid)[11 : 15 if children else 13])


def others_cpu_s(ours: set[int]) -> float:
    """The processor time of everyone else, and what the hypervisor took away."""
    steal = int(_read(PROC / "stat").split("\n", 1)[0].split()[CPU_STEAL_FIELD])
    return (steal + sum(_ticks(pid, children=True) for pid in pids() if pid not in ours)) / TICKS_PER_S


def rss_bytes(of: list[int]) -> int:
    """The resident memory of these processes, shared pages counted in each."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return sum(int(text.split()[1]) * page_bytes for pid in of if (text := _read(PROC / str(pid) / "statm")))


def pss_bytes(pid: int) -> int:
    """The resident memory of a process, a page that several share counted in each by its part."""
    lines = _read(PROC / str(pid) / "smaps_rollup").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def cpu_clock_s(pid: int) -> float:
    """The processor time of a process by its own clock: exact, and of threads that have ended too."""
    return time.clock_gettime((~pid << 3) | 2)  # what clock_getcpuclockid(3) computes


def switches(pid: int) -> tuple[int, int]:
    """How often threads of a process went to sleep, and how often they were pushed aside; of those that live."""
    counts = [0, 0]
    for thread in (PROC / str(pid) / "task").glob("*"):
        for line in _read(thread / "status").splitlines():
            name, _, value = line.partition(":")
            if name in SWITCHES:
                counts[SWITCHES.index(name)] += int(value)
    return counts[0], counts[1]


def threads(pid: int) -> int:
    """How many threads a process has now."""
    return len(list((PROC / str(pid) / "task").glob("*")))


def cpu_model() -> str:
    """The processor's name."""
    lines = _read(PROC / "cpuinfo").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
