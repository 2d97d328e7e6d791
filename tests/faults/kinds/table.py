"""The table of faults: named values with a function each, in families."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tests.faults.exchange import Act


class Port(Enum):
    """What becomes of a port of the fault's own, once the backend has been found healthy."""

    SHARED = "shared"
    CLOSED = "closed"
    FULL = "full"
    """Its queue of connections is full and nobody accepts."""
    RESETS = "resets"
    """Each connection is reset as soon as it is accepted."""


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    is_harmless: an odd answer that is nevertheless a whole one. is_clients: the client's own fault by definition, so
    no other backend is asked. texts: what the engine has said where that is not the known text. prompt_bytes: how much
    the client asks. shape: only "stream" or "whole" answers can have it. warms: the client has had an answer before,
    on a connection that is kept. everywhere: the second
    backend has it too. is_heavy: only a few at the same time.
    """

    name: str
    family: str
    act: Act
    port: Port = Port.SHARED
    is_harmless: bool = False
    is_clients: bool = False
    texts: tuple[str, ...] = ()
    prompt_bytes: int = 0
    shape: str = ""
    warms: bool = False
    everywhere: bool = False
    is_heavy: bool = False


KINDS: dict[str, Kind] = {}


def add(family: str, name: str, act: Act, **flags: Any) -> None:
    """Put a kind into the table."""
    assert name not in KINDS, name
    KINDS[name] = Kind(name, family, act, **flags)


def kind(family: str, **flags: Any) -> Callable[[Act], Act]:
    """Puts a function into the table under its own name."""

    def put(act: Act) -> Act:
        add(family, getattr(act, "__name__", ""), act, **flags)
        return act

    return put
