"""How a front end that does not go by energy chooses among the backends that can serve."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b

from ollama_proxyd.core.fleet import FleetView
from ollama_proxyd.core.frontends import Balancing
from ollama_proxyd.core.policy.decision import Ranked
from ollama_proxyd.core.policy.query import Query

Busy = Mapping[str, float]
"""The share of each backend's slots that is taken."""
_CURED_BY_WAITING = frozenset({"mode_wait", "mode_concurrency"})


def rule_of(query: Query) -> Balancing:
    """The balancing that counts for a query; a named target leaves nothing to choose."""
    frontend = query.hints.frontend
    if frontend is None or query.hints.target is not None:
        return Balancing.ENERGY
    if frontend.balancing is Balancing.STICKY and not query.hints.turn:
        return Balancing.ENERGY  # it has no such header
    return frontend.balancing


def balanced(ranked: Sequence[Ranked], query: Query, fleet: FleetView) -> Sequence[Ranked]:
    """The backends with the one that the front end's rule chooses before the others.

    Limits of the mode and failures stand as they are: it chooses among those within where there are any. Where some of
    these have a free slot it is one of them, but for sticky requests, which wait where they are.
    """
    rule = rule_of(query)
    if rule is Balancing.ENERGY or len(ranked) < 2:
        return ranked
    if rule is Balancing.STICKY:
        equals = [each for each in ranked if _CURED_BY_WAITING.issuperset([limit.code for limit in each.beyond])]
        equals = equals or [*ranked]
    else:
        equals = [each for each in ranked if not each.beyond] or [*ranked]
        equals = [each for each in equals if not each.queue_wait_s] or equals
    busy = {view.spec.id: view.in_flight / view.slots for view in fleet}
    chosen = _RULES[rule](sorted(equals, key=lambda each: each.backend_id), query.hints.turn, busy)
    return (chosen, *[each for each in ranked if each is not chosen])


def _by_turn(equals: Sequence[Ranked], turn: int, _busy: Busy) -> Ranked:
    return equals[turn % len(equals)]


def _least_busy(equals: Sequence[Ranked], _turn: int, busy: Busy) -> Ranked:
    return min(equals, key=lambda each: (busy[each.backend_id], each.cost_j))


def _sticky(equals: Sequence[Ranked], turn: int, _busy: Busy) -> Ranked:
    """Rendezvous hashing: a backend that goes moves only those that were on it."""
    return max(equals, key=lambda each: blake2b(f"{turn} {each.backend_id}".encode(), digest_size=8).digest())


_RULES: Mapping[Balancing, Callable[[Sequence[Ranked], int, Busy], Ranked]] = {
    Balancing.ROUND_ROBIN: _by_turn,
    Balancing.RANDOM: _by_turn,
    Balancing.LEAST_BUSY: _least_busy,
    Balancing.STICKY: _sticky,
}
