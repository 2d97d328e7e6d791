"""What is known of one request while it runs."""

from dataclasses import dataclass, field

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.continuation import Obstacle
from ollama_proxyd.core.energy import Energy, sum_up
from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.events import Usage
from ollama_proxyd.core.policy.comparison import Comparison
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.rank import Assessment
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Request
from ollama_proxyd.services.attempt import Attempt
from ollama_proxyd.services.ledger import Outcome, RequestRouted
from ollama_proxyd.services.ports import Clock


@dataclass(slots=True)
class RequestTrace:
    """Made at the arrival of a request, closed once."""

    request: Request
    _clock: Clock
    _arrived_s: float
    decision: Decision | None = None
    assessment: Assessment | None = None
    """What the decision was taken from."""
    instead: Comparison | None = None
    is_told: bool = False
    """Whether it was told where the request went."""
    attempts: list[Attempt] = field(default_factory=list)
    error: ErrorKind | None = ErrorKind.INTERNAL
    """A fault of ours, until it ends in another way."""
    cancelled: bool = False
    deferral: Reason | None = None
    """How its wait for the charger ended, None where it asked for none."""
    deferred_s: float = 0.0
    """How long it waited for that."""
    queue_wait_s: float = 0.0
    """How long it has waited for slots."""
    first_s: float | None = None
    """When the client got the first part of its answer."""
    usage: Usage | None = None
    """Of the whole answer, where it came."""
    resumed: tuple[str, ...] = ()
    """Why it went on at another backend, each time."""
    obstacle: Obstacle | None = None
    """Why it did not go on where it broke."""
    cached_model: str | None = None
    """Whose kept answer it got, None where it was answered anew."""
    spared_j: float | None = None
    """What that had cost."""

    @property
    def backend_id(self) -> str | None:
        """Where it was sent last, None before it was sent anywhere."""
        return self.attempts[-1].ranked.backend_id if self.attempts else None

    @property
    def last(self) -> AttemptEnded | None:
        """How the last attempt ended, None before it has."""
        return self.attempts[-1].ended if self.attempts else None

    @property
    def energy(self) -> Energy | None:
        """What all attempts cost, as far as is known; None where there were none."""
        attempts = self.attempts
        return attempts[0].energy if len(attempts) == 1 else sum_up([each.energy for each in attempts])

    @property
    def elapsed_s(self) -> float:
        """How long ago it arrived."""
        return self._clock.monotonic() - self._arrived_s

    @property
    def is_displaced(self) -> bool:
        """Whether a more urgent request took its slot."""
        return bool(self.attempts) and self.attempts[-1].is_displaced

    @property
    def tries(self) -> int:
        """How many backends it was sent to for good."""
        return sum([not each.is_displaced for each in self.attempts])

    def routed(self) -> RequestRouted:
        """Where the request went, as far as is known at this moment."""
        return RequestRouted(
            request_id=self.request.hints.request_id,
            backend_id=self.backend_id,
            decision=self.decision,
            unix_s=self._clock.unix(),
            instead=self.instead,
        )

    def close(self) -> Outcome:
        """The outcome, at this moment."""
        hints, last, energy = self.request.hints, self.last, self.energy
        ranked = self.attempts[-1].ranked if self.attempts else None
        first_s = self.first_s if self.request.stream else None
        return Outcome(
            hints.request_id,
            self.request.operation,
            None if ranked is None else ranked.backend_id,
            self.cached_model if ranked is None else ranked.model,
            self.decision,
            self._clock.unix(),
            self._clock.monotonic() - self._arrived_s,
            self.queue_wait_s,
            None if first_s is None else first_s - self._arrived_s,
            self.usage or (last.usage if last is not None else Usage()),
            None if energy is None else energy.total_j,
            tuple([each.ranked.backend_id for each in self.attempts[:-1] if not each.is_displaced]),
            self.error,
            None if last is None else last.code,
            None if last is None else last.status,
            None if last is None else last.cause,
            cancelled=self.cancelled,
            resumed=self.resumed,
            obstacle=self.obstacle,
            instead=self.instead,
            hints=hints,
            is_cached=self.cached_model is not None,
            spared_j=self.spared_j,
        )
