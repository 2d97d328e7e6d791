"""What routing needs to know of a request."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ollama_proxyd.core.requests import Hints, MediaType, Operation, Priority


@dataclass(frozen=True, slots=True)
class Query:
    """The facts of one request that decide where it goes.

    `model` None asks about any model (a dry run without one). `max_tokens` is the client's limit on the answer.
    `time_left_s` is what remains until the client's deadline. `tried` are backends that already failed this request.
    `synonyms` are further names of the model.
    `now_s` is the time on the monotonic clock. `spares_failing`: a failing backend is left alone even where nothing
    else can serve.
    `waited_s` is how long it has waited. `waits_s` are the estimated waits for a slot; backends not in it have one.
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
    able: frozenset[str] | None = None
    """The backends that can go on exactly from a begun answer; None for a new one."""

    @property
    def urgency(self) -> Priority:
        """The priority that counts; sound and real time are taken to be urgent where the client names none."""
        if self.hints.priority is not None:
            return self.hints.priority
        return Priority.HIGH if self.hints.media_type in _URGENT else Priority.NORMAL


_URGENT = frozenset({MediaType.AUDIO, MediaType.REALTIME})
