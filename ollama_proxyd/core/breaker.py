"""Circuit breakers: when a backend that fails is left alone, and when one request tries it again."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from typing import NamedTuple, TypeAlias

from ollama_proxyd.core.faults import Fault, Work
from ollama_proxyd.core.values import value


class Phase(Enum):
    """Where a breaker stands."""

    CLOSED = "closed"
    """Requests go through; failures in a row are counted."""
    OPEN = "open"
    """Requests go elsewhere until the pause is over."""
    HALF_OPEN = "half_open"
    """One request tries, the others go elsewhere."""


class Signal(Enum):
    """What moves a breaker."""

    FAILED = "failed"
    TRIED = "tried"
    """A request is sent although the breaker is not closed."""
    BEGUN = "begun"
    """The request that tries got its first words."""
    WHOLE = "whole"
    """An answer came whole."""
    FOUND_UP = "found_up"
    """A health check passed."""
    LEFT = "left"
    """The request that tries ended without saying anything of the fault."""


_NEXT: Mapping[tuple[Phase, Signal], Phase | None] = {
    (Phase.CLOSED, Signal.FAILED): Phase.OPEN,
    (Phase.CLOSED, Signal.WHOLE): None,
    (Phase.OPEN, Signal.FAILED): Phase.OPEN,
    (Phase.OPEN, Signal.TRIED): Phase.HALF_OPEN,
    (Phase.OPEN, Signal.WHOLE): None,
    (Phase.OPEN, Signal.FOUND_UP): Phase.CLOSED,
    (Phase.HALF_OPEN, Signal.FAILED): Phase.OPEN,
    (Phase.HALF_OPEN, Signal.BEGUN): Phase.CLOSED,
    (Phase.HALF_OPEN, Signal.WHOLE): None,
    (Phase.HALF_OPEN, Signal.LEFT): Phase.OPEN,
}
"""None: the breaker is as new and is dropped. What is not here changes nothing.

A failure opens it only at the fault's threshold, and does not prolong a pause that is not over: it began before that.
"""


class _Scope(NamedTuple):
    """Which requests a breaker is about."""

    same_model: bool = True
    applies: Callable[[Work, Work], bool] = lambda _failed, _asked: True
    """Whether what failed says something of what is asked."""


_BACKEND = _Scope(same_model=False)
_MODEL = _Scope()


@value
class _Row:
    """How a breaker of one fault behaves: failures in a row that open it, its first and its longest pause."""

    threshold: int
    pause_s: float
    longest_s: float
    scope: _Scope = _MODEL
    one_at_a_time: bool = True
    """Whether one request alone tries again."""


def _lack(applies: Callable[[Work, Work], bool] = lambda _failed, _asked: True) -> _Row:
    """Something that is not there does not come back by waiting a little, and asking for it does no harm."""
    return _Row(1, 300.0, 3600.0, _Scope(applies=applies), one_at_a_time=False)


_ROWS: Mapping[Fault, _Row] = {
    Fault.REFUSED: _Row(1, 1.0, 30.0, _BACKEND),
    Fault.RESET: _Row(2, 2.0, 60.0, _BACKEND),
    Fault.PROCESS_ENDED: _Row(8, 2.0, 60.0),  # each end breaks as many answers as the process has slots
    Fault.STALLED: _Row(1, 5.0, 120.0, _BACKEND),
    Fault.SERVER_ERROR: _Row(3, 2.0, 120.0),
    Fault.OUT_OF_MEMORY: _Row(1, 10.0, 300.0),
    Fault.DEVICE_LOST: _Row(1, 10.0, 300.0, _BACKEND),
    Fault.BUSY: _Row(1, 1.0, 60.0, _BACKEND, one_at_a_time=False),
    Fault.RATE_LIMIT: _Row(1, 1.0, 60.0, _BACKEND, one_at_a_time=False),
    Fault.KEY_REJECTED: _Row(1, 60.0, 900.0, _BACKEND),
    Fault.NO_CREDIT: _Row(1, 60.0, 900.0, _BACKEND),
    Fault.MODEL_GONE: _Row(1, 10.0, 300.0),
    Fault.NOT_LOADED: _Row(1, 10.0, 300.0),
    Fault.CONTEXT_TOO_SMALL: _lack(lambda failed, asked: asked.prompt_tokens >= failed.prompt_tokens),
    Fault.NO_TOOLS: _lack(lambda failed, asked: asked.needs_tools or not failed.needs_tools),
    Fault.NO_VISION: _lack(lambda failed, asked: asked.needs_vision or not failed.needs_vision),
    Fault.NO_OPERATION: _lack(lambda failed, asked: asked.operation is failed.operation),
}
"""NO_FEATURE has none: which requests need the feature is not known."""

LACKS = frozenset({fault for fault, row in _ROWS.items() if row.scope not in (_BACKEND, _MODEL)})
"""What a model there cannot do; nothing is wrong with the backend."""
_NAMED = frozenset({Fault.BUSY, Fault.RATE_LIMIT})
"""Those whose pause ends when it was said to, and not before."""
JITTER = 0.2
"""How far a pause differs from its table at most, so that several do not end together."""
GROWTH = 2.0
LONGEST_NAMED_S = 3600.0
"""The longest pause that a busy backend may name."""
MOST = 32
"""Breakers of one backend; more models than that have failed together."""


@value
class Breaker:
    """What one kind of failure at one backend has come to; `work` is the request that failed last."""

    fault: Fault
    work: Work
    phase: Phase = Phase.CLOSED
    failures: int = 0
    """In a row."""
    retry_at_s: float = 0.0
    """When the pause is over, on the monotonic clock."""
    pause_s: float = 0.0
    wait_s: float = 0.0
    """How long it waits until the next try, with its jitter."""
    is_named: bool = False
    """Whether the backend itself named the end of the pause, and is not asked before."""
    is_late: bool = False
    """Whether the failure came after the first words, so that first words prove nothing."""
    status: int | None = None
    """What the backend answered, where it did."""

    @property
    def model(self) -> str | None:
        """The model that it is about; None where it is about the whole backend."""
        row = _ROWS.get(self.fault)
        return self.work.model if row is not None and row.scope.same_model else None

    def concerns(self, work: Work) -> bool:
        """Whether it says something of a request."""
        scope = _ROWS[self.fault].scope
        return (not scope.same_model or self.work.model == work.model) and scope.applies(self.work, work)

    def keeps_out(self, work: Work, now_s: float) -> bool:
        """Whether a request should go elsewhere."""
        if self.phase is Phase.CLOSED or (self.phase is Phase.OPEN and now_s >= self.retry_at_s):
            return False
        return self.concerns(work)

    def is_tried(self, work: Work) -> bool:
        """Whether another request tries just what this one would."""
        return self.phase is Phase.HALF_OPEN and self.concerns(work)

    def is_resting(self, now_s: float) -> bool:
        """Whether the backend named a pause that is not over."""
        return self.is_named and self.phase is Phase.OPEN and now_s < self.retry_at_s

    def left_s(self, now_s: float) -> float:
        """Seconds until the backend may be tried again."""
        return max(self.retry_at_s - now_s, 0.0)


Breakers: TypeAlias = tuple[Breaker, ...]
"""Those of one backend that are not as new."""


def rest_left_s(breakers: Breakers, now_s: float) -> float:
    """For how long a backend takes no request, as it or the limit of its rate said; 0 where it takes them."""
    return max([each.left_s(now_s) for each in breakers if each.is_resting(now_s)], default=0.0)


class Failure(NamedTuple):
    """What a failed attempt teaches."""

    fault: Fault
    work: Work
    is_late: bool = False
    status: int | None = None
    patience_s: float | None = None
    """For how long the backend asked to be left alone."""


def failed(breakers: Breakers, failure: Failure, now_s: float, jitter: float) -> Breakers:
    """After a failure; `jitter` from 0 to 1."""
    if failure.fault not in _ROWS:
        return breakers
    key = _key(failure.fault, failure.work)
    before = next((each for each in breakers if _key(each.fault, each.work) == key), Breaker(*failure[:2]))
    others = tuple([each for each in breakers if each is not before])
    return (*others[-MOST + 1 :], _after_failure(before, failure, now_s, jitter))


def _key(fault: Fault, work: Work) -> tuple[object, ...]:
    """What one breaker is for."""
    same_model = _ROWS[fault].scope.same_model
    return fault, work.model if same_model else None, work.operation if fault is Fault.NO_OPERATION else None


def _after_failure(before: Breaker, failure: Failure, now_s: float, jitter: float) -> Breaker:
    row, failures = _ROWS[before.fault], before.failures + 1
    work = before.work if before.concerns(failure.work) else failure.work
    told = replace(before, failures=failures, work=work, is_late=failure.is_late, status=failure.status)
    is_pausing = before.phase is Phase.OPEN and now_s < before.retry_at_s
    is_named = failure.patience_s is not None and failure.fault in _NAMED
    if (is_pausing and not is_named) or failures < row.threshold:
        return told
    pause_s = min(before.pause_s * GROWTH, row.longest_s) if before.pause_s else row.pause_s
    wait_s = pause_s * (1 + JITTER * (2 * jitter - 1))
    if failure.patience_s is not None:
        wait_s = min(failure.patience_s, LONGEST_NAMED_S if is_named else row.longest_s)
    retry_at_s = max(now_s + wait_s, before.retry_at_s if is_pausing else now_s)
    phase = _NEXT[before.phase, Signal.FAILED] or before.phase
    return replace(told, phase=phase, pause_s=pause_s, wait_s=wait_s, retry_at_s=retry_at_s, is_named=is_named)


def tried(breakers: Breakers, work: Work) -> Breakers:
    """After a request was sent that some of them keep out, or whose pause is over."""
    return _moved(breakers, Signal.TRIED, lambda each: _ROWS[each.fault].one_at_a_time and each.concerns(work))


def begun(breakers: Breakers, work: Work) -> Breakers:
    """After the first words for the request that tries."""
    return _moved(breakers, Signal.BEGUN, lambda each: not each.is_late and each.concerns(work))


def whole(breakers: Breakers, work: Work, now_s: float) -> Breakers:
    """After a whole answer; a pause that the backend named lasts all the same."""
    return _moved(breakers, Signal.WHOLE, lambda each: each.concerns(work) and not each.is_resting(now_s))


def found_up(breakers: Breakers, now_s: float) -> Breakers:
    """After a health check that passed: what refused connections does so no longer, once its pause is over."""
    after = _moved(breakers, Signal.FOUND_UP, lambda each: each.fault is Fault.REFUSED and now_s >= each.retry_at_s)
    return breakers if after == breakers else after


def left(breakers: Breakers, work: Work) -> Breakers:
    """After the request that tries has ended without a word on what failed before."""
    return _moved(breakers, Signal.LEFT, lambda each: each.concerns(work))


def _moved(breakers: Breakers, signal: Signal, is_concerned: Callable[[Breaker], bool]) -> Breakers:
    moved = (_step(each, signal) if is_concerned(each) else each for each in breakers)
    return tuple([each for each in moved if each is not None])


def _step(breaker: Breaker, signal: Signal) -> Breaker | None:
    """The breaker in its next phase, None where it is as new."""
    phase = _NEXT.get((breaker.phase, signal), breaker.phase)
    return None if phase is None else breaker if phase is breaker.phase else replace(breaker, phase=phase)


def blocking(breakers: Breakers, work: Work, now_s: float) -> Breaker | None:
    """The breaker that keeps a request out for the longest, None where none does."""
    closed = [each for each in breakers if each.keeps_out(work, now_s)]
    return max(closed, key=lambda each: each.retry_at_s, default=None)
