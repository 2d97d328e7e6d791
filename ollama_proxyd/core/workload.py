"""How long slots stay taken and requests wait for one, estimated from what is under way."""

from collections.abc import Iterable
from typing import NamedTuple

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


def slot_wait_s(under_way: Iterable[UnderWay], slots: int, queued_s: float, now_s: float) -> float:
    """How long until a slot is free for one more request; `queued_s` is the work that waits before it."""
    left_s = sorted([each.left_s(now_s) for each in under_way])
    slots = max(slots, 1)
    first_s = left_s[len(left_s) - slots] if len(left_s) >= slots else 0.0
    return first_s + queued_s / slots
