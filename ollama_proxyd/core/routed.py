"""What a routed request tells its client of its way: with the answer, or with the error."""

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.values import value


@value
class Routed:
    """The first event of each answer: a backend has begun, and nothing before it has reached the client.

    `ignored_fields` are the client's fields that the backend's API cannot express and that do not change the answer.
    """

    decision: Decision
    backend_id: str
    ignored_fields: tuple[str, ...] = ()
    queue_wait_s: float = 0.0
    """How long it waited for a slot."""
    queue_place: int | None = None
    """Its place in the queue when it came, None for one that did not wait."""
    deferred_s: float | None = None
    """How long it waited for the charger, None for one that did not ask for it."""
    is_hit: bool | None = None
    """Whether the answer was kept from an earlier request; None where no answers are kept."""
    content_type: str | None = None
    """The backend's own, of an answer that is passed on whatever it is."""


class RoutedError(ProxyError):
    """A failure of a request for which a decision had been taken; `backend_id` where a backend was tried."""

    decision: Decision
    backend_id: str | None

    @classmethod
    def of(cls, error: ProxyError, decision: Decision, backend_id: str | None) -> "RoutedError":
        """The error with the way of its request."""
        routed = cls.__new__(cls, error.message)
        vars(routed).update(vars(error), decision=decision, backend_id=backend_id)
        return routed
