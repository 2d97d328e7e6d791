"""Reasons in tests: sentences in, sentences out."""

from ollama_proxyd.core.readings import Unavailable
from ollama_proxyd.core.reasons import Reason


def because(sentence: str) -> Reason:
    """A reason that says just this."""
    return Reason("backend_down", detail=sentence)


def unavailable(sentence: str) -> Unavailable:
    """No value, for a reason that says just this."""
    return Unavailable(because(sentence))


def why(reading: object) -> str:
    """The sentence that says why there is no value."""
    assert isinstance(reading, Unavailable)
    return str(reading.reason)
