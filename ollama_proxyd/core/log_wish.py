"""How much of its own request a client wants in the log; words of prompts and answers never stand there."""

from enum import Enum


class LogWish(Enum):
    """From nothing to all terms of the decision."""

    OFF = "off"
    ERROR = "error"
    INFO = "info"
    DEBUG = "debug"


NAMES = {**{each.value: each for each in LogWish}, "1": LogWish.DEBUG}
