"""When a backend may change its model, so that two of them do not evict each other at each request."""

from dataclasses import dataclass

FOLLOW_UP_S = 1.0
"""For so long at most the next request of a client for the model in memory is waited for."""


@dataclass(slots=True)
class Turn:
    """The model that a backend works with, since when, and when its last answer ended."""

    model: str
    begun_s: float
    ended_s: float


def may_change_s(
    turn: Turn, passed_s: float, longest_s: float, *, is_followed: bool, load_s: float = FOLLOW_UP_S
) -> float:
    """From when on a request for another model may go, which was passed over first at `passed_s`.

    is_followed: a request for the present model waits that is no less urgent. load_s: what the change takes, which
    is the longest wait for a follower that pays.
    """
    in_turn_s = max(passed_s, turn.begun_s) + longest_s
    return in_turn_s if is_followed else min(in_turn_s, turn.ended_s + min(FOLLOW_UP_S, load_s))
