"""How much requests beside each other slow one: what an answer shows of it, and what is made of that."""

from typing import NamedTuple

NEIGHBOUR_SLOWDOWN = 0.25
"""How much longer each other request on the same chip makes an answer, until that is measured."""
MOST_SLOWING = 2.0
"""One more request makes no answer longer than this: as if they took turns, and some more."""
LEAST_MORE = 0.5
"""Fewer others more than usual show nothing of how they slow an answer."""


class Slowing(NamedTuple):
    """What an answer showed of others that were under way beside it."""

    backend_id: str
    each: float
    """How much longer that backend made it, or each of those in its own batch."""
    weight: float = 1.0
    """What that counts: little where hardly more were beside it than usual."""

    def after(self, known: float, share: float) -> float:
        """The slowing to expect; a mean of the factors as they are, since they may be zero."""
        return known + share * self.weight * (min(max(self.each, 0.0), MOST_SLOWING) - known)


def slowing_by(backend_id: str, times: float, count: float, usual: float = 0.0) -> Slowing | None:
    """What so many others show, beside which an answer took `times` as long as beside the `usual` number of them.

    None where they are hardly more than those.
    """
    more = count - usual * times
    return Slowing(backend_id, (times - 1) / more, min(more / count, 1.0) ** 2) if more >= LEAST_MORE else None
