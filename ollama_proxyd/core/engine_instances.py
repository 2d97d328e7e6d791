"""The life of one process of an engine, as a table, and what others are told of it."""

from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

from ollama_proxyd.core.engine_program import EngineProgram
from ollama_proxyd.core.memory_budget import Bytes
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.values import value

LOOPBACK: Final = "127.0.0.1"


class Phase(Enum):
    """Where a process stands."""

    WAITING = "waiting"
    """It waits for memory."""
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    """Its requests end, and then it is stopped."""
    STOPPING = "stopping"
    GONE = "gone"


class Signal(Enum):
    """What moves it."""

    FITS = "fits"
    LOADED = "loaded"
    LEAVES = "leaves"
    """It is to make room, or to end."""
    UNUSED = "unused"
    """The last request on it has ended while it drains."""
    LOST = "lost"
    """A process that was taken over does not answer."""
    ENDED = "ended"
    """Its process has ended, or never began."""


_NEXT: Mapping[tuple[Phase, Signal], Phase] = {
    (Phase.WAITING, Signal.FITS): Phase.LOADING,
    (Phase.LOADING, Signal.LOADED): Phase.READY,
    (Phase.LOADING, Signal.LOST): Phase.WAITING,
    (Phase.LOADING, Signal.LEAVES): Phase.DRAINING,
    (Phase.READY, Signal.LEAVES): Phase.DRAINING,
    (Phase.DRAINING, Signal.UNUSED): Phase.STOPPING,
    **{(phase, Signal.ENDED): Phase.GONE for phase in Phase},
}
"""What is not here changes nothing."""


def after(phase: Phase, signal: Signal) -> Phase:
    """The phase that follows."""
    return _NEXT.get((phase, signal), phase)


HELD = frozenset({Phase.LOADING, Phase.READY, Phase.DRAINING, Phase.STOPPING})
"""The phases in which it has memory."""
LEAVING = frozenset({Phase.DRAINING, Phase.STOPPING})


class Address(NamedTuple):
    """Where one process alone listens: at a port of loopback, or at a Unix socket."""

    port: int = 0
    socket: str = ""
    """The path of its file; empty where it has a port."""

    @property
    def endpoint(self) -> str:
        """As the address of a backend."""
        return f"unix:{self.socket}" if self.socket else f"http://{LOOPBACK}:{self.port}"


NOWHERE: Final = Address()
"""Of a process that was not started yet."""


class End(NamedTuple):
    """How a process ended, in words."""

    words: str
    has_failed: bool = False
    """Whether its program gave up by itself: starting it again is of no use."""


@value
class Launch:
    """What a process is started with; `address` and `api_key` are its alone.

    name: of its log and its unit. most_bytes: of main memory; None where that is not limited.
    """

    name: str
    words: tuple[str, ...]
    environment: tuple[str, ...]
    address: Address
    api_key: str
    most_bytes: int | None = None


@value
class KeptEngine:
    """What is noted of a process so that it is found again after a crash of the daemon.

    mark: of what it was started with. needs: bytes as they counted in the budgets.
    """

    backend_id: str
    model: str
    path: str
    size_bytes: int
    mark: str
    port: int
    api_key: str
    needs: Bytes
    socket: str = ""

    @property
    def address(self) -> Address:
        """Where it listens."""
        return Address(self.port, self.socket)


@value
class Instance:
    """A process for one model, as it is told; bytes as they count in the budgets."""

    backend_id: str
    model: str
    program: EngineProgram
    phase: Phase
    needs: Bytes
    is_measured: bool = False
    """Whether the bytes were counted by the kernel, and not estimated."""
    users: int = 0
    used_unix_s: float | None = None
    pid: int | None = None
    address: Address = NOWHERE
    started_s: float | None = None
    """How long it took to be ready."""
    loaded_percent: int | None = None
    """How much of its model is in main memory while it loads, about; None where that is not known."""


@value
class Ended:
    """Why the process of a model ended that was not meant to."""

    backend_id: str
    model: str
    reason: Reason
    at_unix_s: float
    times: int = 1
    """In a row, without an answer between."""


@value
class Changed:
    """A process went on to another phase."""

    instance: Instance
    reason: Reason | None = None
    """Why it failed, or ended by itself."""
