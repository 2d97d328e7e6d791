"""The bookkeeping of one request while it runs."""

from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.events import Event, Finished
from ollama_proxyd.core.policy.comparison import Comparison, Moment
from ollama_proxyd.core.policy.decision import Decision, Ranked
from ollama_proxyd.core.requests import Request
from ollama_proxyd.services.ledger import Outcome, Routed
from ollama_proxyd.services.ports import Clock


class Account:
    """What will be known of a request when it ends; made at its arrival, closed once."""

    __slots__ = (
        "_arrived_s",
        "_clock",
        "_first_s",
        "_request",
        "_sent_s",
        "attempts",
        "cancelled",
        "decision",
        "error",
        "finished",
        "instead",
        "moment",
        "queued",
        "ranked",
    )

    def __init__(self, request: Request, clock: Clock) -> None:
        self._request = request
        self._clock = clock
        self._arrived_s = clock.monotonic()
        self._sent_s: float | None = None
        self._first_s: float | None = None
        self.decision: Decision | None = None
        self.moment: Moment | None = None
        """What the decision was taken from."""
        self.ranked: Ranked | None = None
        self.instead: Comparison | None = None
        self.finished: Finished | None = None
        self.attempts = 0
        self.queued = False
        self.error: ErrorKind | None = None
        self.cancelled = False

    def sent(self, ranked: Ranked, *, queued: bool) -> None:
        """The request goes to a backend now."""
        self.ranked = ranked
        self.queued = queued
        self.attempts += 1
        self._sent_s = self._clock.monotonic()

    def note(self, event: Event) -> None:
        """Take note of an event that goes to the client."""
        if self._first_s is None:
            self._first_s = self._clock.monotonic()
        if type(event) is Finished:
            self.finished = event

    def routed(self) -> Routed:
        """Where the request went, as far as is known at this moment."""
        return Routed(
            request_id=self._request.hints.request_id,
            backend_id=self.ranked.backend_id if self.ranked else None,
            decision=self.decision,
            unix_s=self._clock.unix(),
            instead=self.instead,
        )

    def close(self) -> Outcome:
        """The outcome, at this moment."""
        now_s = self._clock.monotonic()
        finished = self.finished or Finished()
        ranked = self.ranked
        streamed = self._request.stream and self._first_s is not None
        return Outcome(
            request_id=self._request.hints.request_id,
            operation=self._request.operation,
            backend_id=ranked.backend_id if ranked else None,
            model=ranked.model if ranked else None,
            decision=self.decision,
            unix_s=self._clock.unix(),
            total_s=now_s - self._arrived_s,
            ttft_s=self._first_s - self._arrived_s if streamed and self._first_s else None,
            prompt_tokens=self._request.prompt_tokens,
            usage=finished.usage,
            timings=finished.timings,
            finish=self.finished.reason if self.finished else None,
            energy_j=ranked.power_w * (now_s - self._sent_s) if ranked and self._sent_s is not None else None,
            queued=self.queued,
            attempts=self.attempts,
            error=self.error,
            cancelled=self.cancelled,
            instead=self.instead,
        )
