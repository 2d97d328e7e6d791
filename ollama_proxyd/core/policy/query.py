"""What routing needs to know of a request."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import field
from typing import Any

from ollama_proxyd.core.policy.priors import SHORT_PROMPT_TOKENS
from ollama_proxyd.core.requests import Hints, MediaType, Operation, Priority, Request
from ollama_proxyd.core.values import value
from ollama_proxyd.core.workload import Following, QueueAhead


@value
class Query:
    """The facts of one request that decide where it goes.

    `model` None asks about any model (a dry run without one). `max_tokens` is the client's limit on the answer.
    `time_left_s` is what remains until the client's deadline. `tried` are backends that already failed this request.
    `synonyms` are further names of the model.
    `now_s` is the time on the monotonic clock. `spares_failing`: a failing backend is left alone even where nothing
    else can serve.
    `waited_s` is how long it has waited. `waits_s` are the estimated waits until a slot is free; backends
    not in it have one.
    `queues` are what waits for them, `followers` the others that ask for the same model. `background` is how many
    requests under way on each are such that nobody waits for.
    """

    model: str | None
    operation: Operation = Operation.CHAT
    prompt_tokens: int = 0
    max_tokens: int | None = None
    needs_vision: bool = False
    has_image_urls: bool = False
    may_fetch_here: bool = False
    needs_tools: bool = False
    time_left_s: float | None = None
    hints: Hints = field(default_factory=Hints)
    tried: frozenset[str] = frozenset()
    synonyms: tuple[str, ...] = ()
    now_s: float = 0.0
    spares_failing: bool = False
    waited_s: float = 0.0
    waits_s: Mapping[str, float] = field(default_factory=dict)
    queues: Mapping[str, QueueAhead] = field(default_factory=dict)
    followers: Sequence[Following] = ()
    background: Mapping[str, int] = field(default_factory=dict)
    cached_tokens: Mapping[str, float] = field(default_factory=dict)
    """How much of the prompt each backend is likely to have in its KV cache; none where it is not named."""
    able: frozenset[str] | None = None
    """The backends that can go on exactly from a begun answer; None for a new one."""

    @property
    def urgency(self) -> Priority:
        """The priority that counts; sound and real time are taken to be urgent where the client names none."""
        if self.hints.priority is not None:
            return self.hints.priority
        return Priority.HIGH if self.hints.media_type in _URGENT else Priority.NORMAL

    @property
    def kind(self) -> Hashable:
        """What decides where a request can go, but for the backends that can serve it."""
        hints = self.hints
        wishes = (hints.target, hints.latency_critical, hints.power_efficient)
        limits = _size(hints.max_latency_ms), _size(hints.max_power_watts), _size(self.time_left_s), hints.strict_limits
        needs = (self.needs_vision, self.needs_tools, self.has_image_urls, self.may_fetch_here)
        size = _size(max(self.prompt_tokens - SHORT_PROMPT_TOKENS, 0)), _size(self.max_tokens)
        return self.model, self.operation, needs, self.tried, wishes, limits, size


def query_of(request: Request, hints: Hints | None = None, **facts: Any) -> Query:
    """What is asked for a request as its client sent it, with what is known beside it."""
    return Query(
        model=request.model,
        operation=request.operation,
        prompt_tokens=request.prompt_tokens,
        max_tokens=request.max_tokens,
        needs_vision=request.needs_vision,
        has_image_urls=request.has_image_urls,
        may_fetch_here=request.may_fetch_here,
        needs_tools=request.needs_tools,
        hints=request.hints if hints is None else hints,
        **facts,
    )


def _size(number: float | None) -> int | None:
    """The order of magnitude, in powers of four: requests alike in it go to the same backend."""
    return None if number is None else int(max(number, 0)).bit_length() // 2


_URGENT = frozenset({MediaType.AUDIO, MediaType.REALTIME})
