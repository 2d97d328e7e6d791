"""Grants the slots of backends; a request that finds none waits here, not in the engine."""

import asyncio
from collections.abc import Iterator
from functools import partial

from ollama_proxyd.core.admission import AdmissionQueue, Ticket
from ollama_proxyd.core.binding import shares_memory
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.failing import work_of
from ollama_proxyd.core.policy.patience import patience_s
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.queue_refusals import queue_full, queue_timeout
from ollama_proxyd.core.requests import Priority
from ollama_proxyd.core.status import QueueStatus
from ollama_proxyd.core.workload import wait_grows_in_s
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.cell import Cell, Ear
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.forecast import Forecast
from ollama_proxyd.services.gate import Gate
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.lease import Lease
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.queue_watch import QueueWatch
from ollama_proxyd.services.settings import QueueSettings
from ollama_proxyd.services.slot_trials import SlotTrials
from ollama_proxyd.services.waiting import Decide, Granted, Waiting
from ollama_proxyd.services.warm_models import WarmModels


class Admission:
    """The one that grants slots: the backend is chosen, and its slot taken, in one step when it is free."""

    def __init__(
        self, fleet: Fleet, governor: Governor, activity: Activity, gate: Gate, clock: Clock, settings: QueueSettings
    ) -> None:
        self._fleet = fleet
        self._governor = governor
        self._activity = activity
        self._gate = gate
        self._clock = clock
        self._settings = settings
        self._queue = AdmissionQueue()
        self._forecast = Forecast(fleet, self._queue, clock)
        self._trials = SlotTrials(fleet)
        self.warm = WarmModels(fleet, clock)
        self.waiting: Cell[int] = Cell(0)
        """How many requests wait."""
        self.watch = QueueWatch(self._queue, clock, lambda: self._queue.admit(self._choose))
        change, freed = self.watch.note_change, partial(fleet.freed.listen, self._slot_freed)
        news = [partial(each.listen, change) for each in (fleet.views, fleet.writing, governor.setting, gate.opened)]
        self._ear = Ear(freed, *news)
        """Nothing is of interest while nobody waits."""

    def reconfigure(self, settings: QueueSettings) -> None:
        """Apply other limits from now on."""
        self._settings = settings

    @property
    def max_length(self) -> int:
        """How many requests may wait."""
        return self._settings.max_length

    @property
    def most_of_a_model(self) -> int:
        """How many may wait for one model."""
        most = self._settings.max_per_model
        return self.max_length if most is None else min(most, self.max_length)

    def _lengths(self, model: str) -> Iterator[tuple[str, int, int]]:
        """How many wait, all of them and those for one model, and how many may, each by its option."""
        yield "max_length", len(self._queue), self._settings.max_length
        if self._settings.max_per_model is not None:
            yield "max_per_model", sum(each.model == model for each in self._queue), self._settings.max_per_model

    def waiting_for(self, backend_id: str, model: str) -> int:
        """How many requests wait that would go to a model there now."""
        return sum(each.preferred == backend_id and each.model == model for each in self._queue)

    def status(self) -> QueueStatus:
        """Who waits now."""
        oldest_s, depth = self._queue.oldest_s, self._queue.depth
        return QueueStatus(
            waiting=len(self._queue),
            by_priority={each.name.lower().replace("_", "-"): count for each, count in depth.items()},
            oldest_wait_seconds=None if oldest_s is None else self._clock.monotonic() - oldest_s,
        )

    def foresee(self, query: Query, waiting: Ticket | None = None) -> Query:
        """The query with the estimated wait for each backend whose slots are taken."""
        return self._forecast.of(query, waiting)

    async def lease(self, query: Query, decision: Decision, decide: Decide, *, is_back: bool = False) -> Granted:
        """A slot of the best backend, at once where it is free, else when it is the request's turn.

        One that is back, because its slot was taken away, waits before its equals.
        """
        best = decision.ranked[0]
        is_next = not self._queue or not self._queue.is_waited_for(best.backend_id)
        if is_next and self._may_begin(query) and (lease := self._take(query, decision)) is not None:
            return decision, lease
        for option, count, most in self._lengths(best.model):
            if count >= most:
                raise self._full(option, count, query, decision)
        waiting = Waiting(
            kind=query.kind,
            priority=query.urgency,
            arrived_s=self._clock.monotonic() - query.waited_s,
            backends=decision.backend_ids,
            preferred=best.backend_id,
            expected_s=_expected_s(decision),
            model=best.model,
            query=query,
            asked=query.model,
            decide=decide,
            is_back=is_back,
            added_s=self._clock.monotonic(),
        )
        waiting.place = 1 + self._queue.ahead_of(waiting.priority)
        with self._activity.waiting():
            return await self._wait(waiting)

    def _displace(self, waiting: Waiting) -> None:
        """Take the slot of a request in the background that has sent nothing, of the one that began last."""
        for backend_id in sorted(waiting.backends, key=lambda each: each != waiting.preferred):
            if any(lease.displace() for lease in reversed(self._fleet.leases(backend_id))):
                return

    async def _wait(self, waiting: Waiting) -> Granted:
        """Wait for a slot; whoever leaves takes neither a place nor a slot along."""
        self._queue.add(waiting, first=waiting.is_back)
        self._ear.want(True)
        self.waiting.set(len(self._queue))
        self._slot_freed(waiting.preferred)
        self._queue.admit_this(waiting, self._choose)
        if waiting.priority is Priority.CRITICAL and waiting in self._queue:
            self._displace(waiting)
        self.watch.note_change()
        left_s = waiting.query.time_left_s
        longest_s = self._settings.longest_s(waiting.priority)
        try:
            async with asyncio.timeout(longest_s if left_s is None else min(left_s, longest_s)):
                return await waiting.granted
        except BaseException as error:
            if waiting.granted.done() and not waiting.granted.cancelled() and waiting.granted.exception() is None:
                waiting.granted.result()[1].__exit__()
            if isinstance(error, TimeoutError):
                raise self._timed_out(waiting) from None
            raise
        finally:
            self._queue.remove(waiting)
            waiting.forget()
            self._ear.want(bool(self._queue))
            self.watch.note_change()
            self.waiting.set(len(self._queue))

    def refuse_all(self, why: str) -> None:
        """End the wait of every request."""
        for waiting in self._queue:
            self._queue.remove(waiting)
            _of(waiting).granted.set_exception(ProxyError(ErrorKind.UNAVAILABLE, why))

    def _take(self, query: Query, decision: Decision) -> Lease | None:
        """A slot of the best backend, None where it has none."""
        best = decision.ranked[0]
        view = self._fleet.view(best.backend_id)
        if view.in_flight >= view.slots and not self._trials.may_begin(view, best.model, query.operation):
            return None
        is_background = query.urgency is Priority.BEST_EFFORT
        if is_background and self._yields(query, view.spec):
            return None
        lease = self._fleet.lease(best.backend_id, work_of(query, best.model), _expected_s(decision))
        self._trials.begin(lease, view, best.model)
        self.warm.begin(best.backend_id, best.model)
        if is_background:
            lease.yields()
        return lease

    @property
    def _yields_s(self) -> float:
        """How long work in the background lets others go before it: half of the longest wait."""
        return self._settings.max_wait_s / 2

    def _yields(self, query: Query, spec: BackendSpec) -> bool:
        """Whether work in the background waits until the chip's memory serves none that a person waits for.

        For a while it does, unless it has a deadline.
        """
        if query.time_left_s is not None or not shares_memory(spec):
            return False
        if query.waited_s >= self._yields_s:
            return False
        neighbours = [view.spec for view in self._fleet.views.value if view.in_flight and shares_memory(view.spec)]
        leases = [lease for each in neighbours for lease in self._fleet.leases(each.id)]
        return any(not lease.is_yielding for lease in leases)

    def _may_begin(self, query: Query) -> bool:
        """Whether the machine is awake, and the mode allows one more request under way.

        That limit gives way where the mode waits no longer, unless it is strict.
        """
        row, hints = self._governor.setting.value.row, query.hints
        most = row.max_concurrency
        if most is None or not self._gate.is_open or (hints.target is not None and not hints.strict_limits):
            return self._gate.is_open
        is_strict = row.strict or hints.strict_limits or row.max_wait_s is None
        if not is_strict and query.waited_s >= (row.max_wait_s or 0.0):
            return True
        return len(self._fleet.at_work()) < most

    def _choose(self, ticket: Ticket) -> bool:
        """Decide about the first of a line: whether it leaves the queue, with its slot or with an error."""
        waiting, now_s = _of(ticket), self._clock.monotonic()
        query = waiting.query_at(now_s)
        if waiting.granted.done():
            return True
        if not self._may_begin(query):
            waiting.look_again(now_s, waiting.arrived_s + (self._governor.setting.value.row.max_wait_s or 0.0))
            return False
        query = self.foresee(query, waiting)
        try:
            decision = waiting.decide(query)
        except Exception as error:  # noqa: BLE001 it is raised where the request waits
            waiting.granted.set_exception(error)
            return True
        if not decision.ranked:
            waiting.look_again(now_s)
            return False
        best = decision.ranked[0]
        if best.backend_id != waiting.preferred:
            self.watch.note_change()
        self._queue.move(waiting, decision.backend_ids, best.backend_id, _expected_s(decision))
        waiting.model = best.model
        free_from_s = self._free_from_s(waiting)
        lease = None if free_from_s > now_s else self._take(query, decision)
        if lease is None:
            waiting.look_again(now_s, free_from_s, now_s + self._stands_s(query, decision, now_s))
            return False
        lease.place = waiting.place
        waiting.granted.set_result((decision, lease))
        return True

    def _stands_s(self, query: Query, decision: Decision, now_s: float) -> float:
        """How long at least the choice to wait stands, if nothing happens."""
        best_id = decision.ranked[0].backend_id
        if query.urgency is Priority.BEST_EFFORT and best_id not in query.waits_s:
            return self._yields_s - query.waited_s
        under_way = [lease.under_way for lease in self._fleet.leases(best_id)]
        grows_in_s = wait_grows_in_s(under_way, self._fleet.view(best_id).slots, now_s)
        return patience_s(decision, query, self._governor.setting.value.row, grows_in_s)

    def _free_from_s(self, waiting: Waiting) -> float:
        """From when on requests for the model in memory go before it no longer."""
        at, models = waiting.preferred, self.warm.models_of(waiting.preferred)
        is_followed = any(self._queue.is_asked_for(each, at, waiting.priority) for each in models)
        longest_s = self._settings.max_turn_s
        return self.warm.free_from_s(waiting, waiting.query.hints, longest_s, is_followed=is_followed)

    def _slot_freed(self, backend_id: str) -> None:
        if self._governor.setting.value.row.max_concurrency is not None:
            self._queue.admit(self._choose)
            return
        self._queue.admit(self._choose, backend_id, while_true=lambda: self._has_free(backend_id))

    def _has_free(self, backend_id: str) -> bool:
        view = self._fleet.view(backend_id) if self._fleet.has(backend_id) else None
        return view is not None and view.in_flight < view.slots

    def _full(self, option: str, count: int, query: Query, decision: Decision) -> ProxyError:
        wait_s = min([each.queue_wait_s for each in decision.ranked])
        return queue_full(f"routing.queue.{option}", count, 1 + self._queue.ahead_of(query.urgency), wait_s)

    def _timed_out(self, waiting: Waiting) -> ProxyError:
        return queue_timeout(self._clock.monotonic() - waiting.arrived_s, waiting.query.time_left_s)


def _of(ticket: Ticket) -> Waiting:
    assert isinstance(ticket, Waiting)
    return ticket


def _expected_s(decision: Decision) -> float:
    """How long the best backend is expected to work on it."""
    best = decision.ranked[0]
    return best.time_s - best.queue_wait_s
