"""The queue of requests that wait for a slot: events in, decisions out, no I/O.

Requests of one kind that prefer one backend stand in one line. A line's first request speaks for the line. So a freed
slot costs work by the number of lines, never by the number of requests. One that now prefers another backend changes
its line, so that it does not hold up those behind it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import inf
from typing import Union

from ollama_proxyd.core.requests import Priority
from ollama_proxyd.core.workload import NO_FOLLOWERS, Ahead, Followers, Following, yielded_s

ADVANCE_S = {Priority.BEST_EFFORT: 0.0, Priority.NORMAL: 120.0, Priority.HIGH: 240.0, Priority.CRITICAL: 600.0}
"""How much earlier a request may arrive and still stand behind one of this priority: nothing waits for ever."""

_MOST_ASKED = 4
"""So many of a line are asked at once, as long as each prefers another backend now."""
_MOST_GONE = 64
"""So many that have left a line may be kept beside those that wait."""


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
    asked: str | None = field(default=None, kw_only=True)
    """The model as it was asked for."""
    passed_s: float | None = field(default=None, kw_only=True)
    """When a later one for the model in memory went before it first."""
    look_at_s: float = field(default=-inf, kw_only=True)
    """When it is decided anew if nothing happens before; a new one has not been asked yet."""
    number: int = field(default=0, kw_only=True)
    """Its place among those that arrived at the same moment."""
    line: Union["_Line", None] = field(default=None, kw_only=True)
    """Where it waits."""

    @property
    def due_s(self) -> float:
        """The earliest goes first: of equal priority the shortest, unless another has waited long."""
        return due_s(self.arrived_s, self.priority) + yielded_s(self.expected_s)


def due_s(arrived_s: float, priority: Priority) -> float:
    """When a request is due that takes no time."""
    return arrived_s - ADVANCE_S[priority]


class _Line:
    """Requests of one kind and priority that prefer one backend, in their order."""

    __slots__ = ("_heap", "_last_due_s", "_work_s", "backends", "key", "preferred", "size")

    def __init__(self, key: Hashable, ticket: Ticket) -> None:
        self.key = key
        self.backends = ticket.backends
        self.preferred = ticket.preferred
        self.size = 0
        self._work_s = 0.0
        self._last_due_s = ticket.due_s
        self._heap: list[tuple[float, int, Ticket]] = []
        """With those that have left, until they come to its top."""

    def enter(self, ticket: Ticket) -> None:
        """Take a request in, at its place."""
        self.size += 1
        self._work_s += ticket.expected_s
        self._last_due_s = max(self._last_due_s, ticket.due_s)
        ticket.line = self
        heappush(self._heap, (ticket.arrived_s, ticket.number, ticket))

    def leave(self, ticket: Ticket) -> None:
        """Let a request out, wherever it stands."""
        self.size -= 1
        self._work_s -= ticket.expected_s
        ticket.line = None
        if len(self._heap) > 2 * self.size + _MOST_GONE:
            self._heap = [entry for entry in self._heap if entry[2].line is self]
            heapify(self._heap)

    @property
    def head(self) -> Ticket:
        """The first request."""
        while (ticket := self._heap[0][2]).line is not self:
            heappop(self._heap)
        return ticket

    def ahead(self, but: Ticket | None) -> Ahead:
        """What waits here, without one request."""
        own_s = but.expected_s if but is not None and but.line is self else 0.0
        others = self.size - 1 if but is not None and but.line is self else self.size
        awaited = 0 if self.head.priority is Priority.BEST_EFFORT else others
        return Ahead(self.head.due_s, self._last_due_s, max(self._work_s - own_s, 0.0), awaited)


Choose = Callable[[Ticket], bool]
"""Asks whether a request goes now; it has taken its slot where the answer is yes."""


class AdmissionQueue:
    """Requests in the order of their priority and age; within one line strictly in the order of arrival."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line] = {}
        self._by_backend: dict[str, dict[_Line, None]] = {}
        """Those that each can serve."""
        self._preferring: dict[str, dict[_Line, None]] = {}
        """Those that would take each."""
        self._aheads: dict[str, tuple[Ahead, ...]] = {}
        """What waits for each, as long as nothing comes or goes there."""
        self._following: Mapping[str | None, Sequence[Following]] | None = None
        """Who asks for each model that is waited for, as long as nothing comes or goes."""
        self._tickets: dict[Ticket, None] = {}
        self._added = 0
        self._depth = dict.fromkeys(Priority, 0)

    def __len__(self) -> int:
        return len(self._tickets)

    def __contains__(self, ticket: Ticket) -> bool:
        return ticket in self._tickets

    def __iter__(self) -> Iterator[Ticket]:
        return iter(tuple(self._tickets))

    @property
    def depth(self) -> dict[Priority, int]:
        """How many wait, by priority."""
        return dict(self._depth)

    @property
    def oldest_s(self) -> float | None:
        """When the request arrived that waits longest; None where none waits."""
        return min((line.head.arrived_s for line in self._lines.values()), default=None)

    @property
    def look_at_s(self) -> float:
        """When the first of a line is to be decided anew."""
        return min((line.head.look_at_s for line in self._lines.values()), default=inf)

    def ahead_of(self, priority: Priority) -> int:
        """How many wait that go before a new request."""
        return sum(count for each, count in self._depth.items() if each >= priority)

    def ahead(self, backend_id: str, but: Ticket | None = None) -> tuple[Ahead, ...]:
        """The work that waits for a backend, by its lines, without a request's own."""
        if but is not None and but.line is not None and but.line.preferred == backend_id:
            return tuple([line.ahead(but) for line in self._preferring[backend_id]])
        if not (lines := self._preferring.get(backend_id)):
            return ()
        if backend_id not in self._aheads:
            self._aheads[backend_id] = tuple([line.ahead(None) for line in lines])
        return self._aheads[backend_id]

    def followers(self, asked: str | None, but: Ticket | None = None) -> Sequence[Following]:
        """The others that ask for a model, by the backends that can serve them; most lines are of the same ones."""
        if self._following is None:
            self._following = _following(self._lines.values())
        found = self._following.get(asked, ())
        if but is None or but.line is None or but.asked != asked or but.priority is Priority.BEST_EFFORT:
            return found
        return tuple([_without(but, each) if _is_of(but, each) else each for each in found])

    def is_waited_for(self, backend_id: str) -> bool:
        """Whether a request waits that a backend can serve."""
        return bool(self._by_backend.get(backend_id))

    def add(self, ticket: Ticket, *, first: bool = False) -> None:
        """Let a request wait at its place by its arrival, before or behind its equals."""
        self._added += 1
        ticket.number = -self._added if first else self._added
        self._tickets[ticket] = None
        self._depth[ticket.priority] += 1
        self._enter(ticket)

    def remove(self, ticket: Ticket) -> bool:
        """Take a request out: whether it waited."""
        if ticket not in self._tickets:
            return False
        del self._tickets[ticket]
        self._depth[ticket.priority] -= 1
        self._leave(ticket)
        return True

    def is_asked_for(self, model: str | None, backend_id: str, priority: Priority) -> bool:
        """Whether a request waits for a model of a backend that is at least so urgent."""
        heads = [line.head for line in self._preferring.get(backend_id, ())]
        return any(each.model == model and each.priority >= priority for each in heads)

    def move(self, ticket: Ticket, backends: frozenset[str], preferred: str, expected_s: float) -> None:
        """Note where a request can go now, and where it would."""
        if (backends, preferred, expected_s) == (ticket.backends, ticket.preferred, ticket.expected_s):
            return
        self._leave(ticket)
        ticket.backends, ticket.preferred, ticket.expected_s = backends, preferred, expected_s
        self._enter(ticket)

    def admit(
        self, choose: Choose, backend_id: str | None = None, while_true: Callable[[], bool] = lambda: True
    ) -> None:
        """Let requests go, the most urgent first, until none wants what is free.

        Only those that a backend can serve are asked where it is named, and only `while_true`. Of a line the first
        that stays is the last that is asked, unless it now prefers another backend.
        """
        asked: set[Ticket] = set()
        stays: Counter[_Line] = Counter()
        while while_true():
            lines = self._lines.values() if backend_id is None else self._by_backend.get(backend_id, ())
            waiting = [line for line in lines if line.head not in asked and stays[line] < _MOST_ASKED]
            if not waiting:
                return
            line = min(waiting, key=lambda each: (each.head.due_s, each.head.number))
            ticket = line.head
            if not self._let_go(ticket, choose):
                asked.add(ticket)
                stays[line] += 1

    def admit_this(self, ticket: Ticket, choose: Choose) -> None:
        """Let a request go, if it is the first of its line."""
        if ticket.line is not None and ticket.line.head is ticket:
            self._let_go(ticket, choose)

    def _let_go(self, ticket: Ticket, choose: Choose) -> bool:
        return choose(ticket) and self.remove(ticket)

    def _enter(self, ticket: Ticket) -> None:
        key = (ticket.kind, ticket.priority, ticket.backends, ticket.preferred)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(key, ticket)
            for backend_id in line.backends:
                self._by_backend.setdefault(backend_id, {})[line] = None
            self._preferring.setdefault(line.preferred, {})[line] = None
        line.enter(ticket)
        self._forget(line)

    def _leave(self, ticket: Ticket) -> None:
        line = ticket.line
        assert line is not None
        line.leave(ticket)
        self._forget(line)
        if not line.size:
            del self._lines[line.key]
            for backend_id in line.backends:
                del self._by_backend[backend_id][line]
            del self._preferring[line.preferred][line]

    def _forget(self, line: _Line) -> None:
        """What was reckoned holds no longer once a line has changed."""
        self._aheads.pop(line.preferred, None)
        self._following = None


def _following(lines: Iterable[_Line]) -> Mapping[str | None, Sequence[Following]]:
    """Who asks for each model, by the backends that can serve them, as far as people wait."""
    sums = defaultdict[str | None, dict[frozenset[str], Followers]](dict)
    for line in lines:
        if (head := line.head).priority is not Priority.BEST_EFFORT:
            each, known = line.ahead(None), sums[head.asked]
            known[line.backends] = known.get(line.backends, NO_FOLLOWERS).and_also(each.awaited, each.work_s)
    return {asked: tuple([Following(*each) for each in known.items()]) for asked, known in sums.items()}


def _without(ticket: Ticket, following: Following) -> Following:
    """Those that follow a request that is one of them."""
    number, work_s = following.followers
    return Following(following.backends, Followers(number - 1, max(work_s - ticket.expected_s, 0.0)))


def _is_of(ticket: Ticket, following: Following) -> bool:
    """Whether the same backends could serve a request and its followers; most often that is one set."""
    return following.backends is ticket.backends or following.backends == ticket.backends
