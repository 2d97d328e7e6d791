"""The beat on which what recurs in idle falls, so that the machine wakes up once for all that has the same phase."""

import math

SLACK = 0.1
"""The part of a period by which the next beat may be later than one period; nearer ones count as this one."""


def next_beat_s(after_s: float, period_s: float, phase: float = 0.0) -> float:
    """The first beat that is not almost now: at most a period, and a little, after `after_s`.

    phase: by which part of the period the beat is later than the multiples of the period.
    """
    return (math.floor(after_s / period_s - phase + 1 + SLACK) + phase) * period_s
