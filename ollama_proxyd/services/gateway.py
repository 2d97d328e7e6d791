"""Takes a request, has it routed, and brings the answer back event by event."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace

from ollama_proxyd.core.errors import UNREACHABLE, ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Event
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.comparison import Moment, compare
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import rank
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.refusal import refusal
from ollama_proxyd.core.requests import Hints, Json, Request
from ollama_proxyd.services.account import Account
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.attempt import Attempt
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.gate import Gate
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.health import HealthMonitor
from ollama_proxyd.services.ledger import Ledger
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.settings import GatewaySettings

RETRYABLE = frozenset({ErrorKind.UPSTREAM_FAILED, ErrorKind.UPSTREAM_TIMEOUT})
"""Failures after which another backend may do better."""

OVERLOAD_RETRY_S = 1.0


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


class Gateway:
    """The way through: admission, routing, retries before the first byte, and the books."""

    def __init__(self, around: GatewayDeps, settings: GatewaySettings) -> None:
        self._around = around
        self._settings = settings

    @property
    def in_flight(self) -> int:
        """How many requests are under way."""
        return self._around.activity.in_flight

    def reconfigure(self, settings: GatewaySettings) -> None:
        """Apply other limits from now on."""
        self._settings = settings

    def check_open(self) -> None:
        """Raise ProxyError, with the reason, while no new request is let in."""
        self._around.gate.check()

    def explain(self, query: Query, mode: Mode | None = None, system: SystemState | None = None) -> Decision:
        """Where a request would go, with every term, under this or another mode and state; nothing is changed."""
        around = self._around
        setting = around.governor.setting.value
        if mode is not None or system is not None:
            setting = around.governor.imagine(mode, system)
        if query.time_left_s is None:
            query = replace(query, time_left_s=self._time_left_s(query.hints))
        return rank(query, around.fleet.views.value, system or around.system.value, setting)

    def refusal(self, query: Query, decision: Decision) -> ProxyError:
        """What a client is told when nothing was ranked."""
        return refusal(query, decision, self._around.fleet.views.value, self._around.health.interval_s)

    async def answer(self, request: Request) -> AsyncGenerator[Event, None]:
        """The answer's events, the first being Accepted with the decision.

        Raises ProxyError. Until the first event nothing has been promised to the client, so an error may still
        become a status. Closing the generator cancels the work upstream.
        """
        account = Account(request, self._around.clock)
        attempt: Attempt | None = None
        is_told = False
        self._enter()
        try:
            attempt, accepted, event = await self._begin(request, account)
            account.note(event)
            yield accepted
            yield event
            is_told = True  # from here on: the client has its first words, and nobody waits for what follows
            self._tell_where(account, has_begun=True)
            async for event in attempt.events:
                account.note(event)
                yield event
        except ProxyError as error:
            self._fail(account, error)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            account.cancelled = True
            raise
        finally:
            if attempt is not None:
                await attempt.close()
            self._leave()
            if not is_told:
                self._tell_where(account, has_begun=False)
            self._around.ledger.record(account.close())

    def _tell_where(self, account: Account, *, has_begun: bool) -> None:
        """Tell where the request went; where an answer has begun, also where Performance would have sent it."""
        around = self._around
        if has_begun and account.decision is not None and account.moment is not None:
            account.instead = compare(account.decision, account.moment, around.governor.table[Mode.PERFORMANCE])
        around.ledger.note_routed(account.routed())

    async def show(self, backend_id: str, model: str, body: Mapping[str, Json]) -> Mapping[str, Json]:
        """A model's details as a backend gives them; raises ProxyError."""
        self.check_open()
        self._enter()
        try:
            return await self._around.fleet.backend(backend_id).show(model, body)
        finally:
            self._leave()

    async def _begin(self, request: Request, account: Account) -> tuple[Attempt, Accepted, Event]:
        """Try the candidates, cheapest first, until one begins to answer."""
        self._check_capacity()
        query = self._query(request)
        failure: ProxyError | None = None
        for _ in range(1 + self._settings.retries):
            moment, decision = await self._choose(query, failure)
            if failure is not None and not decision.ranked:
                raise failure
            account.decision, account.moment = decision, moment
            if not decision.ranked:
                raise self.refusal(query, decision)
            attempt = Attempt(self._around.fleet, request, decision.ranked[0])
            account.sent(decision.ranked[0], queued=attempt.queued)
            try:
                accepted, event = await attempt.begin(query.time_left_s)
            except ProxyError as error:
                await attempt.close()
                if error.kind not in RETRYABLE or error.code == "deadline_exceeded":
                    raise
                self._blame(account, error)
                failure = error
                failure.backend_id = decision.ranked[0].backend_id
                query = replace(query, tried=query.tried | {decision.ranked[0].backend_id})
            except BaseException:
                await attempt.close()
                raise
            else:
                return attempt, replace(accepted, decision=decision), event
        raise failure or ProxyError(ErrorKind.INTERNAL, "no attempt was allowed: routing.retries is negative")

    async def _choose(self, query: Query, failure: ProxyError | None) -> tuple[Moment, Decision]:
        """A decision and what it rests on; a picture from idle times is made anew before it refuses anything."""
        moment, decision = self._decide_now(query, failure)
        if not decision.ranked and await self._around.health.catch_up():
            moment, decision = self._decide_now(query, failure)
        return moment, decision

    def _decide_now(self, query: Query, failure: ProxyError | None) -> tuple[Moment, Decision]:
        moment = Moment(query, self._around.fleet.views.value, self._around.system.value)
        return moment, self._decide(query, failure)

    def _decide(self, query: Query, failure: ProxyError | None) -> Decision:
        decision = self.explain(query)
        if failure is None:
            return decision
        status = f", status {failure.status}" if failure.status else ""
        failed = f"{failure.backend_id} failed ({failure.kind.value}{status})"  # its own words may quote the prompt
        return replace(decision, reason=Reason("tried_again", reason=decision.reason, detail=failed))

    def _query(self, request: Request) -> Query:
        left_s = self._time_left_s(request.hints)
        if left_s is not None and left_s <= 0:
            message = f"deadline_ms passed {-left_s:.1f} s before the request was routed"
            raise ProxyError(ErrorKind.UPSTREAM_TIMEOUT, message, param="deadline_ms", code="deadline_exceeded")
        return Query(
            model=request.model,
            operation=request.operation,
            prompt_tokens=request.prompt_tokens,
            max_tokens=request.max_tokens,
            needs_vision=request.needs_vision,
            time_left_s=left_s,
            hints=request.hints,
        )

    def _time_left_s(self, hints: Hints) -> float | None:
        """Seconds until the client's deadline, below zero when it has passed; None when it set none."""
        return None if hints.deadline_ms is None else hints.deadline_ms / 1000 - self._around.clock.unix()

    def _fail(self, account: Account, error: ProxyError) -> None:
        account.error = error.kind
        error.decision = account.decision
        error.backend_id = account.ranked.backend_id if account.ranked else None
        if error.kind in RETRYABLE:
            self._blame(account, error)

    def _blame(self, account: Account, error: ProxyError) -> None:
        """One that cannot be reached is down; one that broke off is looked at again; one that is slow is neither."""
        if account.ranked is None or error.kind is not ErrorKind.UPSTREAM_FAILED or error.status is not None:
            return
        if error.code == UNREACHABLE and self._around.fleet.has(account.ranked.backend_id):
            self._around.fleet.note_unreachable(account.ranked.backend_id, error.message)
        self._around.fleet.check_soon()

    def _check_capacity(self) -> None:
        self.check_open()
        limit = self._settings.max_in_flight
        if self.in_flight > limit:
            message = f"{limit} requests are under way, the most that server.max_in_flight allows; try again"
            raise ProxyError(ErrorKind.OVERLOADED, message, retry_after_s=OVERLOAD_RETRY_S)

    def _enter(self) -> None:
        self._around.activity.begin()

    def _leave(self) -> None:
        self._around.activity.end()
