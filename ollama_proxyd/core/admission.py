"""The queue of requests that wait for a slot: events in, decisions out, no I/O.

Requests of one kind stand in one line. A line's first request speaks for the line. So a freed slot costs work by the
number of lines, never by the number of requests.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from ollama_proxyd.core.requests import Priority

ADVANCE_S = {Priority.BEST_EFFORT: 0.0, Priority.NORMAL: 120.0, Priority.HIGH: 240.0, Priority.CRITICAL: 600.0}
"""How much earlier a request may arrive and still stand behind one of this priority: nothing waits for ever."""


@dataclass(slots=True, eq=False)
class Ticket:
    """A request that waits. `kind` is what decides where it can go, `backends` are those that can serve it."""

    kind: Hashable
    priority: Priority
    arrived_s: float
    backends: frozenset[str]
    preferred: str
    """The backend that it would take if nobody else waited."""
    expected_s: float
    """How long it is expected to take there."""
    model: str
    """That backend's name of its model."""
    passed_s: float | None = field(default=None, kw_only=True)
    """When a later one for the model in memory went before it first."""

    @property
    def due_s(self) -> float:
        """The earliest goes first."""
        return self.arrived_s - ADVANCE_S[self.priority]


@dataclass(slots=True, eq=False)
class _Line:
    """Requests of one kind and priority, in their order."""

    key: Hashable
    backends: frozenset[str]
    tickets: OrderedDict[Ticket, None] = field(default_factory=OrderedDict)

    @property
    def head(self) -> Ticket:
        return next(iter(self.tickets))


Choose = Callable[[Ticket], bool]
"""Asks whether a request goes now; it has taken its slot where the answer is yes."""


class AdmissionQueue:
    """Requests in the order of their priority and age; within one line strictly in the order of arrival."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line] = {}
        self._by_backend: dict[str, dict[_Line, None]] = {}
        self._line_of: dict[Ticket, _Line] = {}
        self._depth = dict.fromkeys(Priority, 0)
        self._queued_s: dict[str, dict[Priority, float]] = {}

    def __len__(self) -> int:
        return len(self._line_of)

    def __contains__(self, ticket: Ticket) -> bool:
        return ticket in self._line_of

    def __iter__(self) -> Iterator[Ticket]:
        return iter(tuple(self._line_of))

    @property
    def depth(self) -> dict[Priority, int]:
        """How many wait, by priority."""
        return dict(self._depth)

    @property
    def oldest_s(self) -> float | None:
        """When the request arrived that waits longest; None where none waits."""
        return min((line.head.arrived_s for line in self._lines.values()), default=None)

    def ahead_of(self, priority: Priority) -> int:
        """How many wait that go before a new request."""
        return sum(count for each, count in self._depth.items() if each >= priority)

    def queued_s(self, backend_id: str, priority: Priority, but: Ticket | None = None) -> float:
        """The work that waits for a backend before a new request, without a request's own."""
        queued = self._queued_s.get(backend_id)
        if queued is None:
            return 0.0
        own_s = but.expected_s if but is not None and but in self._line_of and but.preferred == backend_id else 0.0
        return max(sum(seconds for each, seconds in queued.items() if each >= priority) - own_s, 0.0)

    def is_line(self, kind: Hashable, priority: Priority, backends: frozenset[str]) -> bool:
        """Whether requests like this one wait already."""
        return (kind, priority, backends) in self._lines

    def add(self, ticket: Ticket, *, first: bool = False) -> None:
        """Let a request wait at the end of its line, or at its beginning."""
        key = (ticket.kind, ticket.priority, ticket.backends)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(key, frozenset())
            self._serve(line, ticket.backends)
        line.tickets[ticket] = None
        if first:
            line.tickets.move_to_end(ticket, last=False)
        self._line_of[ticket] = line
        self._depth[ticket.priority] += 1
        self._weigh(ticket, ticket.expected_s)

    def remove(self, ticket: Ticket) -> bool:
        """Take a request out: whether it waited."""
        line = self._line_of.pop(ticket, None)
        if line is None:
            return False
        del line.tickets[ticket]
        self._depth[ticket.priority] -= 1
        self._weigh(ticket, -ticket.expected_s)
        if not line.tickets:
            self._serve(line, frozenset())
            del self._lines[line.key]
        return True

    def is_asked_for(self, model: str | None, backend_id: str, priority: Priority) -> bool:
        """Whether a request waits for a model of a backend that is at least so urgent."""
        heads = [line.head for line in self._by_backend.get(backend_id, ())]
        return any(each.model == model and each.preferred == backend_id and each.priority >= priority for each in heads)

    def move(self, ticket: Ticket, backends: frozenset[str], preferred: str, expected_s: float) -> None:
        """Note where the first request of a line can go now, and with it its line."""
        line = self._line_of[ticket]
        if backends != line.backends:
            self._serve(line, backends)
        self._weigh(ticket, -ticket.expected_s)
        ticket.preferred, ticket.expected_s = preferred, expected_s
        self._weigh(ticket, expected_s)

    def admit(
        self, choose: Choose, backend_id: str | None = None, while_true: Callable[[], bool] = lambda: True
    ) -> None:
        """Let requests go, the most urgent first, until none wants what is free.

        Only those that a backend can serve are asked where it is named, and only `while_true`.
        """
        asked: set[_Line] = set()
        while while_true():
            lines = self._lines.values() if backend_id is None else self._by_backend.get(backend_id, ())
            waiting = [line for line in lines if line not in asked]
            if not waiting:
                return
            line = min(waiting, key=lambda each: each.head.due_s)
            if not self._let_go(line, choose):
                asked.add(line)

    def admit_like(self, ticket: Ticket, choose: Choose) -> None:
        """Let requests of a ticket's own line go, until the first of them stays."""
        while (line := self._line_of.get(ticket)) is not None and self._let_go(line, choose):
            pass

    def _let_go(self, line: _Line, choose: Choose) -> bool:
        ticket = line.head
        return choose(ticket) and self.remove(ticket)

    def _serve(self, line: _Line, backends: frozenset[str]) -> None:
        for backend_id in line.backends - backends:
            del self._by_backend[backend_id][line]
        for backend_id in backends - line.backends:
            self._by_backend.setdefault(backend_id, {})[line] = None
        line.backends = backends

    def _weigh(self, ticket: Ticket, seconds: float) -> None:
        queued = self._queued_s.setdefault(ticket.preferred, dict.fromkeys(Priority, 0.0))
        queued[ticket.priority] += seconds
