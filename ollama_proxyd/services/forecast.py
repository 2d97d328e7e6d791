"""Estimates how long each backend makes a request wait, and who waits with it."""

from collections.abc import Mapping
from typing import NamedTuple

from ollama_proxyd.core.admission import AdmissionQueue, Ticket, due_s
from ollama_proxyd.core.fleet import FleetView
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.values import replace
from ollama_proxyd.core.workload import QueueAhead, slot_wait_s
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.ports import Clock


class _Busy(NamedTuple):
    """The backends at work at one moment, whoever asks."""

    views: FleetView
    now_s: float
    waits_s: Mapping[str, float]
    """Until a slot is free, of those that have none."""
    slots: Mapping[str, int]
    """How many those have."""
    background: Mapping[str, int]
    """How many requests under way on each are such that nobody waits for."""


class Forecast:
    """Looks at what is under way and at what waits; what is the same for all at one moment is reckoned once."""

    def __init__(self, fleet: Fleet, queue: AdmissionQueue, clock: Clock) -> None:
        self._fleet = fleet
        self._queue = queue
        self._clock = clock
        self._busy = _Busy((), 0.0, {}, {}, {})

    def of(self, query: Query, waiting: Ticket | None = None) -> Query:
        """The query with the estimated wait for each backend whose slots are taken."""
        busy, followers = self._busy_now(), self._queue.followers(query.model, waiting)
        if not (busy.waits_s or followers or busy.background or query.waits_s):
            return query
        at_once_s, ahead = due_s(busy.now_s - query.waited_s, query.urgency), self._queue.ahead
        queues = {each: QueueAhead(at_once_s, slots, ahead(each, waiting)) for each, slots in busy.slots.items()}
        return replace(query, waits_s=busy.waits_s, queues=queues, followers=followers, background=busy.background)

    def _busy_now(self) -> _Busy:
        views, now_s = self._fleet.views.value, self._clock.monotonic()
        if self._busy.views is not views or self._busy.now_s != now_s:
            waits_s, slots, background = dict[str, float](), dict[str, int](), dict[str, int]()
            counts = self._fleet.yielding > 0
            for view in [each for each in views if each.in_flight >= (1 if counts else max(each.slots, 1))]:
                backend_id, leases = view.spec.id, self._fleet.leases(view.spec.id)
                if yielding := sum([each.is_yielding for each in leases]):
                    background[backend_id] = yielding
                if view.in_flight >= view.slots:
                    waits_s[backend_id] = slot_wait_s([lease.under_way for lease in leases], view.slots, now_s)
                    slots[backend_id] = view.slots
            self._busy = _Busy(views, now_s, waits_s, slots, background)
        return self._busy
