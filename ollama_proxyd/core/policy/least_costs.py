"""What a request costs at least on each backend: by lines that are drawn once and kept while little changes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil
from typing import NamedTuple, TypeAlias

from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.learning import context_of
from ollama_proxyd.core.policy.cost import NEXT_TURN, Candidate, Demand, Line, LineKey, line
from ollama_proxyd.core.policy.crowd import Crowd, Neighbour, Neighbours, Working
from ollama_proxyd.core.workload import SETTLED, Followers

Alone: TypeAlias = tuple[Candidate, BackendView, Crowd]


class Fit(NamedTuple):
    """The backends that can do the work, by their numbers."""

    size: int
    numbers: Mapping[str, int]
    shared: Mapping[str, Sequence[int]]
    """The numbers of those on each chip that several share."""
    alone: Callable[[int], Alone]
    """One of them as it is now, and what it would meet if nothing else were at work on its chip."""


class Lines:
    """The lines of all backends that are fit, for each kind of request."""

    def __init__(self) -> None:
        self._drawn: dict[LineKey, tuple[list[Line], frozenset[int]]] = {}
        """With the numbers of those that have changed since."""

    def followed(self, changed: Iterable[int]) -> "Lines":
        """The same where some backends are no longer as they were."""
        found = Lines()
        if not self._drawn:
            return found
        changed = frozenset(changed)
        found._drawn = {key: (lines, stale | changed) for key, (lines, stale) in self._drawn.items()}
        return found

    def least_costs(self, asked: Demand, fit: Fit, working: Working) -> list[float]:
        """What a request costs at least on each, in their order, while these are at work."""
        prices = asked.price_of_time_w, asked.others_price_w
        key = LineKey(context_of(asked.prompt_tokens), *prices, _most_sharing(asked.followers.values()))
        lines, read, write = self._of(key, fit, working), asked.prompt_tokens, asked.output_tokens
        if asked.cached_tokens:
            lines = self._with_caches(lines, key, asked, (fit, working))
            read *= 1 - NEXT_TURN  # the next turn bears it
        costs = [fixed_j + read_j * read + write_j * write for fixed_j, read_j, write_j, *_ in lines]
        for at in [at for at, each in enumerate(lines) if each.sparing is not None]:
            costs[at] -= lines[at].most_spared_j(asked.now_s)
        for chip, numbers in fit.shared.items():
            if (there := working.get(chip)) is not None:
                count, second_j = len(there.each), _second_j(there, asked.others_price_w)
                for at in numbers:
                    _, _, _, (first_s, read_s, write_s), work_w, slowed, *_ = lines[at]
                    costs[at] += slowed * (first_s + read_s * read + write_s * write) * (work_w * count + second_j)
        for backend_id, wait_s in asked.waits_s.items():
            if (number := fit.numbers.get(backend_id)) is not None:
                first_s, read_s, write_s = lines[number].busy_s
                queue, work_s = asked.queues.get(backend_id), first_s + read_s * read + write_s * write
                costs[number] += asked.price_of_time_w * (wait_s + (queue.wait_s(work_s) if queue else 0.0))
        return costs

    def _with_caches(self, lines: list[Line], key: LineKey, asked: Demand, there: tuple[Fit, Working]) -> list[Line]:
        """The same lines, of those with a part of the prompt in their caches for the rest alone."""
        found, (fit, _), known = list(lines), there, dict[int, list[Line]]()
        for backend_id, tokens in asked.cached_tokens.items():
            if (number := fit.numbers.get(backend_id)) is not None:
                left = asked.prompt_tokens - tokens
                if (context := context_of(left)) not in known:
                    known[context] = self._of(LineKey(context, *key[1:]), *there)
                found[number] = known[context][number].after((1 - NEXT_TURN) * left, lines[number])
        return found

    def _of(self, key: LineKey, fit: Fit, working: Working) -> list[Line]:
        """The lines of all that are fit, those that have changed drawn anew."""
        known = self._drawn.get(key)
        if known is not None and not known[1]:
            return known[0]
        if known is None:
            lines = [_drawn(fit.alone(number), key, fit, working) for number in range(fit.size)]
        else:
            lines = list(known[0])
            for number in known[1]:
                lines[number] = _drawn(fit.alone(number), key, fit, working)
        self._drawn[key] = lines, frozenset()
        return lines


def _drawn(alone: Alone, key: LineKey, fit: Fit, working: Working) -> Line:
    """The line of one, without its own part in the sums of a chip that it shares."""
    chip, view = alone[0].chip, alone[1]
    found, there = line(*alone, key), working.get(chip)
    own = None if there is None else there.each.get(view.spec.id)
    if own is None or chip not in fit.shared:
        return found
    return found.less_own(_second_j(own, key.others_price_w))


def _second_j(at_work: Neighbour | Neighbours, price_w: float) -> float:
    """What it costs that what is at work takes a second longer."""
    return price_w * at_work.awaited + at_work.power_w


def _most_sharing(followers: Iterable[Followers]) -> int:
    """How many share what starts a device, at the most; in powers of two, since lines are drawn for each."""
    most = max([each.number for each in followers], default=0) - SETTLED
    return 1 << ceil(most).bit_length() if most > 0 else 1
