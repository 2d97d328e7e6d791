"""Which engines leave the memory for another one."""

from itertools import count
from math import inf
from random import Random

import pytest

from ollama_proxyd.core.memory_budget import RAM, Budget, Budgets, Tenant, decide, excess, never_fits, total

NOW_S = 100.0


def ram(limit: float, now: float | None = None) -> Budgets:
    return {RAM: Budget(limit, limit if now is None else now)}


def tenant(key: str, size: float, **more: object) -> Tenant:
    return Tenant(key, {RAM: size}, **{"used_s": 50.0, "reload_j": 10.0, **more})  # type: ignore[arg-type]


def test_what_fits_displaces_nothing() -> None:
    assert decide(ram(10), [tenant("a", 4)], {RAM: 6}, NOW_S).fits


def test_what_could_never_fit_is_refused_with_the_numbers() -> None:
    verdict = decide(ram(10), [], {RAM: 11}, NOW_S)
    assert verdict.short == (RAM, 11, 10)
    assert verdict.is_for_good
    assert verdict.leave == ()


def test_pinned_engines_take_from_what_can_ever_be_had() -> None:
    assert never_fits(ram(10), [tenant("a", 4, is_pinned=True)], {RAM: 7}) == (RAM, 7, 6)
    assert never_fits(ram(10), [tenant("a", 4)], {RAM: 7}) is None


def test_the_least_recently_used_leaves_where_loading_costs_the_same() -> None:
    old, new = tenant("old", 5, used_s=10.0), tenant("new", 5, used_s=90.0)
    assert decide(ram(10), [new, old], {RAM: 5}, NOW_S).leave == ("old",)


def test_what_costs_much_to_load_again_stays_longer() -> None:
    dear, cheap = tenant("dear", 5, used_s=10.0, reload_j=1000.0), tenant("cheap", 5, used_s=90.0, reload_j=1.0)
    assert decide(ram(10), [dear, cheap], {RAM: 5}, NOW_S).leave == ("cheap",)


def test_idle_engines_leave_before_those_at_work() -> None:
    busy, idle = tenant("busy", 5, users=1, reload_j=0.1), tenant("idle", 5, reload_j=1000.0)
    assert decide(ram(10), [busy, idle], {RAM: 5}, NOW_S).leave == ("idle",)


def test_what_nobody_waits_for_leaves_before_what_others_will_use_next() -> None:
    wanted, unwanted = tenant("wanted", 5, waiting=1, reload_j=0.1), tenant("unwanted", 5, reload_j=1000.0)
    assert decide(ram(10), [wanted, unwanted], {RAM: 5}, NOW_S).leave == ("unwanted",)


def test_engines_at_work_are_drained_where_idle_ones_do_not_suffice() -> None:
    assert decide(ram(10), [tenant("busy", 8, users=3)], {RAM: 5}, NOW_S).leave == ("busy",)


def test_nothing_more_leaves_while_what_leaves_already_suffices() -> None:
    tenants = [tenant("going", 5, is_leaving=True), tenant("idle", 5)]
    verdict = decide(ram(10), tenants, {RAM: 5}, NOW_S)
    assert (verdict.fits, verdict.leave, verdict.short) == (False, (), None)


def test_a_small_engine_does_not_leave_where_a_large_one_must_in_any_case() -> None:
    small, large = tenant("small", 1, reload_j=1.0), tenant("large", 9, reload_j=100.0)
    assert decide(ram(10), [small, large], {RAM: 9}, NOW_S).leave == ("large",)


def test_what_other_programs_have_is_waited_for() -> None:
    verdict = decide(ram(10, now=3), [], {RAM: 5}, NOW_S)
    assert verdict.short == (RAM, 5, 3)
    assert not verdict.is_for_good


def test_an_engine_on_another_device_does_not_leave() -> None:
    budgets = {RAM: Budget(100, 100), "card": Budget(10, 10)}
    on_card, elsewhere = Tenant("card", {RAM: 1, "card": 8}, used_s=90.0), Tenant("ram", {RAM: 8}, used_s=1.0)
    assert decide(budgets, [on_card, elsewhere], {RAM: 1, "card": 8}, NOW_S).leave == ("card",)


def test_a_memory_that_nothing_counts_refuses_nothing() -> None:
    assert decide({}, [], {"card": 1e15}, NOW_S).fits


def test_only_idle_engines_leave_where_there_is_too_much_in_memory() -> None:
    tenants = [tenant("busy", 6, users=1), tenant("pinned", 1, is_pinned=True), tenant("idle", 6)]
    assert excess(ram(10), tenants, NOW_S) == ("idle",)
    assert excess(ram(13), tenants, NOW_S) == ()


@pytest.mark.parametrize("seed", range(30))
def test_whatever_comes_there_is_never_more_than_fits(seed: int) -> None:
    """Each verdict is carried out: engines that leave are gone at once when idle, later when they work."""
    dice, names = Random(seed), count()
    tenants: list[Tenant] = []
    limit = 10.0
    for now_s in range(200):
        wish = {RAM: dice.choice([1.0, 3.0, 6.0, 10.0])}
        verdict = decide(ram(limit), tenants, wish, float(now_s))
        assert verdict.short is None
        leaving = [each for each in tenants if each.key in verdict.leave]
        tenants = [each for each in tenants if each not in leaving]
        tenants += [Tenant(each.key, each.needs, is_leaving=True) for each in leaving if each.users]
        if verdict.fits:
            users = dice.choice([0, 1])
            tenants.append(Tenant(next(names), wish, users=users, used_s=float(now_s), reload_j=dice.random()))
        assert total([each.needs for each in tenants], RAM) <= limit
        tenants = [each for each in tenants if not (each.is_leaving and dice.random() < 0.5)]


def test_infinity_is_a_budget() -> None:
    assert decide({RAM: Budget(inf, inf)}, [tenant("a", 1e12)], {RAM: 1e12}, NOW_S).fits
