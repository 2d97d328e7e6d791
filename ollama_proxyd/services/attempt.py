"""One attempt at one backend, from the lease of a slot to the fact of its end."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import nullcontext
from typing import Any

from ollama_proxyd.core.attempts import AttemptEnded, is_heard
from ollama_proxyd.core.energy import Energy
from ollama_proxyd.core.errors import ASLEEP, DEADLINE_EXCEEDED, DISPLACED, ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Event, Finished, Flow, Timings, Usage
from ollama_proxyd.core.faults import fault_of, lack_of
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.requests import Operation, Request
from ollama_proxyd.core.values import replace
from ollama_proxyd.services.energy import EnergyAccounts
from ollama_proxyd.services.lease import Lease
from ollama_proxyd.services.ports import Clock

GAVE_WAY = {DISPLACED, ASLEEP}
"""Codes of attempts that failed by no fault of their backends, and are made again."""
_UNBOUNDED = nullcontext()
MOST_HELD_EVENTS = 65_536
"""How much of a stream waits for a part that its client gets."""


class Attempt:
    """The events of one backend's answer; leaving the context ends the work upstream and gives the slot back.

    The consumer of `events` gives the last of them to `finish`.
    """

    __slots__ = (
        "_asked_s",
        "_begun_s",
        "_clock",
        "_cost",
        "_energy",
        "_lease",
        "_metered",
        "_request",
        "count_tokens",
        "decision",
        "ended",
        "events",
        "finished",
        "first_s",
        "moved",
        "ranked",
    )

    def __init__(
        self, lease: Lease, request: Request, decision: Decision, clock: Clock, energy: EnergyAccounts
    ) -> None:
        self._lease = lease
        self._request = request
        self.decision = decision
        """What was foreseen, at last without what it rests on."""
        self.ranked = decision.ranked[0]
        self._clock = clock
        self._begun_s = clock.monotonic()
        self._energy = energy
        model, power_w = self.ranked.model, self.ranked.power_w
        self._metered = energy.begin(lease.member.config.spec, model, power_w, request.prompt_tokens)
        self.first_s: float | None = None
        self.events: AsyncGenerator[Event, None] = _nothing()
        """After `begin` those that follow the first ones."""
        self.finished: Finished | None = None
        self.count_tokens: Callable[[], int] = int
        """How many tokens its client has of it by now."""
        self._asked_s: float | None = None
        self._cost: Energy | None = None
        """What it cost, once nothing more is charged."""
        self.moved = False
        """Whether another backend goes on although this one served."""
        self.ended: AttemptEnded | None = None
        """Set when the context was left."""

    @property
    def energy(self) -> Energy:
        """What it cost, as far as is known."""
        if self._cost is not None:
            return self._cost
        return self._metered.energy(stream=self._request.stream, finished=self.finished or Finished())

    def finish(self, finished: Finished) -> None:
        """The last event came: the backend's work is over, and charged."""
        self.finished = finished
        self._charge(finished, self._clock.monotonic())

    def _charge(self, finished: Finished, now_s: float) -> Energy:
        """Have the work charged, once."""
        if self._cost is None:
            self._cost = self._energy.end(self._metered, now_s, finished, stream=self._request.stream)
        return self._cost

    @property
    def elapsed_s(self) -> float:
        """How long ago it began."""
        return self._clock.monotonic() - self._begun_s

    @property
    def is_displaced(self) -> bool:
        """Whether a more urgent request, or the machine's sleep, took its slot."""
        return self.ended is not None and self.ended.displaced

    async def begin(self, time_left_s: float | None, stalled_s: float | None = None) -> tuple[Accepted, list[Event]]:
        """Wait for the first words that the client gets; where they do not come the attempt has ended.

        The backend's own first words come within `time_left_s`, and before it counts as stalled. Of a whole answer only
        the end reaches the client.
        """
        try:
            self._lease.sends(self.ranked.model, self._request.keeps_s)
            self.events = self._lease.backend.answer(self._request, self.ranked.model)
            within_s = _first_of(time_left_s, stalled_s)
            if self._lease.is_yielding:
                async with self._lease.displaceable():
                    accepted, held = await self._first_words(within_s)
            else:
                accepted, held = await self._first_words(within_s)
        except (TimeoutError, StopAsyncIteration) as error:
            failure = self._silence(error, time_left_s, stalled_s)
            await self._close(failure)
            raise failure from None
        except BaseException as error:
            await self._close(error)
            raise
        self._lease.begun(accepted.rest_s, streams=self._request.stream)
        self._asked_s = accepted.asked_s
        return accepted, held

    async def _first_words(self, within_s: float | None) -> tuple[Accepted, list[Event]]:
        """What the backend accepted, and its events up to the first that reaches the client."""
        async with asyncio.timeout(within_s) if within_s is not None else _UNBOUNDED:
            accepted = await anext(self.events)
            held = [event := await self._next()]
        if not isinstance(accepted, Accepted):
            raise TypeError(f"backend {self.ranked.backend_id} answered before it accepted: {accepted!r}")
        self.first_s = self._clock.monotonic()
        self._energy.first(self._metered, self.first_s)
        while not is_heard(self._request, event) and not (self._request.stream and len(held) > MOST_HELD_EVENTS):
            held.append(event := await self._next())
        if isinstance(event, Finished):
            self.finished = event
        return accepted, held

    async def _next(self) -> Event:
        """The next event; none flows before the client has its first words."""
        while isinstance(event := await anext(self.events), Flow):
            pass
        return event

    def timings_after(self, former: Timings) -> Timings:
        """The times of an answer that went on with this attempt, as its client saw them."""
        ended = self.ended
        if ended is None or ended.first_s is None:
            return former
        waited_s = ended.first_s - ended.begun_s
        prompt_s = waited_s if former.prompt_s is None else former.prompt_s + waited_s
        return Timings(prompt_s=prompt_s, decode_s=(former.decode_s or 0.0) + ended.ended_s - ended.first_s)

    def _silence(
        self, error: TimeoutError | StopAsyncIteration, time_left_s: float | None, stalled_s: float | None
    ) -> ProxyError:
        """What it means that no first words came."""
        if self._lease.is_displaced:
            return ProxyError(ErrorKind.UNAVAILABLE, "a more urgent request took the slot", code=DISPLACED)
        who = f"backend {self.ranked.backend_id}"
        if isinstance(error, StopAsyncIteration):
            return ProxyError(ErrorKind.UPSTREAM_FAILED, f"{who} ended its answer before it began")
        if stalled_s is not None and _first_of(time_left_s, stalled_s) == stalled_s:
            message = f"{who} did not begin to answer within {stalled_s:.0f} s, many times what it needed before"
            return ProxyError(ErrorKind.UPSTREAM_TIMEOUT, message, code="stalled")
        message = f"{who} did not begin to answer before deadline_ms"
        return ProxyError(ErrorKind.LIMIT_UNMET, message, param="deadline_ms", code=DEADLINE_EXCEEDED)

    async def __aenter__(self) -> "Attempt":
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        await self._close(error)

    async def _close(self, error: BaseException | None) -> None:
        """The next request gets the slot when it is known how this one ended."""
        with self._lease:
            try:
                await self.events.aclose()
            finally:
                failure = error if isinstance(error, ProxyError) else None
                self.ended = self._end(error)
                self.count_tokens = int  # who counts has this attempt: a cycle would keep the whole request
                self._energy.book(self._metered, self.ended)
                self._lease.report(self.ended, failure)

    def _end(self, error: BaseException | None) -> AttemptEnded:
        request, hints, now_s = self._request, self._request.hints, self._clock.monotonic()
        finished = self.finished or Finished(usage=self._written())
        spent, currency = self._spent(finished.usage)
        ended = AttemptEnded(
            self.ranked.backend_id,
            self.ranked.model,
            request.operation,
            hints.request_id,
            self._begun_s,
            now_s,
            self.first_s,
            request.prompt_tokens,
            request.stream,
            usage=finished.usage,
            timings=finished.timings,
            finish=self.finished.reason if self.finished else None,
            energy=self._charge(finished, now_s),
            spent=spent,
            currency=currency,
            skipped_frames=finished.skipped_frames,
            neighbours=self._lease.neighbours(now_s),
            moved=self.moved,
            resumed=request.spoken is not None,
            needs_vision=request.needs_vision,
            needs_tools=request.needs_tools,
            trace=hints.trace,
            keeps_s=request.keeps_s,
            asked_s=self._asked_s,
            program=hints.asker.program,
            ended_unix_s=self._clock.unix(),
            decision=self.decision.settled,
        )
        return ended if error is None else replace(ended, **_what_ended_it(error, request.operation))

    def _written(self) -> Usage:
        """What an attempt that broke off, moved or was left had written by then."""
        tokens = self.count_tokens()
        return Usage(completion_tokens=tokens, estimated=True) if tokens else Usage()

    def _spent(self, usage: Usage) -> tuple[float, str]:
        """What is to pay, and in which currency; an attempt without first words costs nothing."""
        tariff = self.ranked.tariff
        if tariff is None or self.first_s is None:
            return 0.0, ""
        prompt_tokens = self._request.prompt_tokens if usage.prompt_tokens is None else usage.prompt_tokens
        return tariff.spent(prompt_tokens, usage.completion_tokens or 0), tariff.costs.currency


def _what_ended_it(error: BaseException, operation: Operation) -> Mapping[str, Any]:
    """What is told of an attempt that did not end by itself; a client that leaves is no error."""
    if not isinstance(error, ProxyError):
        is_fault = isinstance(error, Exception)
        return {"error": ErrorKind.INTERNAL if is_fault else None, "cancelled": not is_fault}
    if error.code in GAVE_WAY:
        return {"code": error.code, "displaced": True}
    fault = lack_of(fault_of(error), operation)
    return {"error": error.kind, "code": error.code, "status": error.status, "cause": error.cause, "fault": fault}


def _first_of(one_s: float | None, other_s: float | None) -> float | None:
    if one_s is None or other_s is None:
        return other_s if one_s is None else one_s
    return min(one_s, other_s)


async def _nothing() -> AsyncGenerator[Event, None]:
    """The events of an attempt that has not begun."""
    none: tuple[Event, ...] = ()
    for event in none:
        yield event
