"""Each joule of a device is charged once: to the attempts at work, to an idle tail, or to what it draws anyway."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.energy import ESTIMATE_ERROR, Account, Interval, Source, split
from ollama_proxyd.core.events import Timings
from ollama_proxyd.core.gauge import Gauge
from ollama_proxyd.core.power_domain import CONTEXT_S, PowerDomain
from ollama_proxyd.core.power_shares import Consumer, Rates, Share, by_phase

CARD: Any = {"is_shared": False, "can_sleep": True}
PACKAGE: Any = {"is_shared": True, "can_sleep": False}


def card() -> PowerDomain:
    return PowerDomain("card", 0.0, **CARD)


def of(domain: PowerDomain, account: Account) -> float:
    return sum(joules for (_, each, _), joules in domain.sums.items() if each is account)


def cost(share: Share) -> float:
    return share.before_j + share.after_j


def counter(at_s: float, joules: float) -> Gauge:
    return Gauge(at_s, joules, None)


def begin(domain: PowerDomain, consumer: Consumer, now_s: float, power_w: float) -> Share:
    """An attempt begins, during which its device is expected to draw so much."""
    domain.advance(now_s)
    return consumer.begin(power_w)


def test_parallel_attempts_share_what_one_device_draws() -> None:
    domain = card()
    gpu = domain.consumer("card")
    shares = [begin(domain, gpu, 0.0, 50.0) for _ in range(20)]
    assert all(domain.end(share, 10.0, None) for share in shares)
    assert sum(map(cost, shares)) == pytest.approx(500.0) == of(domain, Account.ACTIVE)
    assert {round(cost(share), 6) for share in shares} == {25.0}


def test_each_moment_is_shared_by_those_who_run_then() -> None:
    domain = card()
    gpu = domain.consumer("card")
    early = begin(domain, gpu, 0.0, 50.0)
    late = begin(domain, gpu, 1.0, 50.0)
    domain.end(early, 2.0, None)
    domain.end(late, 3.0, None)
    assert (cost(early), cost(late)) == (pytest.approx(75.0), pytest.approx(75.0))


def test_a_counter_scales_the_estimates_to_what_was_drawn() -> None:
    domain = card()
    domain.settle(0.0, counter(0.0, 1000.0), is_asleep=True)
    gpu = domain.consumer("card")
    share = begin(domain, gpu, 0.0, 50.0)
    domain.first(share, 0.5)
    assert not domain.end(share, 2.0, None), "the next reading tells"
    assert domain.settle(2.0, counter(2.0, 1160.0)) == [share]
    assert (share.before_j, share.after_j) == (pytest.approx(40.0), pytest.approx(120.0))
    assert (share.source, share.error_share) == (Source.MEASURED, pytest.approx(0.05))


def test_a_share_of_what_several_drew_is_attributed() -> None:
    domain = card()
    domain.settle(0.0, counter(0.0, 0.0))
    gpu = domain.consumer("card")
    shares = [begin(domain, gpu, 0.0, 50.0) for _ in range(2)]
    for share in shares:
        domain.end(share, 2.0, None)
    domain.settle(2.0, counter(2.0, 100.0))
    assert [share.source for share in shares] == [Source.ATTRIBUTED] * 2
    assert domain.sums["card", Account.ACTIVE, Source.MEASURED] == pytest.approx(100.0)


def test_attempts_are_charged_by_their_tokens_where_those_are_known_of_all() -> None:
    domain = card()
    domain.settle(0.0, counter(0.0, 0.0))
    gpu = domain.consumer("card")
    much, little = begin(domain, gpu, 0.0, 50.0), begin(domain, gpu, 0.0, 50.0)
    domain.first(much, 0.0)
    domain.first(little, 0.0)
    for share, tokens_per_s in ((much, 30.0), (little, 10.0)):
        domain.end(share, 2.0, Rates(0.0, tokens_per_s))
    domain.settle(2.0, counter(2.0, 100.0))
    assert (cost(much), cost(little)) == (pytest.approx(75.0), pytest.approx(25.0))


def test_the_base_is_taken_off() -> None:
    domain = PowerDomain("package", 0.0, **PACKAGE)
    for at_s in (0.0, 30.0, 60.0):
        domain.settle(at_s, counter(at_s, 5.0 * at_s))
    assert domain.base_w == pytest.approx(5.0)
    share = begin(domain, domain.consumer("cpu"), 60.0, 28.0)
    domain.end(share, 64.0, None)
    domain.settle(64.0, counter(64.0, 300.0 + 4 * 25.0))
    assert cost(share) == pytest.approx(80.0)
    assert of(domain, Account.BASE) == pytest.approx(320.0)


def test_two_devices_of_one_package_are_charged_its_energy_once_by_their_watts() -> None:
    domain = PowerDomain("package", 0.0, **PACKAGE)
    domain.settle(0.0, counter(0.0, 0.0))
    domain.settle(10.0, counter(10.0, 0.0))
    npu, cpu = begin(domain, domain.consumer("npu"), 10.0, 4.0), begin(domain, domain.consumer("cpu"), 10.0, 28.0)
    for share in (npu, cpu):
        domain.end(share, 20.0, None)
    domain.settle(20.0, counter(20.0, 320.0))
    assert (cost(npu), cost(cpu)) == (pytest.approx(40.0), pytest.approx(280.0))


def test_where_the_base_of_a_package_is_unknown_work_is_charged_no_more_than_it_is_expected_to_need() -> None:
    domain = PowerDomain("package", 0.0, **PACKAGE)
    domain.settle(0.0, counter(0.0, 0.0))
    share = begin(domain, domain.consumer("npu"), 0.0, 3.0)
    domain.end(share, 10.0, None)
    domain.settle(10.0, counter(10.0, 200.0))
    assert (cost(share), share.error_share) == (pytest.approx(30.0), ESTIMATE_ERROR)
    assert of(domain, Account.BASE) == pytest.approx(170.0)


def test_what_a_card_draws_with_an_unused_model_is_its_idle_tail() -> None:
    domain = card()
    domain.settle(0.0, counter(0.0, 0.0), is_asleep=True)
    gpu = domain.consumer("card")
    gpu.owner, gpu.idle_w = ("ollama", "tiny"), 5.0
    domain.end(begin(domain, gpu, 0.0, 50.0), 2.0, None)
    gpu.is_resident = True
    domain.settle(2.0, counter(2.0, 100.0))
    domain.settle(302.0, counter(302.0, 100.0 + 9.0 * 300))
    assert of(domain, Account.IDLE_TAIL) == pytest.approx(2700.0) == domain.tails["ollama", "tiny"]


def test_what_unused_models_draw_is_told_apart_from_the_context_that_outlives_them() -> None:
    domain = card()
    domain.settle(0.0, counter(0.0, 0.0), is_asleep=True)
    gpu = domain.consumer("card")
    gpu.idle_w = 5.0
    domain.end(begin(domain, gpu, 0.0, 50.0), 2.0, None)
    domain.settle(2.0, counter(2.0, 100.0))
    assert domain.unused_w is None
    gpu.is_resident = True
    domain.settle(12.0, counter(12.0, 100.0 + 90.0))
    gpu.is_resident = False
    domain.settle(22.0, counter(22.0, 190.0 + 60.0))
    assert domain.unused_w == pytest.approx(9.0)


def test_what_unused_models_draw_is_unknown_where_the_base_is() -> None:
    domain = card()
    domain.settle(0.0, counter(0.0, 0.0))
    gpu = domain.consumer("card")
    gpu.is_resident, gpu.idle_w = True, 5.0
    domain.settle(10.0, counter(10.0, 300.0))
    assert domain.unused_w is None


def test_a_context_keeps_a_card_awake_only_so_long_and_then_others_do() -> None:
    domain = card()
    domain.settle(0.0, counter(0.0, 0.0))
    gpu = domain.consumer("card")
    gpu.idle_w = 5.0
    domain.end(begin(domain, gpu, 0.0, 50.0), 2.0, None)
    domain.settle(2.0, counter(2.0, 100.0))
    for at_s in (CONTEXT_S, CONTEXT_S + 30.0, CONTEXT_S + 60.0):
        domain.settle(at_s, counter(at_s, 100.0 + 9.0 * (at_s - 2.0)))
    assert of(domain, Account.IDLE_TAIL) == pytest.approx(9.0 * (CONTEXT_S - 2.0))
    assert of(domain, Account.BASE) == pytest.approx(9.0 * 60.0)


def test_a_model_in_the_processors_memory_draws_the_little_that_is_expected_and_the_rest_is_the_base() -> None:
    domain = PowerDomain("package", 0.0, **PACKAGE)
    domain.settle(0.0, counter(0.0, 0.0))
    cpu = domain.consumer("cpu")
    cpu.is_resident, cpu.idle_w = True, 0.3
    domain.settle(100.0, counter(100.0, 800.0))
    assert (of(domain, Account.IDLE_TAIL), of(domain, Account.BASE)) == (pytest.approx(30.0), pytest.approx(770.0))


def test_a_device_without_instruments_has_its_expected_watts() -> None:
    domain = PowerDomain("box", 0.0, is_shared=False, can_sleep=False)
    box = domain.consumer("box")
    box.idle_w = 0.3
    share = begin(domain, box, 0.0, 15.0)
    assert domain.end(share, 4.0, None)
    assert (cost(share), share.source, share.error_share) == (60.0, Source.ESTIMATED, ESTIMATE_ERROR)
    box.is_resident = True
    domain.settle(104.0, None)
    assert of(domain, Account.IDLE_TAIL) == pytest.approx(30.0)


def test_when_a_sensor_stops_what_it_showed_of_the_estimates_goes_on() -> None:
    domain = card()
    domain.settle(0.0, counter(0.0, 0.0), is_asleep=True)
    gpu = domain.consumer("card")
    domain.end(begin(domain, gpu, 0.0, 50.0), 10.0, None)
    domain.settle(10.0, counter(10.0, 1000.0))
    blind = begin(domain, gpu, 10.0, 50.0)
    domain.settle(11.0, None)
    domain.end(blind, 12.0, None)
    assert (cost(blind), blind.source) == (pytest.approx(200.0), Source.ESTIMATED)
    assert blind.error_share == pytest.approx(0.15)


def test_a_counter_that_is_seen_again_takes_off_what_was_guessed_meanwhile() -> None:
    domain = card()
    domain.settle(0.0, counter(0.0, 0.0), is_asleep=True)
    gpu = domain.consumer("card")
    domain.settle(1.0, None)
    domain.end(begin(domain, gpu, 1.0, 50.0), 3.0, None)
    domain.settle(4.0, counter(4.0, 180.0))
    domain.settle(5.0, counter(5.0, 190.0))
    assert sum(domain.sums.values()) == pytest.approx(190.0)


@pytest.mark.parametrize("after_j", [5.0, 10_000_000.0])
def test_a_counter_that_began_anew_or_leapt_is_not_believed(after_j: float) -> None:
    domain = card()
    domain.settle(0.0, counter(0.0, 500.0))
    share = begin(domain, domain.consumer("card"), 0.0, 50.0)
    domain.end(share, 2.0, None)
    domain.settle(2.0, counter(2.0, after_j))
    assert (cost(share), share.source) == (pytest.approx(100.0), Source.ESTIMATED)


@pytest.mark.parametrize(
    ("power_w", "cost_j", "source"), [(None, 100.0, Source.ESTIMATED), (60.0, 120.0, Source.ATTRIBUTED)]
)
def test_a_counter_that_stands_still_measures_nothing_and_the_sensor_beside_it_does(
    power_w: float | None, cost_j: float, source: Source
) -> None:
    domain = card()
    domain.settle(0.0, Gauge(0.0, 0.0, power_w), is_asleep=True)
    gpu = domain.consumer("card")
    for at_s in (0.0, 2.0, 4.0):
        share = begin(domain, gpu, at_s, 50.0)
        domain.end(share, at_s + 2.0, None)
        domain.settle(at_s + 2.0, Gauge(at_s + 2.0, 0.0, power_w))
        assert (cost(share), share.source) == (pytest.approx(cost_j), source)
    assert (domain.drawn_j is None) == (power_w is None), "so that the battery speaks for it"


def test_a_counter_that_was_only_late_takes_off_what_was_guessed_meanwhile() -> None:
    domain = card()
    domain.settle(0.0, counter(0.0, 1000.0), is_asleep=True)
    gpu = domain.consumer("card")
    domain.end(begin(domain, gpu, 0.0, 50.0), 2.0, None)
    domain.settle(2.0, counter(2.0, 1000.0))
    domain.end(begin(domain, gpu, 2.0, 50.0), 4.0, None)
    domain.settle(4.0, counter(4.0, 1240.0))
    assert sum(domain.sums.values()) == pytest.approx(240.0)


def test_watts_are_integrated_from_one_reading_to_the_next() -> None:
    domain = card()
    domain.settle(0.0, Gauge(0.0, None, 5.0), is_asleep=True)
    share = begin(domain, domain.consumer("card"), 0.0, 50.0)
    domain.end(share, 2.0, None)
    domain.settle(2.0, Gauge(2.0, None, 60.0))
    assert (cost(share), share.source, share.error_share) == (120.0, Source.ATTRIBUTED, pytest.approx(0.15))


@given(
    energy_j=st.floats(0, 1e7),
    base_j=st.none() | st.floats(0, 1e7),
    tail_j=st.floats(0, 1e7),
    active_j=st.floats(0, 1e7),
    is_shared=st.booleans(),
)
def test_the_accounts_of_an_interval_are_never_below_zero_and_sum_up_to_what_was_drawn(
    energy_j: float, base_j: float | None, tail_j: float, active_j: float, *, is_shared: bool
) -> None:
    parts = split(energy_j, Interval(base_j, tail_j, active_j, is_shared))
    assert min(parts) >= 0
    assert sum(parts) == pytest.approx(energy_j)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "first", "end", "end_counted", "read", "silent", "reside", "leave", "wait"]),
        st.floats(0.0, 20.0),
        st.integers(0, 5),
    ),
    max_size=40,
)


@dataclass
class Simulated:
    """A domain whose counter rises by what it draws, and the attempts of a test on two of its devices."""

    domain: PowerDomain
    now_s: float = 0.0
    joules: float = 0.0
    running: list[Share] = field(default_factory=list)
    all: list[Share] = field(default_factory=list)

    def step(self, what: str, seconds: float, which: int) -> None:
        self.now_s += seconds
        self.joules += seconds * (3.0 + 7.0 * which)
        consumer = self.domain.consumer("abc"[which % 3])
        if what == "begin":
            share = begin(self.domain, consumer, self.now_s, 5.0 + which)
            self.running.append(share)
            self.all.append(share)
        elif what in {"first", "end", "end_counted"} and self.running:
            self._touch(what, self.running[which % len(self.running)], which)
        elif what in {"reside", "leave"}:
            self.domain.advance(self.now_s)
            consumer.is_resident, consumer.idle_w = what == "reside", 0.3
        elif what in {"read", "silent"}:
            self.domain.settle(self.now_s, counter(self.now_s, self.joules) if what == "read" else None)

    def _touch(self, what: str, share: Share, which: int) -> None:
        if what == "first":
            self.domain.first(share, self.now_s)
            return
        self.running.remove(share)
        self.domain.end(share, self.now_s, Rates(which, which) if what == "end_counted" else None)


SAME: Any = {"rel": 1e-12, "abs": 1e-6}
"""Joules are added up in another order: where they are many, the last digits differ."""


@given(steps=STEPS, kind=st.sampled_from([CARD, PACKAGE]))
def test_no_joule_is_lost_or_charged_twice(steps: list[tuple[str, float, int]], kind: Any) -> None:
    told = Simulated(PowerDomain("it", 0.0, **kind))
    told.domain.settle(0.0, counter(0.0, 0.0))
    for step in steps:
        told.step(*step)
    told.step("read", 1.0, 0)
    assert all(share.before_j >= 0 and share.after_j >= 0 for share in told.all)
    assert sum(map(cost, told.all)) == pytest.approx(of(told.domain, Account.ACTIVE), **SAME)
    assert sum(told.domain.tails.values()) == pytest.approx(of(told.domain, Account.IDLE_TAIL), **SAME)
    if not any(what == "silent" for what, _, _ in steps):
        assert sum(told.domain.sums.values()) == pytest.approx(told.joules, **SAME)


@pytest.mark.parametrize(
    ("waited_s", "timings", "expected"),
    [
        (4.0, Timings(), (40.0, 60.0, 0.0)),
        (4.0, Timings(load_s=1.0), (30.0, 60.0, 10.0)),
        (4.0, Timings(load_s=9.0), (0.0, 60.0, 40.0)),
        (None, Timings(), (40.0, 60.0, 0.0)),
        (None, Timings(load_s=1.0, prompt_s=1.0, decode_s=2.0), (25.0, 50.0, 25.0)),
    ],
)
def test_the_phases_of_an_answer(
    waited_s: float | None, timings: Timings, expected: tuple[float, float, float]
) -> None:
    assert by_phase(40.0, 60.0, waited_s, timings) == expected
    assert sum(expected) == 100.0
