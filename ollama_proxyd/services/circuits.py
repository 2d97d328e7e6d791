"""Moves the breakers of backends by what attempts at them come to, and tells when one opens or closes."""

import asyncio
import logging
import random
from collections.abc import Callable, Set

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.breaker import Breaker, Breakers, Failure, Phase, begun, failed, left, whole
from ollama_proxyd.core.failings import what_fails, why_failing
from ollama_proxyd.core.faults import Fault, Work
from ollama_proxyd.core.fleet import BackendView, FleetView
from ollama_proxyd.core.values import value
from ollama_proxyd.services.cell import Cell, Topic
from ollama_proxyd.services.ports import Clock

log = logging.getLogger(__name__)

TRIAL_WAIT_S = 15.0
"""For how long a request waits for another one to find out whether a failing backend serves again."""


@value
class BreakerOpened:
    """A breaker of a backend has opened."""

    backend_id: str
    fault: Fault


class Circuits:
    """The breakers of each backend after each attempt; `jitter` gives numbers from 0 to 1."""

    def __init__(self, clock: Clock, jitter: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._jitter = jitter
        self.opened: Topic[BreakerOpened] = Topic()

    def after_end(self, view: BackendView, ended: AttemptEnded, patience_s: float | None) -> Breakers:
        """When an attempt has ended; `patience_s` is for how long the backend asked to be left alone."""
        before = after = view.breakers
        if not before and ended.fault is None:
            return before
        if ended.succeeded:
            after = whole(after, ended.work, self._clock.monotonic())
        elif ended.fault is not None:
            is_late = ended.first_s is not None
            failure = Failure(ended.fault, ended.work, is_late, ended.status, patience_s)
            after = failed(after, failure, self._clock.monotonic(), self._jitter())
        if after == before:
            return before
        self._tell(view.spec.id, before, after)
        return after

    def after_begin(self, view: BackendView, tries: Work | None, rest_s: float | None) -> Breakers:
        """When first words have come; `rest_s` is for how long the backend is to be left alone."""
        before = after = view.breakers
        if tries is not None:
            after = begun(after, tries)
        if rest_s is not None:
            limited = Failure(Fault.BUSY, Work(""), patience_s=rest_s)
            after = failed(after, limited, self._clock.monotonic(), self._jitter())
            self._tell(view.spec.id, before, after)
        return after

    def after_sending(self, view: BackendView, rest_s: float, breakers: Breakers) -> Breakers:
        """When a request is sent to a backend of limited rate; `rest_s` is until the next one may be."""
        if not rest_s:
            return breakers
        limited = Failure(Fault.RATE_LIMIT, Work(""), patience_s=rest_s)
        after = failed(breakers, limited, self._clock.monotonic(), self._jitter())
        self._tell(view.spec.id, breakers, after)
        return after

    def after_trial(self, view: BackendView, tries: Work | None) -> Breakers:
        """When a slot is given back: a trial that has said nothing by then, or was never sent, is over."""
        return view.breakers if tries is None else left(view.breakers, tries)

    def _tell(self, backend_id: str, before: Breakers, after: Breakers) -> None:
        was = {_key(each) for each in before if each.phase is Phase.OPEN}
        for each in after:
            if each.phase is Phase.OPEN and _key(each) not in was:
                if each.is_named:
                    log.info("backend %s is left alone for %.0f s: %s", backend_id, each.wait_s, what_fails(each))
                else:
                    log.warning("backend %s is failing: %s", backend_id, why_failing(each, self._clock.monotonic()))
                self.opened.publish(BreakerOpened(backend_id, each.fault))
        if before and not after:
            log.info("backend %s serves again", backend_id)


def _key(breaker: Breaker) -> tuple[Fault, str | None, float]:
    return breaker.fault, breaker.model, breaker.retry_at_s


async def trial_failed(views: Cell[FleetView], backend_ids: Set[str], time_left_s: float | None) -> bool | None:
    """Wait until the first request that tries one of the backends has ended; whether it failed, None where it was late.

    A client that leaves tells nothing of its backend, which the next request may try.
    """
    before = _trials(views.value, backend_ids)
    tried = _half_open(views.value, backend_ids)
    try:
        async with asyncio.timeout(TRIAL_WAIT_S if time_left_s is None else min(time_left_s, TRIAL_WAIT_S)):
            await views.until(lambda now: not tried <= _half_open(now, backend_ids))
    except TimeoutError:
        return None
    after = _trials(views.value, backend_ids)
    return any(after[key].failures > each.failures for key, each in before.items() if key in after)


def _half_open(fleet: FleetView, backend_ids: Set[str]) -> set[tuple[str, Fault, str | None]]:
    return {key for key, each in _trials(fleet, backend_ids).items() if each.phase is Phase.HALF_OPEN}


def _trials(fleet: FleetView, backend_ids: Set[str]) -> dict[tuple[str, Fault, str | None], Breaker]:
    mine = [view for view in fleet if view.spec.id in backend_ids]
    return {(view.spec.id, each.fault, each.model): each for view in mine for each in view.breakers}
