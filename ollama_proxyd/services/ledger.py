"""Keeps the books: what each request cost in time, tokens and joules, and where the last ones went."""

from collections import deque
from dataclasses import dataclass, field

from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.events import FinishReason, Timings, Usage
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.requests import Operation
from ollama_proxyd.services.cell import Topic

REMEMBERED = 100
"""How many decisions are kept for whoever asks where requests went."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    `error` is None when it was answered in full; `cancelled` when the client left. Times are in seconds from the
    request's arrival at the gateway. `energy_j` is estimated from the backend's watts and the time it worked;
    None when its watts are unknown or nothing was sent to it. `queued` means that the backend was busy at the time.
    """

    request_id: str
    operation: Operation
    backend_id: str | None
    model: str | None
    """The backend's own name of it."""
    decision: Decision | None
    unix_s: float
    total_s: float
    ttft_s: float | None = None
    prompt_tokens: int = 0
    """Estimated before routing."""
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    finish: FinishReason | None = None
    """Why the answer ended; None when it did not end by itself."""
    energy_j: float | None = None
    queued: bool = False
    attempts: int = 1
    error: ErrorKind | None = None
    cancelled: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether the client got its whole answer."""
        return self.error is None and not self.cancelled


@dataclass(slots=True)
class BackendTotals:
    """Running sums of one backend since the daemon started."""

    requests: int = 0
    failures: int = 0
    cancelled: int = 0
    completion_tokens: int = 0
    energy_j: float = 0.0
    busy_s: float = 0.0


class Ledger:
    """The one owner of the sums; `outcomes` tells each request's end once."""

    def __init__(self) -> None:
        self.outcomes: Topic[Outcome] = Topic()
        self._totals: dict[str, BackendTotals] = {}
        self._recent: deque[Outcome] = deque(maxlen=REMEMBERED)

    def record(self, outcome: Outcome) -> None:
        """Enter a finished request."""
        self._recent.append(outcome)
        if outcome.backend_id is not None:
            self._add(self._totals.setdefault(outcome.backend_id, BackendTotals()), outcome)
        self.outcomes.publish(outcome)

    def totals(self, backend_id: str) -> BackendTotals:
        """The sums of one backend, zeros when it has served nothing yet."""
        return self._totals.get(backend_id, BackendTotals())

    def recent(self) -> tuple[Outcome, ...]:
        """The last requests, newest last."""
        return tuple(self._recent)

    @staticmethod
    def _add(totals: BackendTotals, outcome: Outcome) -> None:
        totals.requests += 1
        totals.failures += outcome.error is not None
        totals.cancelled += outcome.cancelled
        totals.completion_tokens += outcome.usage.completion_tokens or 0
        totals.energy_j += outcome.energy_j or 0.0
        totals.busy_s += outcome.total_s
