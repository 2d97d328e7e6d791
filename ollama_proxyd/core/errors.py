"""The one error type inside the daemon; each edge turns its kinds into statuses by a table."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from typing import Final, Self

from ollama_proxyd.core.text import cut, printable

MOST_CHARACTERS: Final = 2000
MOST_PARAM_CHARACTERS: Final = 200
"""What an error repeats of others' words may be of any length, and move a terminal's cursor."""


class ErrorKind(Enum):
    """What went wrong, in words that no protocol owns."""

    INVALID_REQUEST = "invalid_request"
    """The client's input is wrong; the message names the field at fault."""
    UNSUPPORTED = "unsupported"
    """A field changes the answer and the chosen backend's API cannot express it."""
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    ROUTE_NOT_FOUND = "route_not_found"
    BACKEND_NOT_FOUND = "backend_not_found"
    """An explicit target that is not configured."""
    MODEL_NOT_FOUND = "model_not_found"
    """No healthy backend holds the model."""
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_LARGE = "too_large"
    OVERLOADED = "overloaded"
    """More requests are under way than the configuration allows."""
    LIMIT_UNMET = "limit_unmet"
    """A limit of the request, or a strict one of the mode, leaves nothing that may serve: waiting does not help."""
    NO_ROOM = "no_room"
    """The model does not fit into the memory that engines may have."""
    UPSTREAM_REJECTED = "upstream_rejected"
    """The backend answered 4xx: the request is at fault, another backend would say the same."""
    UPSTREAM_FAILED = "upstream_failed"
    """The backend could not be reached, broke off, or answered 5xx."""
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UNAVAILABLE = "unavailable"
    """Nothing can serve this now (all down, target down, limits exclude all): try later."""
    INTERNAL = "internal"


UNREACHABLE = "backend_unreachable"
"""The code of a failure that says that nothing listens at a backend's address."""
NOT_LOADED = "model_not_loaded"
"""The code of a model for which a process of ours did not become ready."""
DISPLACED = "displaced"
"""The code of an attempt whose slot a more urgent request took; no client is told of it."""
ENGINE_ENDED = "engine_ended"
"""The process of an engine that the proxy runs ended in the middle; another one can be started."""
ENGINE_DEAD = "engine_dead"
"""An engine says of itself that it never answers again, though its process runs."""
ASLEEP = "asleep"
"""The code of an attempt that ended since the machine goes to sleep; it goes on when the machine has woken up."""
IN_USE = "in_use"
"""The code of a model that is not unloaded, since another program works with it."""
TOO_LONG = "context_length_exceeded"
"""The code of a prompt for which an engine has no room, as OpenAI has it; clients shorten their conversation then."""
MODEL_REQUIRED = "missing_required_parameter"
"""The code of a request without a model, as OpenAI has it."""
BAD_CALL = "bad_tool_call"
"""The model called a tool in a way that its client cannot be told; the backend is not at fault."""
DEADLINE_EXCEEDED = "deadline_exceeded"
"""The code of a failure by the client's own deadline; no other backend has more time."""

LATEST_RETRY_S = 999_999.0
"""A longer wait is a mistake of its source."""


@dataclass(eq=False, repr=False)
class ProxyError(Exception):
    """A failure that a client is told about."""

    kind: ErrorKind
    """Which row of an edge's table applies."""
    message: str
    """A sentence that names what was wrong, where, and what to do."""
    _: KW_ONLY
    param: str | None = None
    """The field at fault, if one is; a field of Hints by its name there."""
    retry_after_s: float | None = None
    """Seconds after which trying again makes sense, if known."""
    status: int | None = None
    """The backend's own HTTP status (UPSTREAM_* only)."""
    detail: str | None = None
    """The backend's own error body as text (UPSTREAM_* only)."""
    code: str | None = None
    """A finer machine-readable word for the client, where the dialect has a place for it."""
    cause: str | None = None
    """The backend's words in one line that may be logged: none of the conversation is in them."""

    def __post_init__(self) -> None:
        self.message = printable(cut(self.message, MOST_CHARACTERS), keep="\n")
        self.param = None if self.param is None else printable(cut(self.param, MOST_PARAM_CHARACTERS))
        super().__init__(self.message)

    @property
    def wait_s(self) -> float | None:
        """The pause that a client is told: none where waiting does not help, or for longer than anybody waits."""
        told_s = None if self.kind is ErrorKind.UPSTREAM_REJECTED else self.retry_after_s
        return told_s if told_s is not None and 0 < told_s <= LATEST_RETRY_S else None

    def but(self, **facts: object) -> Self:
        """The same error with other facts."""
        other = type(self).__new__(type(self), self.message)
        vars(other).update(vars(self), **facts)
        return other

    def named(self, words: Mapping[str, str]) -> "ProxyError":
        """The same error with an edge's own word for the field at fault, where it has one."""
        word = words.get(self.param) if self.param else None
        if word is None or self.param is None:
            return self
        return self.but(message=self.message.replace(self.param, word, 1), param=word)
