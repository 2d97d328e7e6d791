"""The processor's topology is what the kernel says, and no more."""

import psutil
import pytest

from ollama_proxyd.core.topology import Cache, Topology
from ollama_proxyd.edges.sensors.topology import topology
from tests.upstreams.sysfs_tree import SysfsTree

CPUINFO = """processor\t: 0
model name\t: Intel(R) Core(TM) Ultra 7 155H
flags\t\t: fpu sse4_2 avx f16c fma avx2 avx_vnni
"""


def read(tree: SysfsTree, cpuinfo: str = CPUINFO) -> Topology:
    file = tree.write("cpuinfo", cpuinfo.rstrip())
    topology.cache_clear()
    return topology(str(tree.root), file)


def cpu(tree: SysfsTree, number: int, core: str, **files: object) -> None:
    tree.write(f"devices/system/cpu/cpu{number}/topology/core_cpus_list", core)
    tree.write(f"devices/system/cpu/cpu{number}/topology/physical_package_id", 0)
    for name, value in files.items():
        tree.write(f"devices/system/cpu/cpu{number}/{name}", value)


def cache(tree: SysfsTree, number: int, index: int, told: tuple[int, str, str, str]) -> None:
    for name, value in zip(("level", "type", "size", "shared_cpu_list"), told, strict=True):
        tree.write(f"devices/system/cpu/cpu{number}/cache/index{index}/{name}", value)


@pytest.fixture
def tree(tmp_path_factory: pytest.TempPathFactory) -> SysfsTree:
    return SysfsTree(tmp_path_factory.mktemp("sys"))


def hybrid(tree: SysfsTree) -> None:
    """Two P cores of two threads, four E cores in a cluster, two of the lowest power."""
    tree.write("devices/system/cpu/online", "0-9")
    for number in range(4):
        cpu(tree, number, f"{number // 2 * 2}-{number // 2 * 2 + 1}")
    for number in range(4, 10):
        cpu(tree, number, str(number))
    tree.write("devices/cpu_core/cpus", "0-3")
    tree.write("devices/cpu_atom/cpus", "4-9")
    tree.write("devices/system/node/node0/cpulist", "0-9")


def test_p_and_e_cores_are_those_of_the_kernels_pmus_and_threads_are_no_cores(tree: SysfsTree) -> None:
    hybrid(tree)
    found = read(tree)
    assert (found.logical_cores, found.physical_cores) == (10, 8)
    assert (found.performance_cores, found.efficiency_cores) == (2, 6)
    assert (found.packages, found.numa_nodes) == (1, 1)
    assert found.model == "Intel(R) Core(TM) Ultra 7 155H"
    assert found.simd == ("SSE4.2", "AVX", "F16C", "FMA", "AVX2", "AVX-VNNI")
    assert not found.has_amx


@pytest.mark.parametrize(
    ("name", "strong", "weak"), [("cpu_capacity", 1024, 446), ("cpufreq/cpuinfo_max_freq", 5100000, 3300000)]
)
def test_without_pmus_capacity_and_then_the_highest_clock_tell_them_apart(
    tree: SysfsTree, name: str, strong: int, weak: int
) -> None:
    tree.write("devices/system/cpu/online", "0-5")
    for number in range(6):
        cpu(tree, number, str(number), **{name: strong if number < 4 else weak})
    found = read(tree)
    assert (found.performance_cores, found.efficiency_cores) == (4, 2)


def test_cores_of_one_kind_are_all_performance_cores(tree: SysfsTree) -> None:
    tree.write("devices/system/cpu/online", "0-3")
    for number in range(4):
        cpu(tree, number, f"{number % 2},{number % 2 + 2}", **{"cpufreq/cpuinfo_max_freq": 4500000 - number * 100000})
    found = read(tree)
    assert (found.logical_cores, found.physical_cores, found.performance_cores) == (4, 2, 2)
    assert found.efficiency_cores == 0


def test_a_shared_cache_counts_once(tree: SysfsTree) -> None:
    tree.write("devices/system/cpu/online", "0-3")
    for number in range(4):
        cpu(tree, number, str(number))
        cache(tree, number, 0, (1, "Data", "48K", str(number)))
        cache(tree, number, 3, (3, "Unified", "24M", "0-3"))
    found = read(tree)
    assert found.caches == (Cache(1, "data", 48 * 1024, 4), Cache(3, "unified", 24 * 2**20, 1))
    assert found.cache_bytes(3) == 24 * 2**20


def test_the_limits_of_a_container_are_told_and_bound_what_engines_can_have(tree: SysfsTree) -> None:
    tree.write("fs/cgroup/cpu.max", "150000 100000")
    tree.write("fs/cgroup/memory.max", 2**30)
    found = read(tree)
    assert (found.allowed_cores, found.usable_memory_bytes) == (1.5, 2**30)
    tree.write("fs/cgroup/cpu.max", "max 100000")
    tree.write("fs/cgroup/memory.max", "max")
    found = read(tree)
    assert (found.allowed_cores, found.usable_memory_bytes) == (None, psutil.virtual_memory().total)


@pytest.mark.parametrize("online", ["", "x", "0-99999999999", "3-1", "-", "0-", ",,,", "٣"])
def test_what_is_odd_or_missing_is_unknown(tree: SysfsTree, online: str) -> None:
    tree.write("devices/system/cpu/online", online)
    cache(tree, 0, 0, (1, "Data", "huge", "0"))
    found = read(tree, "nothing")
    assert (found.model, found.simd) == ("CPU", ())
    assert found.physical_cores is None
    assert found.performance_cores is None


def test_an_arm_processor_names_its_instructions(tree: SysfsTree) -> None:
    assert read(tree, "processor : 0\nFeatures : fp asimd asimddp sve i8mm\n").simd == (
        "NEON",
        "DOTPROD",
        "I8MM",
        "SVE",
    )
