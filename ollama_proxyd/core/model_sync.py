"""Required models that a backend lacks: how far each pull is, and when it begins or is tried again."""

import json
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Annotated, NamedTuple

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.options import Option, Within
from ollama_proxyd.core.readings import SystemState, known
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.text import cut
from ollama_proxyd.core.values import value

FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 3600.0
MOST_LINE_BYTES = 64 * 1024
MOST_DIGESTS = 256
"""Layers of one model; more are not told apart."""
MOST_BYTES = 2**53
MOST_CHARACTERS = 200


@value
class SyncSettings:
    """How required models are pulled."""

    max_parallel: Annotated[
        int, Within(1, 64), Option("model_sync.", "How many models are pulled at the same time.")
    ] = 2
    on_battery: Annotated[bool, Option("model_sync.", "Whether models are pulled on battery too.")] = False
    on_metered: Annotated[
        bool,
        Option("model_sync.", "Whether models are pulled over a connection too that NetworkManager calls metered."),
    ] = False


class PullAt(NamedTuple):
    """A model at a backend."""

    backend_id: str
    model: str


class PullPhase(Enum):
    """Where a pull stands."""

    WAITING = "waiting"
    """It begins when it may, and when it is its turn."""
    PULLING = "pulling"
    FAILED = "failed"
    """It is tried again after a pause."""


class PullSignal(Enum):
    """What moves a pull."""

    BEGUN = "begun"
    STOPPED = "stopped"
    """It may not go on for now; the engine keeps what it has."""
    FAILED = "failed"
    DUE = "due"
    """The pause is over, or there is news of the backend."""


_NEXT = {
    (PullPhase.WAITING, PullSignal.BEGUN): PullPhase.PULLING,
    (PullPhase.PULLING, PullSignal.STOPPED): PullPhase.WAITING,
    (PullPhase.PULLING, PullSignal.FAILED): PullPhase.FAILED,
    (PullPhase.FAILED, PullSignal.DUE): PullPhase.WAITING,
}
"""What is not here changes nothing; a pull that succeeds is over."""


@value
class Pull:
    """A required model that a backend lacks; the bytes are of the layers that the engine has told of."""

    at: PullAt
    endpoint: str
    """The address of the backend."""
    phase: PullPhase = PullPhase.WAITING
    failures: int = 0
    """In a row."""
    retry_at_s: float = 0.0
    reason: Reason | None = None
    """Why it does not go on."""
    completed_bytes: int = 0
    total_bytes: int = 0

    def moved(self, signal: PullSignal, reason: Reason | None = None) -> "Pull":
        """The pull after a signal."""
        return replace(self, phase=_NEXT.get((self.phase, signal), self.phase), reason=reason)

    def failed(self, detail: str, now_s: float) -> "Pull":
        """The pull after a failure, with a pause twice as long as the last."""
        pause_s = min(FIRST_PAUSE_S * 2**self.failures, LONGEST_PAUSE_S)
        moved = self.moved(PullSignal.FAILED, Reason("pull_failed", detail=cut(detail, MOST_CHARACTERS)))
        return replace(moved, failures=min(self.failures + 1, 32), retry_at_s=now_s + pause_s)


def why_not_now(settings: SyncSettings, system: SystemState, is_metered: bool | None) -> Reason | None:
    """Why nothing is pulled now; what is not known keeps nothing from it."""
    if not settings.on_battery and known(system.on_battery):
        return Reason("pull_waits_for_charger")
    return Reason("pull_waits_for_network") if is_metered and not settings.on_metered else None


@dataclass(slots=True)
class PullProgress:
    """What an engine tells of a pull, line by line, as it arrives."""

    is_done: bool = False
    _rest: bytes = b""
    _layers: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def completed_bytes(self) -> int:
        """How much of the layers is there."""
        return sum([completed for completed, _ in self._layers.values()])

    @property
    def total_bytes(self) -> int:
        """How large the layers are that were told of."""
        return sum([total for _, total in self._layers.values()])

    def feed(self, piece: bytes) -> None:
        """Read on; raises ProxyError with the engine's own words where it says that it failed."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._read(line)
        if len(self._rest) > MOST_LINE_BYTES:
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, "it told its progress in a line that has no end")

    def end(self) -> None:
        """Read what is left; raises ProxyError where it did not come to its end."""
        self._read(self._rest)
        if not self.is_done:
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, "it broke off before the model was there")

    def _read(self, line: bytes) -> None:
        try:
            told = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError):
            return
        if not isinstance(told, dict):
            return
        if told.get("error"):
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, str(told["error"]))
        self.is_done = self.is_done or told.get("status") == "success"
        digest, total = told.get("digest"), _size(told.get("total"))
        if isinstance(digest, str) and total and (digest in self._layers or len(self._layers) < MOST_DIGESTS):
            self._layers[digest[:MOST_CHARACTERS]] = (min(_size(told.get("completed")), total), total)


def _size(value: object) -> int:
    """A number of bytes, 0 for what is none."""
    return value if isinstance(value, int) and 0 < value < MOST_BYTES else 0
