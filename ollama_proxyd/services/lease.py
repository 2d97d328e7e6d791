"""One configured backend with the requests under way on it, and the lease of one of its slots."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from ollama_proxyd.core.allowance import Allowance
from ollama_proxyd.core.attempts import AttemptBegun, AttemptEnded
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.faults import Work
from ollama_proxyd.core.workload import UnderWay
from ollama_proxyd.services.cell import Topic
from ollama_proxyd.services.inventory import BackendConfig
from ollama_proxyd.services.ports import Backend


@dataclass(slots=True, eq=False)
class Member:
    """A backend and the requests under way on it; a changed configuration makes another one."""

    config: BackendConfig
    backend: Backend
    leases: dict["Lease", None] = field(default_factory=dict)
    """The slots that are taken."""
    asked_s: float = -inf
    """When its last check began, on the monotonic clock."""
    asking: asyncio.Task[None] | None = None
    """The check under way."""
    next_check: asyncio.Task[None] | None = None
    """The check that begins when that one has ended; all who need a fresh one wait for it together."""
    check_turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a check asks."""
    allowance: Allowance | None = None
    """How many more requests may be sent to it in this minute, None where that has no limit."""
    failures: int = 0
    """Of checks and connections, in a row."""
    successes: int = 0
    """Of checks, in a row."""
    slot_misses: dict[int, int] = field(default_factory=dict)
    """How many trials in a row showed that it does not answer so many requests at once."""
    _leased_s: float = 0.0
    """For how long its slots were taken, all together, until it was counted."""
    _counted_s: float = -inf
    id: str = field(init=False)
    """The backend's id."""

    def __post_init__(self) -> None:
        self.id = self.config.spec.id

    @property
    def in_flight(self) -> int:
        """How many requests are under way on it."""
        return len(self.leases)

    def leased_s(self, now_s: float) -> float:
        """For how long its slots have been taken by now, all together; asked before one is taken or given back."""
        if self.leases:
            self._leased_s += len(self.leases) * (now_s - self._counted_s)
        self._counted_s = now_s
        return self._leased_s

    def release(self, lease: "Lease", now_s: float) -> None:
        """One of its slots is taken no longer."""
        self.leased_s(now_s)
        del self.leases[lease]

    def is_down_after_failure(self) -> bool:
        """Count a failure; whether there are as many in a row as make it down."""
        self.failures, self.successes = self.failures + 1, 0
        return self.failures >= self.config.unhealthy_threshold

    def is_up_after_success(self) -> bool:
        """Count a success; whether there are as many in a row as make one up that was down."""
        self.failures, self.successes = 0, self.successes + 1
        return self.successes >= self.config.healthy_threshold

    def rest_s(self, now_s: float) -> float:
        """Count a request; for how long no further one is sent."""
        limit = self.config.requests_per_minute
        if limit is None:
            return 0.0
        if self.allowance is None or self.allowance.per_minute != limit:
            self.allowance = Allowance(limit, limit, now_s)
        self.allowance.take(now_s)
        return self.allowance.wait_s(now_s)

    def is_for(self, config: BackendConfig) -> bool:
        """Whether it can go on under another configuration."""
        return (self.config.spec, self.config.api_key) == (config.spec, config.api_key)

    def is_at(self, config: BackendConfig) -> bool:
        """Whether another configuration means an engine at the same address."""
        ours, theirs = self.config.spec, config.spec
        return ours is theirs or (ours.endpoint, ours.proxy) == (theirs.endpoint, theirs.proxy)

    def is_same_engine(self, config: BackendConfig) -> bool:
        """Whether health checks under another configuration would ask the same questions of the same address."""
        ours, theirs = self.config.spec, config.spec
        asked = (ours.api, ours.endpoint, ours.flavor, ours.proxy, ours.ca_file, self.config.api_key)
        return asked == (theirs.api, theirs.endpoint, theirs.flavor, theirs.proxy, theirs.ca_file, config.api_key)


class Desk(Protocol):
    """Takes note of what becomes of the work on a slot of a member."""

    sent: Topic[AttemptBegun]
    """Each request that is being sent."""
    writing: Topic[str]
    """The backend of each of which the first words came."""
    yielding: int
    """How many slots a more urgent request may take."""

    def note_begun(self, member: Member, tries: Work | None, rest_s: float | None) -> None:
        """The first words came, for the work by which a failing member is tried or with a wish to be left alone."""

    def note_ended(self, lease: "Lease", ended: AttemptEnded, failure: ProxyError | None) -> None:
        """The work has ended."""

    def give_back(self, lease: "Lease") -> None:
        """The slot is free."""


class Lease:
    """One slot of one backend, held until its `with` block is left.

    `tries` is the work by which a backend that failed of late is tried.
    """

    __slots__ = (
        "_desk",
        "_leased_s",
        "_until",
        "backend",
        "is_displaced",
        "is_writing",
        "is_yielding",
        "member",
        "on_begun",
        "place",
        "tries",
        "under_way",
    )

    def __init__(self, member: Member, desk: Desk, under_way: UnderWay, tries: Work | None) -> None:
        self.member = member
        self._desk = desk
        self._leased_s = member.leased_s(under_way.begun_s)
        member.leases[self] = None
        self.backend = member.backend
        """The engine that answers."""
        self.under_way = under_way
        self.tries = tries
        self.is_yielding = False
        """Whether a more urgent request may take the slot while the client has got nothing."""
        self.is_displaced = False
        self.is_writing = False
        """Whether an answer comes word by word, and its first words are here."""
        self.place: int | None = None
        """The place that its request had in the queue, None where it did not wait."""
        self.on_begun: Callable[[], None] | None = None
        """Called when the first words come."""
        self._until: asyncio.Timeout | None = None

    def neighbours(self, now_s: float) -> float:
        """How many others were under way on the backend beside it until now: the mean over its time, in tenths."""
        seconds = now_s - self.under_way.begun_s
        if seconds <= 0:
            return float(self.member.in_flight - 1)
        return round((self.member.leased_s(now_s) - self._leased_s) / seconds - 1, 1)

    @asynccontextmanager
    async def displaceable(self) -> AsyncIterator[None]:
        """What may be cut off for a more urgent request; raises TimeoutError then."""
        try:
            async with asyncio.timeout(None) as self._until:
                yield
        finally:
            self._until = None

    def yields(self) -> None:
        """Let a more urgent request take the slot while the client has got nothing."""
        self.is_yielding = True
        self._desk.yielding += 1

    def displace(self) -> bool:
        """Cut off the work for a more urgent request, where that is possible."""
        if self._until is None or not self.is_yielding or self.is_displaced:
            return False
        self.is_displaced = True
        self._until.reschedule(asyncio.get_running_loop().time())
        return True

    def sends(self, model: str, keeps_s: float | None) -> None:
        """Tell that the work is being sent."""
        self._desk.sent.publish(AttemptBegun(self.member.id, model, keeps_s))

    def begun(self, rest_s: float | None = None, *, streams: bool) -> None:
        """Tell that the first words came."""
        self.is_writing = streams
        if self.on_begun is not None:
            self.on_begun()
        self._desk.writing.publish(self.member.id)
        if self.tries is not None or rest_s is not None:
            self._desk.note_begun(self.member, self.tries, rest_s)

    def report(self, ended: AttemptEnded, failure: ProxyError | None) -> None:
        """Tell how the work on this slot ended."""
        self._desk.note_ended(self, ended, failure)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *ended: object) -> None:
        self._desk.yielding -= self.is_yielding
        self._desk.give_back(self)


def taken_out(backend_id: str) -> ProxyError:
    """Why a backend that was chosen is not asked: a reload came between."""
    message = f"backend {backend_id} was taken out of the configuration meanwhile; ask again"
    return ProxyError(ErrorKind.UNAVAILABLE, message, code="backend_removed")
