"""What the processor is made of: its cores of each kind, its instructions, its caches and its memory."""

from typing import NamedTuple

from ollama_proxyd.core.values import value


class Cache(NamedTuple):
    """All caches of one level and kind."""

    level: int
    kind: str
    """data, instruction or unified."""
    size_bytes: int
    """Of each."""
    instances: int


@value
class Topology:
    """The processors of this machine; None where the kernel does not say."""

    model: str = "CPU"
    logical_cores: int | None = None
    physical_cores: int | None = None
    performance_cores: int | None = None
    """Physical ones; all of them where there is one kind."""
    efficiency_cores: int | None = None
    packages: int | None = None
    numa_nodes: int | None = None
    simd: tuple[str, ...] = ()
    """In capitals, as their makers write them."""
    caches: tuple[Cache, ...] = ()
    memory_bytes: int | None = None
    allowed_cores: float | None = None
    """What the control group may use of them; None where it has no limit."""
    allowed_memory_bytes: int | None = None

    @property
    def usable_memory_bytes(self) -> int | None:
        """What engines of this machine can have at most."""
        known = [each for each in (self.memory_bytes, self.allowed_memory_bytes) if each is not None]
        return min(known, default=None)

    @property
    def has_amx(self) -> bool:
        """Whether llama.cpp lays weights out anew for the matrix instructions."""
        return "AMX-INT8" in self.simd

    def cache_bytes(self, level: int) -> int:
        """All caches of one level together."""
        return sum(each.size_bytes * each.instances for each in self.caches if each.level == level)


UNKNOWN_TOPOLOGY = Topology()
