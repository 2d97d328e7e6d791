"""Bounds and sanitises untrusted text."""

from collections.abc import Iterable

LONGEST_SPELLING = 60
"""Characters of a word that a suggestion looks at: its cost grows with the square of the length."""
MOST_CHARACTERS = 500
LARGE_BYTES = 1024 * 1024
"""Work on a text of that size takes about a millisecond; a change of threads costs less."""


def sanitize_line(words: str) -> str:
    """The words as one printable line, cut where they are too long.

    What a backend says goes into logs and terminals: it must not begin a line of its own there, or move the cursor.
    """
    if len(words) <= MOST_CHARACTERS and words.isprintable():
        return words.strip()
    shown = "".join(each if each.isprintable() else " " for each in words[: 4 * MOST_CHARACTERS])
    return " ".join(shown.split())[:MOST_CHARACTERS].rstrip()


def printable(text: str, keep: str = "") -> str:
    """The text with a space for each character that is not printable; those of `keep` stay."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else " " for each in text)


def cut(text: str, most_characters: int) -> str:
    """The text with its end left out where it is too long."""
    return text if len(text) <= most_characters else f"{text[: most_characters - 3]}..."


def nearest(word: str, known: Iterable[str], cutoff: float) -> str | None:
    """The known spelling that was probably meant, if one is near; the known ones are in lower case."""
    from difflib import get_close_matches  # noqa: PLC0415 - memory that is spared until somebody misspells

    said = word[:LONGEST_SPELLING].lower()
    close = get_close_matches(said, tuple(known), cutoff=cutoff)
    # difflib counts two swapped letters as two faults: of "modle" it makes "mode".
    return next((each for each in close if sorted(each) == sorted(said)), close[0] if close else None)
