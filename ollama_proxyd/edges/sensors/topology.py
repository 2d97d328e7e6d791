"""The processor's topology from sysfs: read when it is asked for, since it does not change and costs a millisecond."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from ollama_proxyd.core.topology import Cache, Topology
from ollama_proxyd.edges.plumbing.sysfs import Sysfs
from ollama_proxyd.edges.sensors import proc
from ollama_proxyd.edges.sensors.cpu import model_name

_CPUS: Final = "devices/system/cpu"
_FIRST_BYTES: Final = 8192
"""Enough of /proc/cpuinfo for the flags of the first processor."""
_MOST_CPUS: Final = 8192
_STRONG: Final = 0.7
"""A core of less than this share of the strongest one's capacity is an efficiency core."""
_SIZE: Final = re.compile(r"(\d+)([KMG]?)", re.ASCII)
_UNITS: Final[Mapping[str, int]] = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_SIMD: Final[Mapping[str, str]] = {
    "sse4_2": "SSE4.2", "avx": "AVX", "f16c": "F16C", "fma": "FMA", "avx2": "AVX2", "avx_vnni": "AVX-VNNI",
    "avx512f": "AVX-512F", "avx512_vnni": "AVX-512-VNNI", "avx512_bf16": "AVX-512-BF16", "amx_tile": "AMX",
    "amx_int8": "AMX-INT8", "amx_bf16": "AMX-BF16", "asimd": "NEON", "asimddp": "DOTPROD", "i8mm": "I8MM",
    "sve": "SVE", "sve2": "SVE2", "sme": "SME",
}  # fmt: skip
"""The kernel's flags on x86 and ARM."""


@lru_cache(maxsize=4)
def topology(root: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> Topology:
    """The topology below a sysfs."""
    sysfs = Sysfs(root)
    online = _numbers(sysfs.text(f"{_CPUS}/online"))
    cores = _distinct(sysfs, online, "topology/core_cpus_list", "topology/thread_siblings_list")
    weak = _efficiency(sysfs, online)
    efficiency = len({core for core in cores.values() if weak & _numbers(core)}) if cores else None
    physical = len(set(cores.values())) or None
    return Topology(
        model=model_name(cpuinfo),
        logical_cores=len(online) or os.cpu_count(),
        physical_cores=physical,
        performance_cores=None if physical is None or efficiency is None else physical - efficiency,
        efficiency_cores=efficiency,
        packages=len(set(_distinct(sysfs, online, "topology/physical_package_id").values())) or None,
        numa_nodes=len(sysfs.glob("devices/system/node/node[0-9]*")) or None,
        simd=tuple(_simd(cpuinfo)),
        caches=tuple(_caches(sysfs, online)),
        memory_bytes=proc.memory().total_bytes,
        allowed_cores=_quota(sysfs.text("fs/cgroup/cpu.max")),
        allowed_memory_bytes=_whole(sysfs.text("fs/cgroup/memory.max")),
    )


def _numbers(text: str) -> frozenset[int]:
    """The numbers of a list such as 0-3,8."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (not last or last.isdecimal()) and int(last or first) < _MOST_CPUS:
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _distinct(sysfs: Sysfs, cpus: Iterable[int], *names: str) -> dict[int, str]:
    """What the first file that is there says of each processor."""
    for name in names:
        told = {cpu: text for cpu in cpus if (text := sysfs.text(f"{_CPUS}/cpu{cpu}/{name}"))}
        if told:
            return told
    return {}


def _efficiency(sysfs: Sysfs, cpus: frozenset[int]) -> frozenset[int]:
    """The logical processors on efficiency cores: by the kernel's PMUs, their capacity, or their highest clock."""
    strong = _numbers(sysfs.text("devices/cpu_core/cpus"))
    if strong:
        return cpus - strong
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        told = {cpu: int(text) for cpu, text in _distinct(sysfs, cpus, name).items() if text.isdecimal()}
        if told and len(told) == len(cpus):
            return frozenset(cpu for cpu, value in told.items() if value < _STRONG * max(told.values()))
    return frozenset()


def _caches(sysfs: Sysfs, cpus: frozenset[int]) -> Iterator[Cache]:
    found: dict[tuple[int, str, int], set[str]] = {}
    for cpu in sorted(cpus):
        for index in sysfs.glob(f"{_CPUS}/cpu{cpu}/cache/index[0-9]*"):
            level, kind, size, shared = (
                sysfs.text(f"{index}/{name}") for name in ("level", "type", "size", "shared_cpu_list")
            )
            match = _SIZE.fullmatch(size)
            if level.isdecimal() and match:
                key = (int(level), kind.lower(), int(match[1]) * _UNITS[match[2]])
                found.setdefault(key, set()).add(shared or str(cpu))
    return (Cache(*key, len(shared)) for key, shared in sorted(found.items()))


def _simd(cpuinfo: Path) -> Iterator[str]:
    try:
        with cpuinfo.open(encoding="utf-8", errors="replace") as file:
            lines = file.read(_FIRST_BYTES).splitlines()
    except OSError:
        return
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    told = set(flags.partition(":")[2].split())
    yield from (name for flag, name in _SIMD.items() if flag in told)


def _quota(text: str) -> float | None:
    """Cores by cgroup v2's cpu.max, such as "200000 100000"; the machine itself has none."""
    quota, _, period = text.partition(" ")
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
