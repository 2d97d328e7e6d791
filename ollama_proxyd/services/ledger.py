"""Keeps the books: what each request cost in time, tokens and joules, and where the last ones went."""

from collections import deque
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.continuation import Obstacle
from ollama_proxyd.core.energy import Source, worst
from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.events import Usage
from ollama_proxyd.core.fleet import FleetView
from ollama_proxyd.core.policy.comparison import Comparison
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.twins import Span, Twins
from ollama_proxyd.core.requests import Hints, Operation
from ollama_proxyd.core.values import replace, value
from ollama_proxyd.services.cell import Topic
from ollama_proxyd.services.ports import Clock

REMEMBERED = 100
"""How many decisions are kept."""


@value
class RequestRouted:
    """Where a request went, or why it went nowhere.

    `backend_id` None and `decision` None mean that none could serve and that it was refused before it was routed.
    `instead` compares with the mode Performance; None where nothing answered or Performance would have had no backend.
    """

    request_id: str
    backend_id: str | None
    decision: Decision | None
    unix_s: float
    instead: Comparison | None = None


@value
class Outcome:
    """What became of one request.

    `error` is None when it was answered in full; `cancelled` when the client left. Times are in seconds from the
    request's arrival at the gateway. `energy_j` is the sum over its attempts, None where there was none.
    """

    request_id: str
    operation: Operation
    backend_id: str | None
    """Where it was sent last, None where it was sent nowhere."""
    model: str | None
    """That backend's own name of it."""
    decision: Decision | None
    unix_s: float
    total_s: float
    queue_wait_s: float = 0.0
    """How long it waited for slots."""
    ttft_s: float | None = None
    usage: Usage = field(default_factory=Usage)
    energy_j: float | None = None
    retried: tuple[str, ...] = ()
    """Backends whose failure was followed by another attempt."""
    error: ErrorKind | None = None
    code: str | None = None
    """The finer word for the error of the last attempt, where there is one."""
    status: int | None = None
    """The backend's own HTTP status, where that was the error of the last attempt."""
    cause: str | None = None
    """The backend's words of it, as far as they may be logged."""
    cancelled: bool = False
    resumed: tuple[str, ...] = ()
    """What broke a begun answer, each time that another backend went on with it."""
    obstacle: Obstacle | None = None
    """Why a begun answer that broke did not go on; None where it did, or did not break."""
    instead: Comparison | None = None
    """Where the mode Performance would have sent it; None where that is not known or would have been nowhere."""
    hints: Hints = field(default_factory=Hints)
    is_cached: bool = False
    """Whether it got an answer that was kept from an earlier request."""
    spared_j: float | None = None
    """What that had cost; None where it is not known, or was answered anew."""
    saved_j: float | None = None
    """Estimated joules saved against Performance with the idle tails before it; None where not compared.

    Only whole answers are compared, since the cost of a missing rest is unknown.
    """

    @property
    def attempts(self) -> int:
        """How often it was sent to a backend."""
        return len(self.retried) + (self.backend_id is not None)

    @property
    def succeeded(self) -> bool:
        """Whether the client got its whole answer."""
        return self.error is None and not self.cancelled


@dataclass(slots=True)
class Requests:
    """Running sums of all requests since the daemon started, those that no backend got included."""

    requests: int = 0
    failures: int = 0
    cancelled: int = 0

    def count(self, ended: Outcome | AttemptEnded) -> None:
        """Count one more."""
        self.requests += 1
        self.failures += ended.error is not None
        self.cancelled += ended.cancelled


@dataclass(slots=True)
class BackendTotals(Requests):
    """Running sums of all attempts at one backend since the daemon started."""

    completion_tokens: int = 0
    energy_j: float = 0.0
    energy_source: Source | None = None
    """None before anything was charged."""
    energy_error_j: float = 0.0
    spent: dict[str, float] = field(default_factory=dict)
    """Money, by currency."""
    busy_s: float = 0.0

    def add(self, ended: AttemptEnded) -> None:
        """Book one more attempt."""
        self.count(ended)
        self.completion_tokens += ended.usage.completion_tokens or 0
        self.busy_s += ended.ended_s - ended.begun_s


@dataclass(slots=True)
class Day:
    """Sums over all backends since local midnight, or since the daemon started where that was later.

    Tokens count as far as backends told them. `saved_j` is what the day of the mode Performance would have drawn more
    for the `compared` requests, idle tails included; where none was compared it says nothing.
    """

    requests: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    saved_j: float = 0.0
    compared: int = 0
    spent: dict[str, float] = field(default_factory=dict)
    """Money, by currency."""
    cached: int = 0
    """How many got an answer that was kept from an earlier request."""
    cache_saved_j: float = 0.0
    """What those answers had cost, as far as is known."""

    def add(self, outcome: Outcome) -> None:
        """Book one more request, but for its money."""
        self.requests += 1
        self.failures += outcome.error is not None
        self.prompt_tokens += outcome.usage.prompt_tokens or 0
        self.completion_tokens += outcome.usage.completion_tokens or 0
        if outcome.is_cached and outcome.succeeded:
            self.cached += 1
            self.cache_saved_j += outcome.spared_j or 0.0
        if (saved_j := outcome.saved_j) is not None:
            self.saved_j += saved_j
            self.compared += 1


@dataclass(slots=True)
class CacheTotals:
    """Answers that were given again since the daemon started, and what they had cost."""

    hits: int = 0
    saved_j: float = 0.0


def _pay(spent: dict[str, float], ended: AttemptEnded) -> None:
    spent[ended.currency] = spent.get(ended.currency, 0.0) + ended.spent


class Ledger:
    """The one owner of the sums; `routed` tells once where each request went, and `outcomes` once how it ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._date = clock.local_date()
        self._day = Day()
        """The sums of that date."""
        self.routed: Topic[RequestRouted] = Topic()
        self.outcomes: Topic[Outcome] = Topic()
        self.last_routed: RequestRouted | None = None
        """Where the last request went that was routed or refused; None before the first."""
        self._totals: dict[str, BackendTotals] = {}
        self.overall = Requests()
        """The sums of all requests since the daemon started."""
        self.cache = CacheTotals()
        self._twins = Twins()
        self._recent: deque[Outcome] = deque(maxlen=REMEMBERED)

    def note_routed(self, routed: RequestRouted) -> None:
        """Take note of where a request went, before it is recorded."""
        self.last_routed = routed
        self.routed.publish(routed)

    def book(self, ended: AttemptEnded) -> None:
        """Enter an attempt: it is its backend's, whatever becomes of the request."""
        totals = self._of(ended.backend_id)
        totals.add(ended)
        if ended.spent:
            self._turn_page()
            _pay(self._day.spent, ended)
            _pay(totals.spent, ended)

    def _of(self, backend_id: str) -> BackendTotals:
        if (totals := self._totals.get(backend_id)) is None:
            totals = self._totals[backend_id] = BackendTotals()
        return totals

    def charge(self, ended: AttemptEnded) -> None:
        """Enter what an attempt cost, as soon as that is known."""
        totals, energy = self._of(ended.backend_id), ended.energy
        energy_j = energy.total_j
        totals.energy_j += energy_j
        totals.energy_error_j += energy_j * energy.error_share
        if totals.energy_source is not energy.source:
            totals.energy_source = worst(totals.energy_source or energy.source, energy.source)

    def record(self, outcome: Outcome) -> None:
        """Enter a finished request."""
        self._turn_page()
        decision = outcome.decision and outcome.decision.remembered(outcome.backend_id)
        saved_j = self._saved_j(outcome)
        if saved_j is not None or decision is not outcome.decision:
            outcome = replace(outcome, decision=decision, saved_j=saved_j)
        self._day.add(outcome)
        self._recent.append(outcome)
        if outcome.is_cached and outcome.succeeded:
            self.cache.hits += 1
            self.cache.saved_j += outcome.spared_j or 0.0
        self.overall.count(outcome)
        self.outcomes.publish(outcome)

    def instead(self, fleet: FleetView) -> FleetView:
        """The backends as the day of Performance would have them now."""
        return self._twins.instead(fleet, self._clock.monotonic())

    def forget_all_but(self, backend_ids: Container[str]) -> None:
        """Keep nothing of what would be in the memory of backends that are gone."""
        self._twins.forget_all_but(backend_ids)

    def _saved_j(self, outcome: Outcome) -> float | None:
        """What was saved, as far as it is compared."""
        if outcome.instead is None or not outcome.succeeded:
            return None
        now_s = self._clock.monotonic()
        span = Span(now_s - outcome.total_s + outcome.queue_wait_s, now_s)
        return self._twins.saved_j(outcome.instead, outcome.usage.completion_tokens, span)

    def _turn_page(self) -> None:
        """Begin another day's sums at its first entry."""
        date = self._clock.local_date()
        if date != self._date:
            self._date, self._day = date, Day()

    @property
    def today(self) -> Day:
        """The sums of the present day; they begin anew at midnight."""
        return self._day if self._date == self._clock.local_date() else Day()

    @property
    def by_backend(self) -> Mapping[str, BackendTotals]:
        """The sums of each backend that was tried, also of one that a reload removed."""
        return MappingProxyType(self._totals)

    def totals(self, backend_id: str) -> BackendTotals:
        """The sums of one backend, zeros when it has served nothing yet."""
        return self._totals.get(backend_id, BackendTotals())

    def recent(self) -> tuple[Outcome, ...]:
        """The last requests, newest last."""
        return tuple(self._recent)
