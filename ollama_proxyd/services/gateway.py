"""Takes a request, has it routed, and brings the answer back event by event."""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

from ollama_proxyd.core.attempts import ALWAYS_RETRIED, Step, Trip, after, is_within_budget
from ollama_proxyd.core.continuation import Obstacle
from ollama_proxyd.core.deferral import after_wait, outlook
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Event, Finished, FinishReason, Flow, Resumed
from ollama_proxyd.core.model_names import Synonyms
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.failing import being_tried, is_about_to_show
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import Assessment, assess, decide, rank
from ollama_proxyd.core.policy.stall import bears, stalled_after_s
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.refusal import refusal
from ollama_proxyd.core.requests import Json, LoadAction, Request
from ollama_proxyd.core.rerouting import after_attempt
from ollama_proxyd.core.routed import Routed
from ollama_proxyd.core.values import replace, value
from ollama_proxyd.core.what_if import with_unused
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.admission import Admission
from ollama_proxyd.services.attempt import GAVE_WAY, Attempt
from ollama_proxyd.services.booking import Booking
from ollama_proxyd.services.budget import DailyBudget
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.circuits import trial_failed
from ollama_proxyd.services.deferral import Deferral
from ollama_proxyd.services.delivery import Delivery
from ollama_proxyd.services.energy import EnergyAccounts
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.gate import Gate
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.health import HealthMonitor, most_age_s
from ollama_proxyd.services.ledger import Ledger
from ollama_proxyd.services.migrator import Migrator, MigratorDeps
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.queries import Queries
from ollama_proxyd.services.request_trace import RequestTrace
from ollama_proxyd.services.settings import GatewaySettings
from ollama_proxyd.services.traces import Traces
from ollama_proxyd.services.unloading import Settled, Unloader

OVERLOAD_RETRY_S = 1.0

Begun: TypeAlias = tuple[Attempt | Settled, Routed | Resumed, list[Event]]
"""An attempt, what is told of it first, and the events that it has given already."""


@value
class GatewayDeps:
    """What a gateway works with."""

    fleet: Fleet
    health: HealthMonitor
    governor: Governor
    ledger: Ledger
    system: Cell[SystemState]
    clock: Clock
    activity: Activity
    gate: Gate
    admission: Admission
    energy: EnergyAccounts
    budget: DailyBudget


class Gateway:
    """The way through: admission, routing, retries before the first byte, and the books."""

    def __init__(self, deps: GatewayDeps, settings: GatewaySettings) -> None:
        self._deps, self._settings = deps, settings
        self.traces, self.booking = Traces(), Booking(deps.clock, deps.activity, deps.ledger, deps.governor)
        self.queries = Queries(deps.fleet, deps.clock, Synonyms(settings.aliases))
        self.migrator = Migrator(MigratorDeps(deps.fleet, deps.governor, deps.system, deps.clock), self.queries)
        self.migrator.failover = settings.failover
        self.deferral = Deferral(deps.system, deps.activity, deps.clock)
        deps.system.listen(deps.admission.watch.note_change)

    @property
    def synonyms(self) -> Synonyms:
        """The further names of models."""
        return self.queries.synonyms

    @property
    def in_flight(self) -> int:
        """How many requests are under way."""
        return self._deps.activity.in_flight

    def reconfigure(self, settings: GatewaySettings) -> None:
        """Apply other limits and names from now on."""
        self._settings = settings
        self.queries.synonyms = Synonyms(settings.aliases)
        self.migrator.failover = settings.failover

    def check_open(self) -> None:
        """Raise ProxyError, with the reason, while no new request is let in."""
        self._deps.gate.check()

    def explain(self, query: Query, mode: Mode | None = None, system: SystemState | None = None) -> Decision:
        """Where a request would go, with every term, under this or another mode and state; nothing is changed."""
        deps = self._deps
        setting = deps.governor.setting.value
        if mode is not None or system is not None:
            setting = deps.governor.imagine(mode, system)
        query = replace(query, now_s=deps.clock.monotonic(), synonyms=self.synonyms.of(query.model or ""))
        if query.time_left_s is None:
            query = replace(query, time_left_s=self.queries.time_left_s(query.hints))
        query = deps.admission.foresee(query)
        decision = rank(query, deps.fleet.views.value, system or deps.system.value, setting)
        decision = after_wait(decision, outlook(query.hints, system or deps.system.value))
        decision = with_unused(decision, system, (view.spec for view in deps.fleet.views.value))
        return deps.budget.judge(decision, query.hints)

    def refusal(self, query: Query, decision: Decision) -> ProxyError:
        """What a client is told when nothing was ranked."""
        deps = self._deps
        return refusal(query, decision, deps.fleet.views.value, deps.health.interval_s, self.synonyms)

    async def answer(self, request: Request, *, flows: bool = False) -> AsyncGenerator[Routed | Event, None]:
        """The answer's events, the first being Routed; `Flow` is among them for who takes what it offers.

        Raises ProxyError. Until the first event nothing has been promised to the client, so an error may still
        become a status. Closing the generator cancels the work upstream.
        """
        with self.booking.of(request) as trace:
            delivery = Delivery(request, lambda: trace.energy)
            self.check_capacity()
            await self._defer(request, trace)
            while delivery.finished is None:
                attempt, first, held = await self._begin(delivery, trace)
                try:
                    async with attempt:
                        yield first
                        for event in held:
                            yield delivery.hear(event)
                        self.booking.tell(trace, has_begun=True)  # its client has words and does not wait for it
                        async for event in attempt.events:
                            if flows or not isinstance(event, Flow):
                                yield delivery.hear(event)
                            if delivery.is_to_move and await self.queries.moves(delivery):
                                break
                except ProxyError as error:
                    delivery.break_off(trace.attempts[-1].ranked.backend_id, error)
                    await self._resume(delivery, trace, after(self._trip(trace, begun=True), error))
                    if (end := delivery.end_at_limit()) is not None:
                        yield Resumed()
                        yield end
            trace.usage = delivery.finished.usage

    async def _defer(self, request: Request, trace: RequestTrace) -> None:
        """Wait for the charger, where the request asks for it; before and after, the budget may refuse it."""
        self._deps.budget.check(request)
        if request.hints.defer is None:
            return
        left_s = self.queries.time_left_s(request.hints)
        trace.deferral = await self.deferral.wait(request.hints, left_s, self._deps.admission.max_length)
        trace.deferred_s = trace.elapsed_s
        self._deps.budget.check(request)

    async def _resume(self, delivery: Delivery, trace: RequestTrace, step: Step) -> None:
        """Have the answer go on elsewhere; raise what broke it where it cannot."""
        if step is Step.RESUME:
            trace.obstacle = await self.queries.resume(delivery, self._settings.failover)
        if step is not Step.RESUME or trace.obstacle is not None:
            raise delivery.take_failure()

    async def show(self, backend_id: str, model: str, body: Mapping[str, Json]) -> Mapping[str, Json]:
        """A model's details as a backend gives them; raises ProxyError."""
        self.check_open()
        with self.busy():
            return await self._deps.fleet.backend(backend_id).show(model, body)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Something is under way that is no answer, and that sleep and the end of the daemon wait for."""
        self._deps.activity.begin()
        try:
            yield
        finally:
            self._deps.activity.end()

    async def _begin(self, delivery: Delivery, trace: RequestTrace) -> Begun:
        """Try the candidates, cheapest first, until the client gets a part of the answer of one."""
        if delivery.request.load_action is LoadAction.UNLOAD:
            return await self._unload(delivery, trace)
        while True:
            query, is_displaced = self.queries.of(delivery), trace.is_displaced
            if is_displaced:
                query = replace(query, waited_s=trace.elapsed_s - trace.deferred_s)
            decision = await self._choose(query, trace, delivery)
            choose_again = partial(self._choose_again, trace, delivery)
            is_back = is_displaced or delivery.begun is not None
            decision, lease = await self._deps.admission.lease(query, decision, choose_again, is_back=is_back)
            best = decision.ranked[0]
            view = self._deps.fleet.view(best.backend_id)
            stalled_s = stalled_after_s(view, best, delivery.request)
            asked = self.traces.entered(bears(view, best, delivery.request))
            attempt = Attempt(lease, asked, decision, self._deps.clock, self._deps.energy)
            trace.attempts.append(attempt)
            self.queries.note_sent(best, delivery)
            trace.queue_wait_s += lease.under_way.begun_s - query.now_s
            try:
                accepted, held = await attempt.begin(self.queries.left_s(query), stalled_s)
            except ProxyError as error:
                if error.code in GAVE_WAY:
                    continue
                delivery.fail(best.backend_id, error)
                if delivery.begun is None and after(self._trip(trace), error) is Step.GIVE_UP:
                    raise delivery.take_failure() from None
            else:
                trace.first_s = trace.first_s or attempt.first_s
                is_new = delivery.begun is None
                trace.resumed += () if is_new else (delivery.cause,)
                delivery.begin(attempt, accepted, self._deps.fleet.view(best.backend_id))
                self.migrator.watch(delivery)
                deferred_s = None if trace.deferral is None else trace.deferred_s
                way = (trace.queue_wait_s, lease.place, deferred_s, None, accepted.content_type)
                told = Routed(decision, best.backend_id, accepted.ignored_fields, *way)
                return attempt, told if is_new else Resumed(), held

    async def _unload(self, delivery: Delivery, trace: RequestTrace) -> Begun:
        """Have a model unloaded where it is, as the backends say now; no backend is chosen for that."""
        query, deps = self.queries.of(delivery), self._deps
        await deps.health.catch_up(0.0)
        unloader = Unloader(deps.fleet)
        if not (holders := unloader.holders(query)):
            raise self.refusal(query, self.explain(query))
        routed = await unloader.unload(delivery.request, holders, deps.governor.setting.value)
        trace.decision = routed.decision
        return Settled(), routed, [Finished(FinishReason.UNLOAD)]

    def _trip(self, trace: RequestTrace, *, begun: bool = False) -> Trip:
        attempts = trace.tries
        within = attempts <= ALWAYS_RETRIED or is_within_budget([len(e.retried) for e in self._deps.ledger.recent()])
        return Trip(attempts, self._settings.retries, within, begun)

    async def _choose(self, query: Query, trace: RequestTrace, delivery: Delivery) -> Decision:
        """A decision with a backend; nothing waits after it was taken, so that a free slot can be taken at once.

        A picture from idle times is made anew before it refuses anything. Where there is no other backend after
        failures, the most useful of them is raised.
        """
        foresee = self._deps.admission.foresee
        assessment, decision = self._decide(foresee(query), trace, delivery)
        if not decision.ranked and await self._deps.health.catch_up(most_age_s(decision)):
            assessment, decision = self._decide(foresee(query), trace, delivery)
        views = self._deps.fleet.views
        while not decision.ranked and (tried := being_tried(decision)):
            if (failed := await trial_failed(views, tried, self.queries.left_s(query))) is None:
                break
            query = replace(query, now_s=self._deps.clock.monotonic(), spares_failing=failed)
            assessment, decision = self._decide(foresee(query), trace, delivery)
        return self._noted(query, trace, delivery, (assessment, decision))

    def _choose_again(self, trace: RequestTrace, delivery: Delivery, query: Query) -> Decision:
        """A decision for a request that waits; raises ProxyError where nothing can serve it."""
        time_left_s, now_s = self.queries.left_s(query), self._deps.clock.monotonic()
        query = replace(query, time_left_s=time_left_s, now_s=now_s, tried=delivery.avoided)
        assessment, decision = self._decide(query, trace, delivery)
        if not decision.ranked and is_about_to_show(decision):
            return decision
        return self._noted(query, trace, delivery, (assessment, decision))

    def _noted(
        self, query: Query, trace: RequestTrace, delivery: Delivery, decided: tuple[Assessment, Decision]
    ) -> Decision:
        """The decision, if it has a backend; else what failed before is raised, or the refusal."""
        if not decided[1].ranked and (delivery.tried or delivery.begun):
            trace.obstacle = None if delivery.begun is None else Obstacle.NO_BACKEND
            raise delivery.take_failure()
        trace.assessment, decision = decided
        trace.decision = decision = after_wait(decision, trace.deferral)
        if not decision.ranked:
            raise self.refusal(query, decision)
        return decision

    def _decide(self, query: Query, trace: RequestTrace, delivery: Delivery) -> tuple[Assessment, Decision]:
        """A decision and what it rests on; an answer that was to move goes on where it was if nothing else can."""
        deps = self._deps
        assessment = assess(query, deps.fleet.views.value, deps.system.value, deps.governor.setting.value)
        decision = decide(assessment)
        if delivery.left and not decision.ranked:
            delivery.left = frozenset()
            return self._decide(replace(query, tried=delivery.tried), trace, delivery)
        return assessment, after_attempt(decision, trace.last, delivery.moved, is_rest=query.able is not None)

    def check_capacity(self, arriving: int = 0) -> None:
        """Raise ProxyError where no more requests are let in, besides those whose bodies are being read."""
        self._deps.gate.check()
        limit = self._settings.max_in_flight
        if self._deps.activity.in_flight + arriving > limit:
            message = f"{limit} requests are under way, the most that server.max_in_flight allows; try again"
            raise ProxyError(ErrorKind.OVERLOADED, message, retry_after_s=OVERLOAD_RETRY_S)
