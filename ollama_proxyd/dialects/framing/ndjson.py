"""Newline-delimited JSON: the ends of its frames, and what is in them."""

from collections.abc import Iterator

ENDS = (b"\n",)


def frames(block: bytes) -> list[bytes]:
    """The lines of a block with their ends."""
    return block.splitlines(keepends=True)


def framed(payload: bytes) -> bytes:
    """A payload as a line."""
    return payload + b"\n"


def lines(block: bytes) -> Iterator[bytes]:
    """The lines of a block without their ends; empty ones are left out."""
    return (line for line in block.splitlines() if line.strip())
