"""Sanitises untrusted text for logs and terminals."""

MOST_CHARACTERS = 500


def sanitize_line(words: str) -> str:
    """The words as one printable line, cut where they are too long.

    What a backend says goes into logs and terminals: it must not begin a line of its own there, or move the cursor.
    """
    if len(words) <= MOST_CHARACTERS and words.isprintable():
        return words.strip()
    shown = "".join(each if each.isprintable() else " " for each in words[: 4 * MOST_CHARACTERS])
    return " ".join(shown.split())[:MOST_CHARACTERS].rstrip()
