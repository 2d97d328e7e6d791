"""Idle backends on which a request costs the same: of a hundred alike one is priced, the next when it is asked for."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from heapq import heappop, heappush

from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.policy.cost import Candidate
from ollama_proxyd.core.policy.crowd import ALONE, Crowd, batch_of
from ollama_proxyd.core.policy.decision import Ranked


class Alike:
    """A number for each backend, the same for those that are alike; followed as the fleet changes."""

    def __init__(self, numbers: Sequence[int | None], known: dict[Hashable, int], stale: frozenset[int]) -> None:
        self._numbers = numbers
        self._known = known
        self._stale = stale

    def followed(self, changed: frozenset[int]) -> "Alike":
        """The same where some backends are no longer as they were."""
        return Alike(self._numbers, self._known, self._stale | changed)

    def among(self, size: int, mark: Callable[[int], Hashable | None]) -> Sequence[int | None]:
        """The number of each; None for those that have none of their like."""
        if len(self._numbers) != size:
            self._numbers, self._known, self._stale = [None] * size, {}, frozenset(range(size))
        if self._stale:
            if len(self._known) > 2 * size:
                self._known, self._stale = {}, frozenset(range(size))
            self._numbers = self._renewed(self._stale, mark)
            self._stale = frozenset()
        return self._numbers

    def _renewed(self, stale: Iterable[int], mark: Callable[[int], Hashable | None]) -> Sequence[int | None]:
        numbers = list(self._numbers)
        for at in stale:
            numbers[at] = None if (found := mark(at)) is None else self._known.setdefault(found, len(self._known))
        return numbers


def mark_of(candidate: Candidate, view: BackendView, met: Crowd) -> Hashable | None:
    """All that the price of an idle backend without a model in memory rests on, beside the request.

    None for any other: what is at work there, what leaves its memory when, and what endangers or fails it are its own.
    """
    is_plain = candidate.critical is None and view.spec.tariff is None and not view.breakers
    if view.in_flight or view.loaded or met is not ALONE or not is_plain:
        return None
    kept, memory, expected = candidate.keeping, view.memory, candidate.expected
    costs, (arrival, _) = kept.costs, kept.arrival
    work = expected[:5], expected.is_guess, batch_of(view, candidate.model), view.slots
    stay = arrival, costs[:5], costs.start_s, costs.start_j, kept.price_w, kept.asked_as, kept.has_tail
    rules = memory.is_kept_by_us, id(memory.gaps_s), view.loaded is None, view.spec.profile.keep_alive_s
    shares = candidate.heat_share, candidate.noise_share, candidate.elsewhere_w, candidate.network_s
    return work, stay, rules, shares, tuple([each.code for each in candidate.standing])


class Cheapest:
    """Backends that were priced, the cheapest first; behind each wait its like, which cost as much."""

    def __init__(self, priced: Callable[[int], Ranked], alike: Sequence[int | None]) -> None:
        self._priced = priced
        self._alike = alike
        self._found: list[tuple[float, int]] = []
        self._behind: dict[int, deque[int]] = {}
        self.least_j: float | None = None
        """What the cheapest costs; None where there is none."""

    def add(self, number: int) -> None:
        """Price one, unless one of its like stands here."""
        mark = self._alike[number]
        if mark is not None and (behind := self._behind.get(mark)) is not None:
            behind.append(number)
            return
        if mark is not None:
            self._behind[mark] = deque()
        heappush(self._found, (self._priced(number).cost_j, number))
        self.least_j = self._found[0][0]

    def take(self) -> Ranked:
        """The cheapest, of equals the first; the next of its like moves up."""
        cost_j, number = heappop(self._found)
        if (mark := self._alike[number]) is not None:
            if self._behind[mark]:
                heappush(self._found, (cost_j, self._behind[mark].popleft()))
            else:
                del self._behind[mark]
        self.least_j = self._found[0][0] if self._found else None
        return self._priced(number)
