"""What one client has of its answer, over all backends that have a part in it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, cast

from ollama_proxyd.core.attempts import most_useful
from ollama_proxyd.core.continuation import (
    Failover,
    Held,
    Obstacle,
    Transcript,
    are_same_weights,
    rest_of,
    with_former,
)
from ollama_proxyd.core.energy import Energy
from ollama_proxyd.core.errors import ASLEEP, ENGINE_ENDED, ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Event, Finished, FinishReason, Flow, Tell, Timings, Usage
from ollama_proxyd.core.faults import fault_of
from ollama_proxyd.core.fleet import BackendView, Model
from ollama_proxyd.core.prefixes import Blocks, prompt_blocks
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Operation, Request
from ollama_proxyd.core.values import replace
from ollama_proxyd.services.attempt import Attempt
from ollama_proxyd.services.large import off_loop
from ollama_proxyd.services.ports import Backend

_NONE: Final[frozenset[str]] = frozenset()
NOWHERE = "the answer was about to move, and neither the new nor the old backend goes on"


class Resumers:
    """Which backends go on with the rest of an answer; each is asked once, since it writes the request for that."""

    def __init__(self, rest: Request) -> None:
        self._rest = rest
        self._said: dict[int, tuple[Backend, bool]] = {}

    def can(self, backend: Backend) -> bool:
        """Whether it goes on exactly from what was spoken."""
        if id(backend) not in self._said:
            self._said[id(backend)] = backend, backend.can_resume(self._rest)
        return self._said[id(backend)][1]

    async def ask(self, backends: Sequence[Backend]) -> None:
        """Ask them all, off the loop where the request is long."""
        await off_loop(len(self._rest.body), lambda: [self.can(each) for each in backends])


class Delivery:
    """One answer on its way to its client."""

    __slots__ = (
        *("_attempt", "_began", "_blocks", "_cost", "_failover", "_failures", "_former", "_restarted"),
        *("__weakref__", "_tokens_before", "_transcript", "backend_id", "begun", "cause", "finished", "is_to_move"),
        *("left", "moved", "request", "resumers", "since_s", "tried"),
    )

    def __init__(self, request: Request, cost: Callable[[], Energy | None]) -> None:
        self._cost = cost
        self.request = request
        """As the next backend is asked; from the first break on it goes on from what the client has."""
        self.resumers = Resumers(request)
        """Who goes on with that rest."""
        self._blocks: Blocks | None = None
        self.begun: Request | None = None
        """As the first backend was asked; None until the client has a part of the answer."""
        self.tried = _NONE
        self._restarted = _NONE
        """Backends whose engine ended under it, and that were tried once more."""
        self._failures: list[ProxyError] = []
        self.cause = ""
        """Why the backend before did not end the answer."""
        self.left = _NONE
        """The backend that it moved away from, until another has gone on."""
        self.since_s = 0.0
        """When the present backend began or went on."""
        self.moved: Reason | None = None
        """Why it moves, or moved last."""
        self.finished: Finished | None = None
        """The end of the whole answer."""
        self.backend_id: str | None = None
        """Where the answer comes from now, None while it comes from nowhere."""
        self._attempt: Attempt | None = None
        self._transcript = Transcript()
        self._tokens_before = 0
        """How many the client had from those before the present one."""
        self._former = Timings()
        self.is_to_move = False
        """Whether it is left at its next event."""
        self._began: tuple[BackendView, str] | None = None
        """The backend that began, and its name of the model."""
        self._failover = Failover.SAME_MODEL

    @property
    def blocks(self) -> Blocks:
        """The beginning of its prompt, for whoever may have read it; hashed once, since it may be long."""
        if self._blocks is None:
            self._blocks = prompt_blocks(self.request)
        return self._blocks

    def take_failure(self) -> ProxyError:
        """What the client is told where nothing goes on: what broke the answer, or kept it from beginning.

        It is kept no longer: what is raised holds the frames that hold this delivery, with the request's body.
        """
        failures, self._failures = self._failures, []
        return most_useful(failures) if failures else ProxyError(ErrorKind.UPSTREAM_FAILED, NOWHERE)

    @property
    def avoided(self) -> frozenset[str]:
        """Backends that are not asked next."""
        return self.tried | self.left if self.left else self.tried

    def fail(self, backend_id: str, error: ProxyError) -> None:
        """A backend did not answer; of one that could not go on the client is not told."""
        self._blame(backend_id, error)
        self.left = _NONE
        if self.begun is None or not self._failures:
            self._failures.append(error)

    def break_off(self, backend_id: str, error: ProxyError) -> None:
        """A backend broke off what the client has begun to read."""
        self._failures = [error]
        self._leave()
        if error.code == ASLEEP:
            self.cause = ASLEEP
            return
        self._blame(backend_id, error)
        self.cause = (fault_of(error) or error.kind).value

    def _blame(self, backend_id: str, error: ProxyError) -> None:
        """It is tried no more, unless its engine is started anew for this request: that is done once."""
        if error.code == ENGINE_ENDED and backend_id not in self._restarted:
            self._restarted |= {backend_id}
        else:
            self.tried |= {backend_id}

    def begin(self, attempt: Attempt, accepted: Accepted, view: BackendView) -> None:
        """The client gets what follows from this attempt at a backend."""
        if self.begun is None:
            self._began = view, attempt.ranked.model
        self._attempt, self.backend_id = attempt, attempt.ranked.backend_id
        self.left, self._failures = _NONE, []
        self._transcript.read_by(accepted.read)
        self._tokens_before = 0 if self.begun is None else self._transcript.tokens()
        attempt.count_tokens = self._tokens
        self.begun = self.begun or self.request

    def _tokens(self) -> int:
        """How many tokens the client has from the present attempt."""
        return self._transcript.tokens() - self._tokens_before

    def hear(self, event: Event) -> Event:
        """The event as the client gets it: the end speaks of the whole answer."""
        if type(event) is Flow:
            return event.through(self._heard_by)
        if type(event) is not Finished:
            self._transcript.add(event)
            return event
        if self._attempt is not None:
            self._attempt.finish(event)
        spoken = self.request.spoken
        whole = event if spoken is None else with_former(event, spoken, self._former)
        self.finished = replace(whole, timings=self._timed(whole.timings), energy=self._cost())
        return self.finished

    def _timed(self, told: Timings) -> Timings:
        """The engine's times; vectors of which it told none have ours."""
        if self.request.operation is not Operation.EMBEDDING or self._attempt is None or told != Timings():
            return told
        return Timings(total_s=self._attempt.elapsed_s)

    def _heard_by(self, tell: Tell) -> Tell:
        """A consumer of what flows, until the answer is about to move."""
        note, note_frame = self._transcript.add, self._transcript.add_frame

        def hear(event: Event | bytes) -> bool:
            if type(event) is bytes:
                note_frame(event)
            else:
                note(cast("Event", event))
            return tell(event) and not self.is_to_move

        return hear

    def _leave(self) -> None:
        self.is_to_move, self.backend_id = False, None

    async def resume(self, failover: Failover) -> Obstacle | None:
        """Turn the request into one that goes on from what the client has; why not, where it cannot."""
        if self._attempt is None:
            raise ValueError("nothing has begun")
        rest = await self.rest(failover)
        if isinstance(rest, Obstacle):
            return rest
        self._former = self._attempt.timings_after(self._former)
        self._ask_for(rest)
        return None

    async def rest(self, failover: Failover) -> Request | Obstacle:
        """The request for the rest of the answer, or why it cannot go on exactly; nothing changes."""
        if self.begun is None:
            raise ValueError("nothing has begun")
        self._failover = failover
        work = partial(rest_of, self.begun, self._transcript.spoken(), failover)
        return await off_loop(len(self.begun.body), work)

    def _ask_for(self, rest: Request) -> None:
        self.request, self.resumers, self._blocks = rest, Resumers(rest), None

    def move(self, why: Reason) -> None:
        """Have the rest come from another backend, from the next event on."""
        self.is_to_move, self.moved = True, why

    async def moves(self) -> bool:
        """Whether the present backend is left now, as it was to be; the request is then the one for the rest."""
        self.is_to_move = False
        if self.finished is not None or self._attempt is None:
            return False
        rest = await self.rest(self._failover)
        if isinstance(rest, Obstacle) or rest.max_tokens == 0:
            return False
        self._leave()
        self._ask_for(rest)
        self.cause, self._failures = "moved", []
        self.left = frozenset({self._attempt.ranked.backend_id})
        self._attempt.moved = True
        return True

    def is_same_model(self, view: BackendView, model: Model | None) -> bool:
        """Whether a backend's model may go on with what another's has begun."""
        if model is None or self._began is None or self._failover is Failover.ANY_CANDIDATE:
            return True
        first, name = self._began
        held = next((Held(first, each) for each in first.models if each.name == name), None)
        return held is None or are_same_weights(held, Held(view, model))

    def end_at_limit(self) -> Finished | None:
        """The end of an answer that broke when the client's own limit was reached, None for any other."""
        spoken = self.request.spoken
        if spoken is None or self.request.max_tokens != 0:
            return None
        self.finished = Finished(FinishReason.LENGTH, Usage(None, spoken.tokens, estimated=True), self._former)
        return self.finished
