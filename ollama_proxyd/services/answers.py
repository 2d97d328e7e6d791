"""Answers requests: the same one that was answered before from memory, any other through the gateway."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from enum import Enum
from math import inf
from typing import NamedTuple

from ollama_proxyd.core.answer_cache import (
    BYTES_PER_MB,
    MOST_SHARE,
    CacheSettings,
    Gathering,
    Holder,
    Kept,
    KeptAnswers,
    key_of,
)
from ollama_proxyd.core.energy import Energy
from ollama_proxyd.core.events import Event, Finished
from ollama_proxyd.core.fleet import Health
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.eligibility import held
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.refusal import time_to_deadline_s
from ollama_proxyd.core.requests import Priority, Request
from ollama_proxyd.core.routed import Routed
from ollama_proxyd.core.values import value
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.gateway import Gateway
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.tasks import Tasks


@value
class AnswersDeps:
    """What the cache works with."""

    gateway: Gateway
    fleet: Fleet
    governor: Governor
    clock: Clock
    activity: Activity


HELD_BACK_S = 2.0
"""From so long on a client that takes its answer slowly lets the others that wait for it go on."""
_LOOK_S = 1.0


class Asked(NamedTuple):
    """What the same requests under way have in common: none waits for one that may wait longer than it."""

    key: bytes
    priority: Priority | None
    defer: str | None
    deadline_ms: int | None
    max_latency_ms: float | None


class End(Enum):
    """How the first of several requests that are the same has ended."""

    OVER = "over"
    LEFT = "left"
    """Its client left or takes its answer too slowly, so the next one takes its place."""


class First:
    """The first of several requests that are the same; the others wait for its answer."""

    def __init__(self, clock: Clock) -> None:
        self.ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._clock = clock
        self._held_s = 0.0
        self._handed_s: float | None = None

    def hand_over(self) -> None:
        """Its client gets an event now."""
        self._handed_s = self._clock.monotonic()

    def go_on(self) -> None:
        """Its client has taken the event."""
        self._held_s, self._handed_s = self.held_s, None

    @property
    def held_s(self) -> float:
        """How long its client has held the answer back so far."""
        return self._held_s + (0.0 if self._handed_s is None else self._clock.monotonic() - self._handed_s)


class Answers:
    """The one way in for requests; the cache holds nothing while it is off."""

    def __init__(self, deps: AnswersDeps, settings: CacheSettings) -> None:
        self._deps = deps
        self._settings = settings
        self._kept = KeptAnswers()
        self._first: dict[Asked, First] = {}
        """The first of the same requests under way; the others wait for its answer."""
        self._were_down: set[str] = set()

    @property
    def size_bytes(self) -> int:
        """How much memory the kept answers take, about."""
        return self._kept.size_bytes

    def __len__(self) -> int:
        return len(self._kept)

    def follow(self, tasks: Tasks) -> None:
        """Forget what a backend that comes back may no longer hold."""
        tasks.start("answers", self._deps.fleet.summary.follow(lambda _: self.look()))

    def reconfigure(self, settings: CacheSettings) -> None:
        """Apply other limits from now on; off means empty."""
        self._settings = settings
        self._kept.shrink(settings.max_size_mb * BYTES_PER_MB if settings.enabled else 0)

    def answer(self, request: Request, *, flows: bool = False) -> AsyncGenerator[Routed | Event, None]:
        """The answer's events, the first being Routed; as the gateway's own, whose errors it raises.

        Nothing flows where answers are kept.
        """
        return self._answer(request) if self._settings.enabled else self._deps.gateway.answer(request, flows=flows)

    async def _answer(self, request: Request) -> AsyncGenerator[Routed | Event, None]:
        key, arrived_s = key_of(request), self._deps.clock.monotonic()
        found = None if key is None else await self._await_same(key, request)
        if found is not None:
            async for event in self._again(request, found, arrived_s):
                yield event
            return
        with self._leading(key, request) as first:
            async with aclosing(self._deps.gateway.answer(request)) as events:
                async for event in events if key is None else self._keeping(key, request, events):
                    first.hand_over()
                    yield replace(event, is_hit=False) if isinstance(event, Routed) else event
                    first.go_on()

    async def _await_same(self, key: bytes, request: Request) -> Kept | None:
        """The kept answer; where the same request is under way, its answer is waited for.

        Where that fails or is not kept, each goes its own way: what it meets may differ.
        """
        end = End.LEFT
        while (found := self._find(key, request)) is None and end is End.LEFT:
            asked = _asked(key, request)
            first = self._first.get(asked) if request.hints.cache.may_take else None
            if first is None:
                break
            end = await self._wait(first, request)
            if end is End.LEFT and self._first.get(asked) is first:
                del self._first[asked]
        return found

    async def _wait(self, first: First, request: Request) -> End:
        """Wait until the first one has ended or is held back by its client, until the deadline at most."""
        deps, deadline_ms = self._deps, request.hints.deadline_ms
        deps.gateway.check_capacity()
        deps.activity.begin()
        try:
            with deps.activity.waiting():
                async with asyncio.timeout(None if deadline_ms is None else deadline_ms / 1000 - deps.clock.unix()):
                    while first.held_s < HELD_BACK_S and not first.ended.done():
                        await asyncio.wait((first.ended,), timeout=_LOOK_S)
                    return first.ended.result() if first.ended.done() else End.LEFT
        except TimeoutError:
            return End.OVER
        finally:
            deps.activity.end()

    @contextmanager
    def _leading(self, key: bytes | None, request: Request) -> Iterator[First]:
        """Have the same requests that come meanwhile wait for the answer, where it may be kept for them."""
        first = First(self._deps.clock)
        if key is None or not request.hints.cache.may_keep or (asked := _asked(key, request)) in self._first:
            yield first
            return
        self._first[asked], end = first, End.OVER
        try:
            yield first
        except (asyncio.CancelledError, GeneratorExit):
            end = End.LEFT
            raise
        finally:
            if self._first.get(asked) is first:
                del self._first[asked]
            first.ended.set_result(end)

    def _find(self, key: bytes, request: Request) -> Kept | None:
        """The kept answer, where its backend still has that model and the request takes it."""
        now_s, control = self._deps.clock.monotonic(), request.hints.cache
        self._kept.expire(now_s - self._settings.max_age_s)
        if not control.may_take:
            return None
        found = self._kept.find(key, -inf if control.max_age_s is None else now_s - control.max_age_s)
        if found is not None and self._holder(found.holder.spec.id, request) != found.holder:
            self._kept.forget(key)
            return None
        return found

    async def _again(self, request: Request, kept: Kept, arrived_s: float) -> AsyncGenerator[Routed | Event, None]:
        """A kept answer; no backend is asked, and no device wakes."""
        deps = self._deps
        with deps.gateway.booking.of(request, arrived_s) as trace:
            deps.gateway.check_capacity()
            time_to_deadline_s(request.hints.deadline_ms, deps.clock.unix())
            spec, setting = kept.holder.spec, deps.governor.setting.value
            is_down = deps.fleet.view(spec.id).health is not Health.UP or None
            age_s = deps.clock.monotonic() - kept.at_s
            why = Reason("cached", backend_id=spec.id, age_seconds=age_s, energy_joules=kept.energy_j, is_down=is_down)
            trace.decision = Decision((), (), setting.chosen, setting.effective, setting.reason, why)
            trace.first_s = deps.clock.monotonic()
            trace.cached_model, trace.spared_j = kept.holder.model.name, kept.energy_j
            yield Routed(trace.decision, "", is_hit=True)
            deps.gateway.booking.tell(trace, has_begun=True)
            for event in kept.events:
                if isinstance(event, Finished):
                    trace.usage = event.usage
                    yield replace(event, energy=Energy())
                else:
                    yield event

    async def _keeping(
        self, key: bytes, request: Request, events: AsyncGenerator[Routed | Event, None]
    ) -> AsyncGenerator[Routed | Event, None]:
        """The events as they are; the answer is kept once it has come whole from one backend."""
        gathering, holder = Gathering(self._settings.max_size_mb * BYTES_PER_MB // MOST_SHARE), None
        async for event in events:
            if isinstance(event, Routed):
                holder = self._holder(event.backend_id, request)
            else:
                gathering.add(event)
            yield event
        whole = gathering.whole()
        if whole is None or holder is None or not (self._settings.enabled and request.hints.cache.may_keep):
            return
        if self._holder(holder.spec.id, request) == holder:  # not replaced meanwhile
            answer = Kept(tuple(whole), holder, self._deps.clock.monotonic(), gathering.size_bytes)
            self._kept.keep(key, answer, self._settings.max_size_mb * BYTES_PER_MB)

    def _holder(self, backend_id: str, request: Request) -> Holder | None:
        """The backend and its model for a request as they are now; None where it may not serve it."""
        if not self._deps.fleet.has(backend_id):
            return None
        view, synonyms = self._deps.fleet.view(backend_id), self._deps.gateway.synonyms
        model = held(view, Query(model=request.model, synonyms=synonyms.of(request.model)))
        return None if model is None or view.health is Health.DISABLED else Holder(view.spec, model)

    def look(self) -> None:
        """A backend that was down may have begun again with other weights under the same name."""
        for view in self._deps.fleet.views.value:
            if view.health is Health.DOWN:
                self._were_down.add(view.spec.id)
            elif view.health is Health.UP and view.spec.id in self._were_down:
                self._were_down.discard(view.spec.id)
                self._kept.forget_unsigned(view.spec.id)


def _asked(key: bytes, request: Request) -> Asked:
    hints = request.hints
    return Asked(key, hints.priority, hints.defer, hints.deadline_ms, hints.max_latency_ms)
