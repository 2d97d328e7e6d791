"""A request in the queue: how it is decided, and when that may turn out otherwise."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import TypeAlias

from ollama_proxyd.core.admission import Ticket
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.values import replace
from ollama_proxyd.services.lease import Lease

Decide: TypeAlias = Callable[[Query], Decision]
"""Decides again; raises ProxyError where nothing can serve the request."""
Granted: TypeAlias = tuple[Decision, Lease]


@dataclass(slots=True, eq=False)
class Waiting(Ticket):
    """A request in the queue, how it is decided, and its slot when it has one."""

    query: Query
    decide: Decide
    is_back: bool
    """Whether it had a slot already, which a more urgent request took."""
    added_s: float
    """When it began to wait here."""
    place: int = 0
    """Its place when it came."""
    granted: asyncio.Future[Granted] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def forget(self) -> None:
        """Its wait is over: the error that may have ended it holds the frames that hold this."""
        self.granted = self.granted.get_loop().create_future()

    def query_at(self, now_s: float) -> Query:
        """What it asks for at a moment."""
        left_s = self.query.time_left_s
        left_s = None if left_s is None else left_s - (now_s - self.added_s)
        return replace(self.query, waited_s=now_s - self.arrived_s, time_left_s=left_s)

    def look_again(self, now_s: float, *moments_s: float) -> None:
        """Have it decided anew at the first of these moments that is to come."""
        self.look_at_s = min([each for each in moments_s if each > now_s], default=inf)
