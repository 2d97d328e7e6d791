"""Which readings of a device's power tell what a backend draws."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.metering import Stretch, alone_on
from ollama_proxyd.core.readings import Reading
from ollama_proxyd.core.watts import ENOUGH_S, MORE_POWER, MOST_W, WATTS_MEMORY_S, Watts, learn_watts
from tests.core.reference_profile import REFERENCE, ask, backend, device, only, order, priced
from tests.reasons import unavailable

BEGUN = Stretch("igpu", since_s=100.0)


def seen(*readings: tuple[float, float]) -> Stretch:
    """A stretch from the hundredth second on, after (second, watts) were read."""
    stretch = BEGUN
    for at_s, power_w in readings:
        stretch = stretch.after(Reading(power_w, at_s), 1)
    return stretch


def mean_w(stretch: Stretch) -> float | None:
    return stretch.energy_j / stretch.seconds if stretch.seconds else None


def test_a_reading_from_before_the_work_began_does_not_count() -> None:
    assert seen((99.0, 5.0), (100.0, 6.0)) == BEGUN


def test_the_first_reading_may_speak_for_the_time_before_and_only_marks_from_when_on() -> None:
    assert mean_w(seen((101.0, 5.0))) is None
    assert mean_w(seen((101.0, 5.0), (103.0, 40.0))) == 40.0


def test_a_reading_weighs_as_long_as_it_speaks_for() -> None:
    assert mean_w(seen((101, 5), (102, 40), (105, 20))) == pytest.approx((40 * 1 + 20 * 3) / 4)


def test_a_reading_that_was_seen_before_is_no_new_one() -> None:
    assert seen((101, 5), (103, 40), (103, 40), (103, 40)) == seen((101, 5), (103, 40))


@pytest.mark.parametrize("absurd_w", [0.0, -3.0, MOST_W + 1, float("nan"), float("inf")])
def test_what_no_device_draws_at_work_counts_for_nothing(absurd_w: float) -> None:
    assert mean_w(seen((101, 5), (103, absurd_w), (104, 40))) == 40.0
    assert seen((101, 5), (103, absurd_w), (104, 40)).seconds == 1.0


def test_a_silent_sensor_shows_nothing() -> None:
    assert BEGUN.after(unavailable("asleep"), 1) is BEGUN


def test_what_was_learned_is_taken_out_and_the_stretch_goes_on() -> None:
    emptied = seen((101, 5), (103, 40)).emptied()
    assert emptied.seconds == 0
    assert mean_w(emptied.after(Reading(30.0, 104.0), 1)) == 30.0


def test_one_backend_at_work_on_a_device_is_alone_and_two_are_not() -> None:
    devices = (device("igpu"), device("npu"))
    busy = backend("igpu").spec
    assert alone_on([busy], devices) == {"igpu": "igpu"}
    assert alone_on([busy, replace(busy, id="other")], devices) == {}
    assert alone_on([busy, busy], devices) == {"igpu": "igpu"}, "the same backend before and after a reload"


def test_a_backend_without_a_device_of_this_machine_is_never_measured() -> None:
    remote = backend("igpu", is_local=False).spec
    assert alone_on([remote], (device("igpu"),)) == {}


def test_the_first_watts_are_taken_as_they_are() -> None:
    assert learn_watts(None, 41.0, 3.0) == Watts(41.0, 3.0)


def test_watts_are_weighed_by_time() -> None:
    learned = learn_watts(Watts(10.0, 1.0), 40.0, 2.0)
    assert learned == Watts(pytest.approx(30.0), 3.0)


def test_watts_of_long_ago_fade() -> None:
    learned = learn_watts(Watts(10.0, 1e6), 40.0, WATTS_MEMORY_S)
    assert learned is not None
    assert learned.power_w == pytest.approx(40 - 30 / 2.718281828, rel=1e-6)


@pytest.mark.parametrize(("power_w", "seconds"), [(0, 1), (-1, 1), (MOST_W * 2, 1), (float("nan"), 1), (40, 0)])
def test_absurd_watts_teach_nothing(power_w: float, seconds: float) -> None:
    before = Watts(10.0, 5.0)
    assert learn_watts(before, power_w, seconds) is before
    assert learn_watts(None, power_w, seconds) is None


@given(st.lists(st.tuples(st.floats(0.1, MOST_W), st.floats(1e-3, 1e5)), min_size=1, max_size=20))
def test_learned_watts_lie_among_those_seen(samples: list[tuple[float, float]]) -> None:
    watts: Watts | None = None
    for power_w, seconds in samples:
        watts = learn_watts(watts, power_w, seconds)
    assert watts is not None
    assert min(w for w, _ in samples) * 0.999 <= watts.power_w <= max(w for w, _ in samples) * 1.001
    assert watts.seconds == pytest.approx(sum(s for _, s in samples))


def test_watts_beside_others_show_how_a_batch_shares_them() -> None:
    alone = learn_watts(None, 40.0, 30.0)
    batch = alone
    for _ in range(20):
        batch = learn_watts(batch, 64.0, 60.0, under_way=4.0)
    assert batch is not None
    assert batch.power_w == 40.0
    assert batch.more == pytest.approx(0.2, rel=0.01)


def test_watts_that_were_only_seen_beside_others_are_taken_to_be_fewer_alone() -> None:
    first = learn_watts(None, 44.0, 10.0, under_way=2.0)
    assert first is not None
    assert first.power_w == pytest.approx(44 / (1 + MORE_POWER))


@given(st.lists(st.tuples(st.floats(0.01, 10), st.floats(-10, 3000)), max_size=20))
def test_a_stretch_never_counts_more_time_than_passed(steps: list[tuple[float, float]]) -> None:
    stretch, now_s = BEGUN, BEGUN.since_s
    for step_s, power_w in steps:
        now_s += step_s
        stretch = stretch.after(Reading(power_w, now_s), 1)
    assert 0 <= stretch.seconds <= now_s - BEGUN.since_s + 1e-6
    assert 0 <= stretch.energy_j <= MOST_W * stretch.seconds + 1e-6


def test_measured_watts_stand_in_the_place_of_the_configured_and_the_decision_says_so() -> None:
    view = replace(backend("igpu"), watts=Watts(41.26, 30.0))
    priced_now = only(view)
    assert priced_now.power_w == 41.26
    assert priced_now.terms["prefill_j"] == pytest.approx(41.26 * 0.35)
    assert "power measured 41.3 W" in map(str, priced_now.notes)


def test_with_measured_watts_and_known_speed_nothing_is_a_guess() -> None:
    profile = replace(REFERENCE[1].spec.profile, power_w=None)
    assert only(backend("igpu", profile)).is_guess
    assert not only(replace(backend("igpu", profile), watts=Watts(41.0, 30.0))).is_guess


@pytest.mark.parametrize("watts", [Watts(41.0, ENOUGH_S / 2), Watts(0.0, 99.0), Watts(1e9, 99.0)])
def test_watts_that_are_not_settled_count_for_nothing(watts: Watts) -> None:
    assert only(replace(backend("igpu"), watts=watts)) == only(backend("igpu"))


def test_a_modes_limit_is_held_against_the_measured_watts() -> None:
    hungry = replace(backend("igpu"), watts=Watts(41.0, 30.0))
    modest = replace(backend("nvidia"), watts=Watts(14.0, 30.0))
    decision = ask((hungry, modest), mode=priced(2, max_power_w=15.0))
    assert order(decision) == ["nvidia", "igpu"]
    assert [str(limit) for limit in decision.ranked[1].beyond] == [
        "igpu needs 41 W as measured, and Test allows at most 15 W"
    ]
