"""One attempt at one backend: the fact of its end, and what follows from a failure."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import Enum
from typing import NamedTuple

from ollama_proxyd.core.energy import Energy
from ollama_proxyd.core.errors import ASLEEP, UNREACHABLE, ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Event, Finished, FinishReason, Timings, Usage
from ollama_proxyd.core.faults import Fault, Work, fault_of
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.programs import UNKNOWN, Program
from ollama_proxyd.core.requests import Operation, Request
from ollama_proxyd.core.trace_context import NO_TRACE, Trace
from ollama_proxyd.core.values import value


class Step(Enum):
    """What a request does after a failed attempt."""

    TRY_NEXT = "try_next"
    RESUME = "resume"
    """Another backend goes on from what the client has."""
    GIVE_UP = "give_up"


class Trip(NamedTuple):
    """How far a request had come when an attempt failed."""

    attempts: int
    """With the one that failed."""
    retries: int
    """The most that the configuration allows."""
    within_budget: bool = True
    """Whether recent requests leave room for more retries than each may have."""
    begun: bool = False
    """Whether the client has a part of the answer."""


ALWAYS_RETRIED = 3
"""Retries that each request may have, however many others were retried."""
RETRY_BUDGET = 0.2
"""Further retries in all, as a share of the recent requests: a fleet that fails is not asked ever more often."""


def after(trip: Trip, failure: ProxyError) -> Step:
    """What follows a failed attempt: each candidate may answer but where the request itself is at fault."""
    if fault_of(failure) is None and failure.code != ASLEEP:
        return Step.GIVE_UP
    if trip.begun:
        return Step.RESUME
    allowed = trip.retries if trip.within_budget else min(trip.retries, ALWAYS_RETRIED)
    return Step.GIVE_UP if trip.attempts > allowed else Step.TRY_NEXT


def is_within_budget(retries: Sequence[int]) -> bool:
    """Whether these retries of recent requests leave room for one more."""
    return sum([max(each - ALWAYS_RETRIED, 0) for each in retries]) < RETRY_BUDGET * max(len(retries), 1)


_USEFUL: Mapping[Fault | None, int] = {
    fault: rank
    for rank, fault in enumerate(
        (
            None,
            Fault.CONTEXT_TOO_SMALL,
            Fault.NO_TOOLS,
            Fault.NO_VISION,
            Fault.NO_OPERATION,
            Fault.NO_FEATURE,
            Fault.BUSY,
            Fault.OUT_OF_MEMORY,
            Fault.SERVER_ERROR,
            Fault.STALLED,
            Fault.RESET,
            Fault.PROCESS_ENDED,
            Fault.DEVICE_LOST,
            Fault.REFUSED,
            Fault.NOT_LOADED,
            Fault.MODEL_GONE,
            Fault.NO_CREDIT,
            Fault.KEY_REJECTED,
        )
    )
}
"""What tells a client most comes first: what it can change, then what passes, then what others have to mend."""


def most_useful(failures: Sequence[ProxyError]) -> ProxyError:
    """Of the failures of several backends the one that a client is told, the first of equals."""
    return min(failures, key=lambda each: _USEFUL[fault_of(each)])


def is_heard(request: Request, event: Event) -> bool:
    """Whether the client gets a part of its answer by this event; until then another backend may answer."""
    if isinstance(event, Finished):
        return True
    if not request.stream or not isinstance(event, Delta):
        return False
    has_words = bool(event.frame or event.text or event.thinking or event.logprobs)
    return has_words or bool(event.tool_calls and not request.calls_come_whole)


class Doubt(Enum):
    """What a failed attempt says of its backend."""

    NONE = "none"
    CHECK_SOON = "check_soon"
    """It broke off."""
    DOWN = "down"
    """Nothing listens."""


def doubt(failure: ProxyError) -> Doubt:
    """What a failure says of the backend; one that answers with a status, or slowly, is not down."""
    if failure.kind is not ErrorKind.UPSTREAM_FAILED or failure.status is not None:
        return Doubt.NONE
    return Doubt.DOWN if failure.code == UNREACHABLE else Doubt.CHECK_SOON


class AttemptBegun(NamedTuple):
    """A request that is being sent to a backend."""

    backend_id: str
    model: str
    """The backend's own name of it."""
    keeps_s: float | None
    """How long the client wants the model to stay in memory; None where it does not say."""


@value
class AttemptEnded:
    """What became of one attempt at one backend; times in seconds of the monotonic clock."""

    backend_id: str
    model: str
    """The backend's own name of it."""
    operation: Operation
    request_id: str
    begun_s: float
    ended_s: float
    first_s: float | None = None
    """When the answer began; None when it did not."""
    prompt_tokens: int = 0
    """Estimated before routing."""
    stream: bool = False
    error: ErrorKind | None = None
    status: int | None = None
    """The backend's own HTTP status, where that was the error."""
    code: str | None = None
    cause: str | None = None
    """The backend's words of it, as far as they may be logged."""
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    finish: FinishReason | None = None
    """Why the answer ended; None when it did not end by itself."""
    energy: Energy = field(default_factory=Energy)
    spent: float = 0.0
    """Money, as far as the backend told its tokens; the prompt is estimated where it did not."""
    currency: str = ""
    fault: Fault | None = None
    """What the error speaks of; None where there was none, or where the request itself is at fault."""
    neighbours: float = 0.0
    """How many other requests were under way on the backend, on average."""
    cancelled: bool = False
    """Whether the client left."""
    displaced: bool = False
    """Whether a more urgent request, or the machine's sleep, took the slot; the request waits again."""
    moved: bool = False
    """Whether another backend went on although this one served."""
    resumed: bool = False
    """Whether it went on with an answer that another had begun."""
    needs_vision: bool = False
    needs_tools: bool = False
    trace: Trace = NO_TRACE
    """Its place in its client's trace."""
    skipped_frames: int = 0
    """How many frames of the answer could not be read."""
    keeps_s: float | None = None
    """How long the client wants the model to stay in memory; None where it does not say."""
    asked_s: float | None = None
    """How long the backend was asked to keep it where the client did not say; None where it was not asked."""
    program: Program = UNKNOWN
    """Who asked."""
    ended_unix_s: float = 0.0
    """When it ended, in Unix time: the monotonic clock stands still while the machine sleeps."""
    decision: Decision | None = field(default=None, compare=False, repr=False)
    """What was foreseen when the backend was chosen; None where that is not known."""

    @property
    def succeeded(self) -> bool:
        """Whether the answer came whole."""
        return self.error is None and not (self.cancelled or self.displaced or self.moved)

    @property
    def work(self) -> Work:
        """The facts of the request that a failure may depend on."""
        return Work(self.model, self.operation, self.prompt_tokens, self.needs_vision, self.needs_tools)

    @property
    def busy_s(self) -> float:
        """How long it took."""
        return self.ended_s - self.begun_s

    @property
    def ttft_s(self) -> float | None:
        """Time to the first piece of a stream; None where nothing was streamed or came."""
        return self.first_s - self.begun_s if self.stream and self.first_s is not None else None

    @property
    def writing_s(self) -> float | None:
        """Time from the first piece of a stream to its end."""
        return self.ended_s - self.first_s if self.stream and self.first_s is not None else None
