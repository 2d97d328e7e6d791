"""A request that a gateway carries to the backend that was picked for it, from the pick to the end of its answer."""

from typing import Protocol

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Finished
from ollama_proxyd.core.faults import fault_of
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.failing import work_of
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.requests import Request
from ollama_proxyd.core.values import value
from ollama_proxyd.core.workload import UnderWay
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.lease import Lease
from ollama_proxyd.services.ports import Clock


@value
class Picked:
    """Where a request goes: the best endpoint first, then those to fall back on."""

    decision: Decision
    addresses: tuple[str, ...]
    backend_ids: tuple[str, ...]


class Books(Protocol):
    """Takes note of what a backend has under way."""

    def begin(self, backend_id: str, carried: "Carried") -> None:
        """A backend is about to answer."""

    def end(self, backend_id: str, carried: "Carried") -> None:
        """It has answered, or will not."""


class Carried:
    """Holds a slot of the backend that answers, and tells what became of it; `end` is called once at the least."""

    def __init__(
        self, fleet: Fleet, clock: Clock, books: Books, query: Query, request: Request, picked: Picked
    ) -> None:
        self._fleet = fleet
        self._clock = clock
        self._books = books
        self._query = query
        self.request = request
        self.picked = picked
        best = picked.decision.ranked[0]
        self._expected_s = best.time_s - best.queue_wait_s
        self._first_s: float | None = None
        self._status: int | None = None
        self._lease: Lease | None = None
        self._hold(0)

    def _hold(self, place: int) -> None:
        """Take a slot of one of those that were picked; one that was removed meanwhile has none."""
        self.backend_id = backend_id = self.picked.backend_ids[place]
        self.model = self.picked.decision.ranked[place].model
        """The name that the backend has for the model."""
        self._begun_s = self._clock.monotonic()
        if self._fleet.has(backend_id):
            work = work_of(self._query, self.model)
            self._lease = self._fleet.lease(backend_id, work, self._expected_s)
            self._books.begin(backend_id, self)

    @property
    def under_way(self) -> UnderWay:
        """When it began, and how long it is expected to take."""
        return UnderWay(self._begun_s, self._expected_s, self.model)

    def begun(self, status: int, served: str | None) -> None:
        """The head of the answer has come, from the endpoint that the gateway names, else from the first."""
        self._status = status
        addresses = self.picked.addresses
        if served is not None and served != addresses[0]:
            self.end(None, ProxyError(ErrorKind.UPSTREAM_FAILED, "the gateway fell back on another endpoint"))
            if served in addresses:
                self._hold(addresses.index(served))
        if self._lease is not None and status < 400:
            self._lease.begun(streams=self.request.stream)

    def heard(self) -> None:
        """A part of the answer has come."""
        if self._first_s is None:
            self._first_s = self._clock.monotonic()

    def end(self, finished: Finished | None, failure: ProxyError | None = None, *, is_cut: bool = False) -> None:
        """The answer has ended, as far as it was to be seen; `is_cut`: before its end, since its client has left."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        failure, seen, now_s = failure or self._refused(), finished or Finished(), self._clock.monotonic()
        ended = AttemptEnded(
            backend_id=self.backend_id,
            model=self.model,
            operation=self.request.operation,
            request_id=self.request.hints.request_id,
            begun_s=self._begun_s,
            ended_s=now_s,
            first_s=self._first_s,
            prompt_tokens=self.request.prompt_tokens,
            stream=self.request.stream,
            error=failure.kind if failure else None,
            status=failure.status if failure else None,
            fault=fault_of(failure) if failure else None,
            usage=seen.usage,
            timings=seen.timings,
            finish=finished.reason if finished else None,
            neighbours=lease.neighbours(now_s),
            cancelled=failure is None and (is_cut or self._status is None),
            needs_vision=self.request.needs_vision,
            needs_tools=self.request.needs_tools,
            ended_unix_s=self._clock.unix(),
            decision=self.picked.decision,
        )
        with lease:
            lease.report(ended, failure)
        self._books.end(self.backend_id, self)
        self._first_s = None

    def _refused(self) -> ProxyError | None:
        """What an error status means."""
        if self._status is None or self._status < 400:
            return None
        kind = ErrorKind.UPSTREAM_FAILED if self._status >= 500 else ErrorKind.UPSTREAM_REJECTED
        return ProxyError(kind, f"the endpoint answered {self._status}", status=self._status)
