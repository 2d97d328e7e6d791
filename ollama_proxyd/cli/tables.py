"""Columns of text."""

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers_from: int | None = None) -> str:
    """Columns as wide as their widest cell, numbers to the right; columns and heads without content are left out."""
    lines = [tuple(row) for row in rows]
    columns = [at for at in range(len(heads)) if any(line[at] for line in lines)]
    shown = [tuple(heads), *lines] if any(heads) else lines
    widths = {at: max(len(line[at]) for line in shown) for at in columns}
    sides = {at: "<" if numbers_from is None or at < numbers_from else ">" for at in columns}
    return "\n".join("  ".join(f"{line[at]:{sides[at]}{widths[at]}}" for at in columns).rstrip() for line in shown)
