"""Aligned wake-ups: idle work of one phase shares one wake-up of the machine."""

import math

SLACK = 0.1
"""The part of a period by which the next beat may be later than one period; nearer ones count as this one."""


def next_wakeup_s(after_s: float, period_s: float, phase: float = 0.0) -> float:
    """The first beat that is not almost now: at most a period, and a little, after `after_s`.

    phase: by which part of the period the beat is later than the multiples of the period.
    """
    return (math.floor(after_s / period_s - phase + 1 + SLACK) + phase) * period_s
