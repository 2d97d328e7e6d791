"""What the kernel counts of the whole machine, in /proc: time of its processors, and memory."""

from pathlib import Path
from typing import Final, NamedTuple

PROC: Final = Path("/proc")
_IDLE, _IOWAIT, _TIMES = 3, 4, 8
"""Of the first line of /proc/stat (proc_stat(5)); the times of guests that follow are parts of others."""
_BYTES_PER_KIB: Final = 1024


class Times(NamedTuple):
    """Ticks since the start of the machine, of all processors together."""

    total: float
    idle: float


class Memory(NamedTuple):
    """The machine's memory; what can be taken without swapping is available."""

    total_bytes: int
    available_bytes: int


def times(proc: Path = PROC) -> Times:
    """How long the processors worked and idled; raises OSError."""
    with (proc / "stat").open(encoding="ascii") as file:
        counted = [int(each) for each in file.readline().split()[1 : _TIMES + 1]]
    return Times(sum(counted), counted[_IDLE] + counted[_IOWAIT])


def memory(proc: Path = PROC) -> Memory:
    """How much there is now; raises OSError."""
    lines = (proc / "meminfo").read_text(encoding="ascii").splitlines()
    told = {name: rest.split()[0] for name, _, rest in (line.partition(":") for line in lines)}
    return Memory(int(told["MemTotal"]) * _BYTES_PER_KIB, int(told["MemAvailable"]) * _BYTES_PER_KIB)
