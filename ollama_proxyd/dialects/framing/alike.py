"""Frames that differ from one that was read in their words alone, as most of a stream do."""

import re
from itertools import pairwise
from typing import Final

import msgspec

from ollama_proxyd.dialects.framing.jsonbody import UNREADABLE

_WORDS: Final = re.compile(
    rb'"(?:content|text|delta|response|thinking|reasoning|reasoning_content|created_at)": ?"(?!")((?:[^"\\]|\\.)*+)"'
)
"""A member of which any text is as good as another. Within a text its quotes would be escaped."""
_TEXT: Final = msgspec.json.Decoder(str)
_MOST_UNLIKE: Final = 8


class Alike:
    """Tells frames that every client reads because it reads one with other words, in a third of the time."""

    __slots__ = ("_between", "_end", "_start", "_unlike")

    def __init__(self) -> None:
        self._start = self._end = b""
        self._between: tuple[bytes, ...] = ()
        """What stands between the words of several members."""
        self._unlike = 0
        """How many frames were learned since the last one that was like another."""

    def learn(self, frame: bytes) -> None:
        """Take a frame that every client reads as the one to compare with; of those that never repeat not for long."""
        self._start = b""
        if self._unlike >= _MOST_UNLIKE:
            return
        if words := [found.span(1) for found in _WORDS.finditer(frame)]:
            self._start, self._end = frame[: words[0][0]], frame[words[-1][1] :]
            self._between = tuple(frame[end:start] for (_, end), (start, _) in pairwise(words))
            self._unlike += 1

    def forget(self) -> None:
        """Compare with nothing until the next frame is learned."""
        self._start = b""

    def holds(self, frame: bytes) -> bool:
        """Whether a frame is the learned one with other words."""
        start, end = self._start, self._end
        if not start or not frame.startswith(start) or not frame.endswith(end):
            return False
        words = frame[len(start) - 1 : len(frame) - len(end) + 1]  # the quotes included
        try:
            for between in self._between:
                before, _, after = words.partition(between)
                _TEXT.decode(before + b'"')
                words = b'"' + after
            _TEXT.decode(words)
        except UNREADABLE:
            return False
        self._unlike = 0
        return True
