"""Takes a request, has it routed, and brings the answer back event by event."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ollama_proxyd.core.attempts import ALWAYS_RETRIED, Step, Trip, after, is_within_budget, most_useful
from ollama_proxyd.core.breaker import Breaker, Phase
from ollama_proxyd.core.errors import DEADLINE_EXCEEDED, ErrorKind, ProxyError
from ollama_proxyd.core.events import Event, Finished, FinishReason
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.comparison import compare
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.failing import is_being_tried, what_fails
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import Assessment, assess, decide, rank
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.refusal import refusal
from ollama_proxyd.core.requests import Hints, Json, LoadAction, Request
from ollama_proxyd.core.routed import Routed, RoutedError
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.admission import Admission
from ollama_proxyd.services.attempt import Attempt
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.gate import Gate
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.health import MISS_AGE_S, REFUSAL_AGE_S, HealthMonitor
from ollama_proxyd.services.ledger import Ledger
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.request_trace import RequestTrace
from ollama_proxyd.services.settings import GatewaySettings
from ollama_proxyd.services.unloading import Settled, Unloader

OVERLOAD_RETRY_S = 1.0
TRIAL_WAIT_S = 15.0
"""For how long a request waits for another one to find out whether a failing backend serves again."""
EARLIEST_DEADLINE_MS = 10**12
"""The year 2001; what is below was meant as a span of time."""


@dataclass(frozen=True, slots=True)
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


class Gateway:
    """The way through: admission, routing, retries before the first byte, and the books."""

    def __init__(self, deps: GatewayDeps, settings: GatewaySettings) -> None:
        self._deps = deps
        self._settings = settings

    @property
    def in_flight(self) -> int:
        """How many requests are under way."""
        return self._deps.activity.in_flight

    def reconfigure(self, settings: GatewaySettings) -> None:
        """Apply other limits from now on."""
        self._settings = settings

    def check_open(self) -> None:
        """Raise ProxyError, with the reason, while no new request is let in."""
        self._deps.gate.check()

    def explain(self, query: Query, mode: Mode | None = None, system: SystemState | None = None) -> Decision:
        """Where a request would go, with every term, under this or another mode and state; nothing is changed."""
        deps = self._deps
        setting = deps.governor.setting.value
        if mode is not None or system is not None:
            setting = deps.governor.imagine(mode, system)
        query = replace(query, now_s=deps.clock.monotonic())
        if query.time_left_s is None:
            query = replace(query, time_left_s=self._time_left_s(query.hints))
        query = deps.admission.foresee(query)
        return rank(query, deps.fleet.views.value, system or deps.system.value, setting)

    def refusal(self, query: Query, decision: Decision) -> ProxyError:
        """What a client is told when nothing was ranked."""
        return refusal(query, decision, self._deps.fleet.views.value, self._deps.health.interval_s)

    async def answer(self, request: Request) -> AsyncGenerator[Routed | Event, None]:
        """The answer's events, the first being Routed.

        Raises ProxyError. Until the first event nothing has been promised to the client, so an error may still
        become a status. Closing the generator cancels the work upstream.
        """
        deps = self._deps
        trace = RequestTrace(request, deps.clock, deps.clock.monotonic())
        deps.activity.begin()
        try:
            attempt, routed, held = await self._begin(request, trace)
            async with attempt:
                yield routed
                for event in held:
                    yield event
                self._tell(trace, has_begun=True)  # the client has its first words, and does not wait for what follows
                async for event in attempt.events:
                    if type(event) is Finished:
                        attempt.finished = event
                    yield event
            trace.error = None
        except ProxyError as error:
            trace.error = error.kind
            if trace.decision is None:
                raise
            raise RoutedError.of(error, trace.decision, trace.backend_id) from error
        except (asyncio.CancelledError, GeneratorExit):
            trace.error, trace.cancelled = None, True
            raise
        finally:
            deps.activity.end()
            if not trace.is_told:
                self._tell(trace, has_begun=False)
            deps.ledger.record(trace.close())

    def _tell(self, trace: RequestTrace, *, has_begun: bool) -> None:
        """Tell where the request went; where an answer has begun, also where Performance would have sent it."""
        deps = self._deps
        if has_begun and trace.decision is not None and trace.assessment is not None:
            trace.instead = compare(trace.decision, trace.assessment, deps.governor.modes.value.table[Mode.PERFORMANCE])
        trace.is_told = has_begun
        deps.ledger.note_routed(trace.routed())

    async def show(self, backend_id: str, model: str, body: Mapping[str, Json]) -> Mapping[str, Json]:
        """A model's details as a backend gives them; raises ProxyError."""
        self.check_open()
        self._deps.activity.begin()
        try:
            return await self._deps.fleet.backend(backend_id).show(model, body)
        finally:
            self._deps.activity.end()

    async def _begin(self, request: Request, trace: RequestTrace) -> tuple[Attempt | Settled, Routed, list[Event]]:
        """Try the candidates, cheapest first, until the client gets a part of the answer of one."""
        self._check_capacity()
        if request.load_action is LoadAction.UNLOAD:
            return await self._unload(request, trace)
        query, failures = self._query(request), list[ProxyError]()
        while True:
            decision = await self._choose(query, trace, failures)
            decision, lease = await self._deps.admission.lease(query, decision, partial(self._choose_again, trace))
            best = decision.ranked[0]
            attempt = Attempt(lease, request, best, self._deps.clock)
            trace.attempts.append(attempt)
            try:
                accepted, held = await attempt.begin(self._time_left_s(request.hints))
            except ProxyError as error:
                failures.append(error)
                if after(self._trip(trace), error) is Step.GIVE_UP:
                    raise most_useful(failures) from error
                query = replace(
                    query,
                    tried=query.tried | {best.backend_id},
                    now_s=self._deps.clock.monotonic(),
                    time_left_s=self._time_left_s(request.hints),
                )
            else:
                return attempt, Routed(decision, best.backend_id, accepted.ignored_fields), held

    async def _unload(self, request: Request, trace: RequestTrace) -> tuple[Attempt | Settled, Routed, list[Event]]:
        """Have a model unloaded where it is, as the backends say now; no backend is chosen for that."""
        query, deps = self._query(request), self._deps
        await deps.health.catch_up(0.0)
        unloader = Unloader(deps.fleet)
        if not (holders := unloader.holders(query)):
            raise self.refusal(query, self.explain(query))
        routed = await unloader.unload(request, holders, deps.governor.setting.value)
        trace.decision = routed.decision
        return Settled(), routed, [Finished(FinishReason.UNLOAD)]

    def _trip(self, trace: RequestTrace) -> Trip:
        attempts = len(trace.attempts)
        within = attempts <= ALWAYS_RETRIED or is_within_budget([len(e.retried) for e in self._deps.ledger.recent()])
        return Trip(attempts, self._settings.retries, within)

    async def _choose(self, query: Query, trace: RequestTrace, failures: Sequence[ProxyError]) -> Decision:
        """A decision with a backend; nothing waits after it was taken, so that a free slot can be taken at once.

        A picture from idle times is made anew before it refuses anything. Where there is no other backend after
        failures, the most useful of them is raised.
        """
        foresee = self._deps.admission.foresee
        assessment, decision = self._decide(foresee(query), trace)
        if not decision.ranked and await self._deps.health.catch_up(_most_age_s(decision)):
            assessment, decision = self._decide(foresee(query), trace)
        if not decision.ranked and is_being_tried(decision) and await self._trial_ended(query):
            query = replace(query, now_s=self._deps.clock.monotonic(), spares_failing=True)
            assessment, decision = self._decide(foresee(query), trace)
        if failures and not decision.ranked:
            raise most_useful(failures)
        return self._noted(query, trace, assessment, decision)

    def _choose_again(self, trace: RequestTrace, query: Query) -> Decision:
        """A decision for a request that waits; raises ProxyError where nothing can serve it."""
        time_left_s, now_s = self._time_left_s(query.hints), self._deps.clock.monotonic()
        query = replace(query, time_left_s=time_left_s, now_s=now_s)
        assessment, decision = self._decide(query, trace)
        if not decision.ranked and is_being_tried(decision):
            return decision
        return self._noted(query, trace, assessment, decision)

    def _noted(self, query: Query, trace: RequestTrace, assessment: Assessment, decision: Decision) -> Decision:
        trace.assessment, trace.decision = assessment, decision
        if not decision.ranked:
            raise self.refusal(query, decision)
        return decision

    async def _trial_ended(self, query: Query) -> bool:
        """Wait while another request tries the backend that failed; whether it was in time."""
        left_s = TRIAL_WAIT_S if query.time_left_s is None else min(query.time_left_s, TRIAL_WAIT_S)
        try:
            async with asyncio.timeout(left_s):
                await self._deps.fleet.views.until(
                    lambda views: not any(each.phase is Phase.HALF_OPEN for view in views for each in view.breakers)
                )
        except TimeoutError:
            return False
        return True

    def _decide(self, query: Query, trace: RequestTrace) -> tuple[Assessment, Decision]:
        """A decision and what it rests on."""
        deps = self._deps
        assessment = assess(query, deps.fleet.views.value, deps.system.value, deps.governor.setting.value)
        decision = decide(assessment)
        if (last := trace.last) is None or last.error is None:
            return assessment, decision
        cause = None if last.fault is None else what_fails(Breaker(last.fault, last.work, status=last.status))
        why = Reason("tried_again", reason=decision.reason, backend_id=last.backend_id, cause=cause)
        return assessment, replace(decision, reason=why)

    def _query(self, request: Request) -> Query:
        left_s, deadline_ms = self._time_left_s(request.hints), request.hints.deadline_ms
        if left_s is not None and left_s <= 0 and deadline_ms is not None:
            message = f"deadline_ms lies {-left_s:.1f} s in the past, so the request was not routed"
            if deadline_ms < EARLIEST_DEADLINE_MS:
                message = f"deadline_ms is a moment since 1970 in ms; did you mean {deadline_ms} ms from now?"
            raise ProxyError(ErrorKind.LIMIT_UNMET, message, param="deadline_ms", code=DEADLINE_EXCEEDED)
        return Query(
            model=request.model,
            operation=request.operation,
            prompt_tokens=request.prompt_tokens,
            max_tokens=request.max_tokens,
            needs_vision=request.needs_vision,
            needs_tools=request.needs_tools,
            now_s=self._deps.clock.monotonic(),
            time_left_s=left_s,
            hints=request.hints,
        )

    def _time_left_s(self, hints: Hints) -> float | None:
        """Seconds until the client's deadline, below zero when it has passed; None when it set none."""
        return None if hints.deadline_ms is None else hints.deadline_ms / 1000 - self._deps.clock.unix()

    def _check_capacity(self) -> None:
        self._deps.gate.check()
        limit = self._settings.max_in_flight
        if self._deps.activity.in_flight > limit:
            message = f"{limit} requests are under way, the most that server.max_in_flight allows; try again"
            raise ProxyError(ErrorKind.OVERLOADED, message, retry_after_s=OVERLOAD_RETRY_S)


def _most_age_s(refused: Decision) -> float:
    """How old the picture may be by which nothing was ranked: models come and go without a word."""
    is_missed = any(no.code == "model_not_held" for each in refused.rejected for no in each.rejections)
    return MISS_AGE_S if is_missed else REFUSAL_AGE_S
