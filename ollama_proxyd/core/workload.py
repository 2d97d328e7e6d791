"""How long slots stay taken and requests wait for one, estimated from what is under way and what goes before."""

from collections.abc import Iterable, Sequence
from math import inf
from typing import NamedTuple

YIELDED_PER_S = 3.0
"""Before a request goes one that is a second shorter, if it came at most so many seconds later."""
MOST_YIELDED_S = 60.0
"""However long it takes, a request lets none before it that came later than this: nothing waits for ever."""
OVERDUE_SHARE = 0.25
"""Work past its estimate is taken to go on for this share of the time that it has run."""


class UnderWay(NamedTuple):
    """A request under way: when it began, how long it was expected to take, and the backend's name of its model."""

    begun_s: float
    expected_s: float
    model: str | None = None

    def left_s(self, now_s: float) -> float:
        """How long it is expected to go on."""
        run_s = max(now_s - self.begun_s, 0.0)
        return max(self.expected_s - run_s, OVERDUE_SHARE * run_s)

    @property
    def grows_from_s(self) -> float:
        """When it is overdue, so that what is left of it is taken to grow."""
        return self.begun_s + self.expected_s / (1 + OVERDUE_SHARE)


def yielded_s(expected_s: float) -> float:
    """How much later a request counts as come that takes so long: the shortest go first."""
    return min(YIELDED_PER_S * expected_s, MOST_YIELDED_S)


class Ahead(NamedTuple):
    """Requests of one kind that wait: when the first and the last are due, and the work that they are."""

    first_due_s: float
    last_due_s: float
    work_s: float
    awaited: int = 0
    """How many of them people wait for."""

    def before(self, due_s: float) -> float:
        """The share of them that is due before a moment."""
        if due_s < self.first_due_s:
            return 0.0
        if due_s >= self.last_due_s:
            return 1.0
        return (due_s - self.first_due_s) / (self.last_due_s - self.first_due_s)


SETTLED = 3.0
"""Of those that wait so many find another slot before a device has started that all of them would share."""


class Followers(NamedTuple):
    """Others that wait and ask for the same model, people wait for them: how many, and the work that they are."""

    number: int
    work_s: float

    def and_also(self, number: int, work_s: float) -> "Followers":
        """These and more of them."""
        return Followers(self.number + number, self.work_s + work_s)

    def left_after(self, start_s: float, elsewhere: int) -> float:
        """How many still wait when a device has started, while so many other backends go on to serve them."""
        left = self.number * (1 - start_s * elsewhere / self.work_s) if self.work_s > 0 else 0.0
        return max(left - SETTLED, 0.0)


NO_FOLLOWERS = Followers(0, 0.0)


class Following(NamedTuple):
    """The followers that some backends could serve."""

    backends: frozenset[str]
    followers: Followers


def followers_of(following: Iterable[Following], backend_id: str) -> Followers:
    """All that one backend could serve."""
    found = [each for backends, each in following if backend_id in backends]
    return Followers(sum([each.number for each in found]), sum([each.work_s for each in found]))


def most_sharing(following: Iterable[Following], elsewhere: int) -> tuple[float, float]:
    """How many share what starts a device at most, and how many fewer for each second that starting takes."""
    found = [each for _, each in following if each.number]
    each_s = [each.number / each.work_s for each in found if each.work_s > 0]
    if not each_s:
        return 1.0, 0.0
    return 1 + sum([each.number for each in found]) - SETTLED, min(each_s) * elsewhere


class QueueAhead(NamedTuple):
    """What waits for a backend; `due_s` is when a request would be due that took no time."""

    due_s: float
    slots: int
    lines: tuple[Ahead, ...]

    def wait_s(self, work_s: float) -> float:
        """How long a request of so much work waits until those before it have begun."""
        due_s = self.due_s + yielded_s(work_s)
        return sum([each.work_s * each.before(due_s) for each in self.lines]) / max(self.slots, 1)


def slot_wait_s(under_way: Iterable[UnderWay], slots: int, now_s: float) -> float:
    """How long until a slot is free again."""
    left_s = sorted([each.left_s(now_s) for each in under_way])
    slots = max(slots, 1)
    return left_s[len(left_s) - slots] if len(left_s) >= slots else 0.0


def wait_grows_in_s(under_way: Sequence[UnderWay], slots: int, now_s: float) -> float:
    """For how long the wait for a slot falls at least, until the work that frees it is overdue; `inf` without one."""
    in_order, slots = sorted(under_way, key=lambda each: each.left_s(now_s)), max(slots, 1)
    if len(in_order) < slots:
        return inf
    return max(in_order[len(in_order) - slots].grows_from_s - now_s, 0.0)
