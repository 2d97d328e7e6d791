"""Frames that differ from one that was read in their words alone, as most of a stream do."""

import re
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

    __slots__ = ("_around", "_between", "_end", "_start", "_unlike")

    def __init__(self) -> None:
        self._start = self._end = b""
        self._between: tuple[bytes, ...] = ()
        """What stands between the words of several members."""
        self._around: tuple[bytes, bytes] | None = None
        """What a client gets in place of the start and the end, where that is something else."""
        self._unlike = 0
        """How many frames were learned since the last one that was like another."""

    def learn(self, frame: bytes, told: bytes) -> None:
        """Take a frame that every client reads as the one to compare with; of those that never repeat not for long.

        told: as the client gets it, under another name for the model.
        """
        self._start = b""
        if self._unlike >= _MOST_UNLIKE:
            return
        parts = _parts(frame)
        around = None if told is frame else _parts(told)
        if len(parts) > 1 and (around is None or around[1:-1] == parts[1:-1]):
            self._start, *between, self._end = parts
            self._between = tuple(between)
            self._around = None if around is None else (around[0], around[-1])
            self._unlike += 1

    def forget(self) -> None:
        """Compare with nothing until the next frame is learned."""
        self._start = b""

    def passed(self, frame: bytes) -> bytes:
        """A frame as the client gets it; empty unless it is the learned one with other words."""
        start, end = self._start, self._end
        if not start or not frame.startswith(start) or not frame.endswith(end):
            return b""
        words = frame[len(start) - 1 : len(frame) - len(end) + 1]  # the quotes included
        try:
            for between in self._between:
                before, _, after = words.partition(between)
                _TEXT.decode(before + b'"')
                words = b'"' + after
            _TEXT.decode(words)
        except UNREADABLE:
            return b""
        self._unlike = 0
        if self._around is None:
            return frame
        return b"".join((self._around[0], frame[len(start) : len(frame) - len(end)], self._around[1]))

    def words(self, frame: bytes) -> str:
        """The words of a frame that is the learned one with others; empty where it is not, or has several."""
        start, end = self._start, self._end
        if not start or self._between or not frame.startswith(start) or not frame.endswith(end):
            return ""
        try:
            words = _TEXT.decode(frame[len(start) - 1 : len(frame) - len(end) + 1])
        except UNREADABLE:
            return ""
        self._unlike = 0
        return words


def _parts(frame: bytes) -> list[bytes]:
    """What stands around and between the words of a frame."""
    at, parts = 0, []
    for words in _WORDS.finditer(frame):
        parts.append(frame[at : words.start(1)])
        at = words.end(1)
    return [*parts, frame[at:]]
