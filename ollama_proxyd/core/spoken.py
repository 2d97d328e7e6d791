"""The part of an answer that its client has."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a client has of an answer that goes on elsewhere; `tokens` is at least one for each piece."""

    text: str = ""
    thinking: str = ""
    tokens: int = 0
    has_calls: bool = False
    """Whether tools were called in it."""
