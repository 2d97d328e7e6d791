"""What a request costs at least on each backend: by lines that are drawn once and kept while little changes."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.learning import context_of
from ollama_proxyd.core.policy.alike import Alike, mark_of
from ollama_proxyd.core.policy.cost import NEXT_TURN, Candidate, Demand, Line, LineKey, line
from ollama_proxyd.core.policy.crowd import Crowd, Neighbour, Neighbours, Working
from ollama_proxyd.core.workload import most_sharing

FEW = 8
"""Of so many backends each that has changed is priced in full: that takes no longer than to draw its line anew."""
MOST_STALE = 2
"""So many of them; where more have changed the lines of all are drawn anew."""

Alone: TypeAlias = tuple[Candidate, BackendView, Crowd]


class Fit(NamedTuple):
    """The backends that can do the work, by their numbers."""

    size: int
    numbers: Mapping[str, int]
    shared: Mapping[str, Sequence[int]]
    """The numbers of those on each chip that several share."""
    alone: Callable[[int], Alone]
    """One of them as it is now, and what it would meet if nothing else were at work on its chip."""


_Read: TypeAlias = tuple[Line, float]
"""How a prompt is read on a backend: by which line, and how many tokens of it."""


class _Reading:
    """How each backend reads the prompt of a request, at least: less where a part of it is cached somewhere."""

    __slots__ = ("_tokens", "cached", "lines", "rest", "rest_tokens")

    def __init__(self, lines: Sequence[Line], tokens: float) -> None:
        self.lines = lines
        self._tokens = tokens
        self.cached: dict[int, _Read] = {}
        """Those that have a part of it read."""
        self.rest: Sequence[Line] | None = None
        """The lines for what no cache holds."""
        self.rest_tokens = tokens

    def work_s(self, number: int, write: float) -> float:
        """How long a backend would work alone."""
        first_s, each_s, write_s = self.lines[number].busy_s
        if self.rest is None:
            return first_s + each_s * self._tokens + write_s * write
        by, tokens = self.cached.get(number) or (self.lines[number], self._tokens)
        seconds = _read_s(by, tokens)
        seconds -= NEXT_TURN * max(seconds - _read_s(self.rest[number], self.rest_tokens), 0.0)
        return seconds + write_s * write

    def lower(self, costs: list[float]) -> None:
        """Take off these costs what caches spare, and what the next turn bears.

        That is a share of what one now reads more than another.
        """
        lines, cached, whole, part = self.lines, self.cached, self._tokens, self.rest_tokens
        for number, rest in enumerate(self.rest or ()):
            own = lines[number]
            by, tokens = cached.get(number) or (own, whole)
            (first_s, each_s, _), (rest_s, rest_each_s, _) = by.busy_s, rest.busy_s
            if (more_s := first_s + each_s * tokens - rest_s - rest_each_s * part) > 0:
                costs[number] -= NEXT_TURN * by.turn_w * more_s
            if tokens != whole:
                costs[number] += by.fixed_j + by.read_j * tokens - own.fixed_j - own.read_j * whole


def _read_s(by: Line, tokens: float) -> float:
    """How long so much is read alone."""
    first_s, each_s, _ = by.busy_s
    return first_s + each_s * tokens


class _Drawn(NamedTuple):
    """The lines of all backends that are fit, for one kind of request."""

    lines: list[Line]
    costs: list[tuple[float, ...]]
    """What each costs, by the first five fields of its line."""
    stale: frozenset[int]
    """The numbers of those that have changed since."""


class Lines:
    """The lines of all backends that are fit, for each kind of request."""

    def __init__(self) -> None:
        self._drawn: dict[LineKey, _Drawn] = {}
        self._alike = Alike((), {}, frozenset())
        self._alone: dict[int, Alone] = {}
        """Those that were looked at, as they are for every kind of request."""

    def followed(self, changed: Iterable[int]) -> "Lines":
        """The same where some backends are no longer as they were."""
        found = Lines()
        if not self._drawn:
            return found
        changed = frozenset(changed)
        found._alike = self._alike.followed(changed)
        found._drawn = {
            key: _Drawn(lines, costs, stale | changed) for key, (lines, costs, stale) in self._drawn.items()
        }
        return found

    def alike(self, asked: Demand, fit: Fit) -> Sequence[int | None]:
        """The same number for those on which this request costs the same, None for those without their like.

        Where it would wait, and what of its prompt a cache holds, is that backend's own.
        """
        if not all(fit.numbers.keys() <= each.backends for each in asked.followers):
            return [None] * fit.size

        def mark(number: int) -> Hashable | None:
            candidate, view, met = self._one(number, fit)
            return None if candidate.chip in fit.shared else mark_of(candidate, view, met)

        found = self._alike.among(fit.size, mark)
        if not (asked.waits_s or asked.cached_tokens):
            return found
        own = {fit.numbers.get(each) for each in (*asked.waits_s, *asked.cached_tokens)}
        return [None if number in own else each for number, each in enumerate(found)]

    def least_costs(
        self, asked: Demand, fit: Fit, working: Working, cost_j: Callable[[int], float] | None = None
    ) -> list[float]:
        """What a request costs at least on each, in their order, while these are at work.

        Of a few that have changed it is what `cost_j` tells, where that is given: their whole cost.
        """
        prices = asked.price_of_time_w, asked.others_price_w
        key = LineKey(context_of(asked.prompt_tokens), *prices, bool(asked.followers))
        most = MOST_STALE if cost_j is not None and fit.size <= FEW and not asked.cached_tokens else 0
        drawn = self._of(key, fit, working, most)
        costs = self._by_lines(drawn, key, asked, (fit, working))
        if cost_j is not None:
            for number in drawn.stale:
                costs[number] = cost_j(number)
        return costs

    def _by_lines(self, drawn: _Drawn, key: LineKey, asked: Demand, there: tuple[Fit, Working]) -> list[float]:
        """The same by the lines alone."""
        (fit, working), write = there, asked.output_tokens
        costs, reading = _alone(drawn.costs, asked), _Reading(drawn.lines, asked.prompt_tokens)
        if asked.cached_tokens:
            self._note_cached(reading, key, asked, there)
            reading.lower(costs)
        for at in [at for at, each in enumerate(drawn.lines) if each.sparing is not None]:
            costs[at] -= drawn.lines[at].most_spared_j(asked.now_s)
        for chip, numbers in fit.shared.items() if working else ():
            if (beside := working.get(chip)) is not None:
                count, second_j = len(beside.each), _second_j(beside, asked.others_price_w)
                for at in numbers:
                    each = drawn.lines[at]
                    costs[at] += each.slowed * reading.work_s(at, write) * (each.work_w * count + second_j)
        for backend_id, wait_s in asked.waits_s.items():
            if (number := fit.numbers.get(backend_id)) is not None:
                queue = asked.queues.get(backend_id)
                queue_s = queue.wait_s(reading.work_s(number, write)) if queue is not None and queue.lines else 0.0
                costs[number] += asked.price_of_time_w * (wait_s + queue_s)
        return costs

    def _note_cached(self, found: _Reading, key: LineKey, asked: Demand, there: tuple[Fit, Working]) -> None:
        """Who has read a part of the prompt; with its model a cache leaves the memory."""
        by_tokens = {
            tokens: self._of(LineKey(context_of(asked.prompt_tokens - tokens), *key[1:]), *there).lines
            for tokens in set(asked.cached_tokens.values())
        }
        most = max(by_tokens)
        found.rest, found.rest_tokens = by_tokens[most], asked.prompt_tokens - most
        for backend_id, tokens in asked.cached_tokens.items():
            if (number := there[0].numbers.get(backend_id)) is not None and found.lines[number].is_loaded:
                found.cached[number] = by_tokens[tokens][number], asked.prompt_tokens - tokens

    def _of(self, key: LineKey, fit: Fit, working: Working, most_stale: int = 0) -> _Drawn:
        """The lines of all that are fit, drawn anew where more have changed than may be left as they were."""
        known = self._drawn.get(key)
        if known is not None and len(known.stale) <= most_stale:
            return known
        if known is None:
            lines = [self._draw(number, key, fit, working) for number in range(fit.size)]
            found = _Drawn(lines, [each[:5] for each in lines], frozenset())
        else:
            found = _Drawn(list(known.lines), list(known.costs), frozenset())
            for number in known.stale:
                found.lines[number] = self._draw(number, key, fit, working)
                found.costs[number] = found.lines[number][:5]
        self._drawn[key] = found
        return found

    def _one(self, number: int, fit: Fit) -> Alone:
        """One of those that are fit, looked at once."""
        if (alone := self._alone.get(number)) is None:
            alone = self._alone[number] = fit.alone(number)
        return alone

    def _draw(self, number: int, key: LineKey, fit: Fit, working: Working) -> Line:
        """The line of one, without its own part in the sums of a chip that it shares."""
        candidate, view, _ = alone = self._one(number, fit)
        found, there = line(*alone, key), working.get(candidate.chip)
        own = None if there is None else there.each.get(view.spec.id)
        if own is None or candidate.chip not in fit.shared:
            return found
        return found.less_own(_second_j(own, key.others_price_w))


def _alone(costs: Sequence[tuple[float, ...]], asked: Demand) -> list[float]:
    """What a request costs at least on each while nothing else is at work; those that wait share what starts one."""
    read, write = asked.prompt_tokens, asked.output_tokens
    if not asked.followers:
        return [fixed_j + read_j * read + write_j * write + start_j for fixed_j, read_j, write_j, start_j, _ in costs]
    most, less_each_s = most_sharing(asked.followers, len(asked.waits_s))
    return [
        fixed_j
        + read_j * read
        + write_j * write
        + (start_j / count if (count := most - less_each_s * start_s) > 1 else start_j)
        for fixed_j, read_j, write_j, start_j, start_s in costs
    ]


def _second_j(at_work: Neighbour | Neighbours, price_w: float) -> float:
    """What it costs that what is at work takes a second longer."""
    return price_w * at_work.awaited + at_work.power_w
