"""Which engines must leave so that another one fits into memory: budgets, engines and a wish in, a verdict out."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from math import inf
from typing import NamedTuple, TypeAlias

from ollama_proxyd.core.values import value

Bytes: TypeAlias = Mapping[str, float]
"""An amount of each memory, by its name: "ram", or the id of a device."""
RAM = "ram"
LEAST_IDLE_S = 0.001


class Budget(NamedTuple):
    """How much of one memory engines may have."""

    limit: float
    """Ever; infinity where nothing counts it."""
    now: float
    """Beside what other programs have now."""


Budgets: TypeAlias = Mapping[str, Budget]


@value
class Tenant:
    """An engine in memory; `users` counts the requests under way on it, `waiting` those that would go to it next."""

    key: Hashable
    needs: Bytes
    users: int = 0
    used_s: float = 0.0
    """When its last request ended."""
    reload_j: float = 0.0
    """What loading it again would cost."""
    is_pinned: bool = False
    is_leaving: bool = False
    waiting: int = 0

    def worth(self, now_s: float) -> float:
        """Least recently used, weighed: joules of loading at stake, for each second that nothing asked for it."""
        return self.reload_j / max(now_s - self.used_s, LEAST_IDLE_S)


class Short(NamedTuple):
    """A memory that does not suffice, with the numbers."""

    memory: str
    needed: float
    limit: float
    """What could be had of it, at the most."""


class Verdict(NamedTuple):
    """What follows of a wish for memory.

    Neither `leave` nor `short`: it fits now where `fits`, else it will once what leaves has gone.
    """

    fits: bool = False
    leave: tuple[Hashable, ...] = ()
    """The engines to be stopped, once their requests have ended."""
    short: Short | None = None
    """Why it cannot fit."""
    is_for_good: bool = False
    """Whether it cannot fit whatever else happens, but for other settings."""


def total(parts: Iterable[Bytes], memory: str) -> float:
    """How much of a memory several have."""
    return sum([each.get(memory, 0.0) for each in parts])


def never_fits(budgets: Budgets, tenants: Sequence[Tenant], needs: Bytes) -> Short | None:
    """The memory that could not hold a wish even if all but the pinned engines left."""
    pinned = [each.needs for each in tenants if each.is_pinned]
    for memory, needed in needs.items():
        limit = _budget(budgets, memory).limit - total(pinned, memory)
        if needed > limit:
            return Short(memory, needed, max(limit, 0.0))
    return None


def decide(budgets: Budgets, tenants: Sequence[Tenant], needs: Bytes, now_s: float) -> Verdict:
    """Whether a wish fits, and what must leave for it: what nobody waits for first, cheap ones first."""
    if (short := never_fits(budgets, tenants, needs)) is not None:
        return Verdict(short=short, is_for_good=True)
    if not _lacking(budgets, tenants, needs):
        return Verdict(fits=True)
    staying = [each for each in tenants if not each.is_leaving]
    if not _lacking(budgets, staying, needs):
        return Verdict()
    free = [each for each in staying if not each.is_pinned]
    ordered = sorted(free, key=lambda each: (each.users > 0, each.waiting > 0, each.worth(now_s)))
    leave = _fewest(budgets, staying, ordered, needs)
    left = [each for each in staying if each not in leave]
    if lacking := _lacking(budgets, left, needs):
        memory = lacking[0]
        limit = _budget(budgets, memory).now - total([each.needs for each in left], memory)
        return Verdict(short=Short(memory, needs.get(memory, 0.0), max(limit, 0.0)))
    return Verdict(leave=tuple(each.key for each in leave))


def excess(budgets: Budgets, tenants: Sequence[Tenant], now_s: float) -> tuple[Hashable, ...]:
    """The idle engines that must leave since those in memory have more than the budgets."""
    staying = [each for each in tenants if not each.is_leaving]
    idle = sorted(
        [each for each in staying if not each.users and not each.is_pinned], key=lambda each: each.worth(now_s)
    )
    return tuple(each.key for each in _fewest(budgets, staying, idle, {}))


def _fewest(budgets: Budgets, staying: Sequence[Tenant], ordered: Sequence[Tenant], needs: Bytes) -> list[Tenant]:
    """The first of an order that make room; those that turn out to be needless stay."""
    leave: list[Tenant] = []
    for each in ordered:
        lacking = _lacking(budgets, [one for one in staying if one not in leave], needs)
        if not lacking:
            break
        if any(each.needs.get(memory) for memory in lacking):
            leave.append(each)
    for each in tuple(leave):
        others = [one for one in leave if one is not each]
        if not _lacking(budgets, [one for one in staying if one not in others], needs):
            leave = others
    return leave


def _lacking(budgets: Budgets, tenants: Sequence[Tenant], needs: Bytes) -> list[str]:
    """The memories that do not hold these and a wish."""
    memories = dict.fromkeys([*needs, *(memory for each in tenants for memory in each.needs)])
    return [
        memory
        for memory in memories
        if total([each.needs for each in tenants], memory) + needs.get(memory, 0.0) > _budget(budgets, memory).now
    ]


def _budget(budgets: Budgets, memory: str) -> Budget:
    """What nothing counts has no limit: a guess refuses nothing."""
    return budgets.get(memory, Budget(inf, inf))
