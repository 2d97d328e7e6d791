"""The part of an answer that its client has, and how a request goes on from it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ollama_proxyd.core.values import value


@value
class Spoken:
    """What a client has of an answer that goes on elsewhere; `tokens` is what engines told, else one for each piece."""

    text: str = ""
    thinking: str = ""
    tokens: int = 0
    has_calls: bool = False
    """Whether tools were called in it."""
    passed: bool = False
    """Whether it came in frames of the client's own API."""


class Resume(NamedTuple):
    """How a request goes on from a begun answer, in the words of its API.

    `request` makes the request for the rest. `content` is what the request asks for but for what holds as well for a
    rest, such as settings of sampling that other APIs have no word for; it raises ProxyError for anything else.
    `only_own`: engines of other APIs answer it in another way, so only those of its own go on with each other's.
    """

    request: Callable[[Any, Spoken], Any]
    content: Callable[[Any], Any]
    only_own: bool = False
