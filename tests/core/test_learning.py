"""What finished requests teach."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.learning import CONTEXTS, DECAY, HALF_LIFE_S, Answer, Speed, context_of, expected, learn


def taught(*ttfts_s: float) -> Speed:
    speed = Speed()
    for ttft_s in ttfts_s:
        speed = learn(speed, Answer(ttft_s=ttft_s))
    return speed


def test_the_first_request_is_taken_as_it_is() -> None:
    speed = learn(None, Answer(ttft_s=0.5, decode_tps=20, output_tokens=80))
    assert (speed.ttft_s, speed.decode_tps, speed.output_tokens, speed.samples) == (0.5, 20, 80, 1)


def test_the_first_requests_weigh_alike() -> None:
    assert taught(1, 4).ttft_s == pytest.approx(2)
    assert taught(1, 4, 2).ttft_s == pytest.approx(2)


def test_later_requests_weigh_a_constant_share_so_that_the_past_fades() -> None:
    speed = Speed(decode_tps=10, samples=1000)
    assert learn(speed, Answer(decode_tps=20)).decode_tps == pytest.approx(10 * 2**DECAY)
    for _ in range(40):
        speed = learn(speed, Answer(decode_tps=20))
    assert speed.decode_tps == pytest.approx(20, rel=1e-3)


def test_what_a_request_did_not_show_stays() -> None:
    speed = learn(Speed(0.5, 20, 80, samples=3), Answer(decode_tps=20))
    assert (speed.ttft_s, speed.decode_tps, speed.output_tokens, speed.samples) == (0.5, pytest.approx(20), 80, 4)


@pytest.mark.parametrize("absurd", [0, -1, float("nan"), float("inf"), None])
def test_absurd_values_teach_nothing(absurd: float | None) -> None:
    speed = Speed(0.5, 20, 80, samples=3)
    assert learn(speed, Answer(ttft_s=absurd, decode_tps=absurd, output_tokens=absurd)) is speed
    assert learn(speed, Answer(ttft_s=absurd, decode_tps=20)).ttft_s == 0.5


def test_an_outlier_counts_no_more_upwards_than_downwards() -> None:
    assert taught(1, 100, 1, 0.01).ttft_s == pytest.approx(1)


def test_a_prior_weighs_as_much_as_the_first_request_and_nothing_beside_two() -> None:
    assert expected(1, 4, is_sure=False) == pytest.approx(2)
    assert expected(1, 8, is_sure=True) == 8
    once, twice = learn(None, Answer(decode_tps=20)), learn(learn(None, Answer(decode_tps=20)), Answer(decode_tps=20))
    assert not once.is_sure("decode_tps")
    assert twice.is_sure("decode_tps")


def test_each_part_is_sure_by_its_own_measurements() -> None:
    speed = learn(learn(learn(None, Answer(ttft_s=1)), Answer(ttft_s=1)), Answer(ttft_s=1, decode_tps=5))
    assert speed.is_sure("ttft_s")
    assert not speed.is_sure("decode_tps")
    assert learn(speed, Answer(decode_tps=5)).is_sure("decode_tps")


@pytest.mark.parametrize("measured", [None, float("nan"), -1])
def test_without_a_measurement_the_prior_holds(measured: float | None) -> None:
    assert expected(1, measured, is_sure=True) == 1


def test_a_prior_of_zero_gives_way_at_once() -> None:
    assert expected(0, 4, is_sure=False) == 4


def test_each_length_of_prompt_has_a_speed_of_its_own() -> None:
    speed = Speed()
    for tokens, tps in ((100, 20), (3000, 10), (3000, 10), (60_000, 2)):
        speed = learn(speed, Answer(decode_tps=tps, context_tokens=tokens))
    at = {tokens: ("decode_tps", context_of(tokens)) for tokens in (3000, 60_000)}
    assert speed.decode_tps == 20
    assert speed.longer == {at[3000]: pytest.approx(10), at[60_000]: 2}
    assert speed.is_sure(at[3000])
    assert not speed.is_sure(at[60_000])


def test_a_prompt_is_short_up_to_its_bound() -> None:
    assert [context_of(tokens) for tokens in (0, CONTEXTS[0], CONTEXTS[0] + 1, 10**9)] == [0, 0, 1, len(CONTEXTS)]


def test_what_was_measured_long_ago_gives_way_sooner() -> None:
    speed = Speed(decode_tps=10, samples=4, at_s=0)
    soon, late = (learn(speed, Answer(decode_tps=20), at_s=at) for at in (60.0, 4 * HALF_LIFE_S))
    assert soon.decode_tps == pytest.approx(10 * 2**DECAY, rel=1e-3)
    assert late.decode_tps is not None
    assert late.decode_tps > 14
    assert speed.weight_at(HALF_LIFE_S) == pytest.approx(2)


def test_what_was_measured_elsewhere_is_a_first_guess() -> None:
    guess = Speed(decode_tps=10, samples=50).prior(0.0)
    assert guess.decode_tps == 10
    assert guess.is_sure("decode_tps")
    assert learn(guess, Answer(decode_tps=40)).decode_tps == pytest.approx(20)


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20))
def test_what_was_learned_lies_among_what_was_seen(ttfts_s: list[float]) -> None:
    speed = taught(*ttfts_s)
    assert speed.ttft_s is not None
    assert min(ttfts_s) * 0.999 <= speed.ttft_s <= max(ttfts_s) * 1.001
    assert speed.samples == len(ttfts_s)


def test_a_speed_that_no_device_has_teaches_nothing() -> None:
    assert learn(None, Answer(decode_tps=1e11)) == Speed()
    assert learn(None, Answer(decode_tps=60.0, ttft_s=0.1)).decode_tps == 60.0


@given(st.integers(0, 99), st.none() | st.floats(0, 9), st.floats(0, 1e8), st.floats(0.5, 4))
def test_a_speed_weighs_as_much_as_asked_until_the_time_that_it_tells(
    samples: int, weight: float | None, at_s: float, least: float
) -> None:
    speed = Speed(samples=samples, weight=weight, at_s=at_s)
    until_s = speed.weighs_until_s(least)
    if until_s - 1 > at_s:
        assert speed.weight_at(until_s - 1) >= least > speed.weight_at(until_s + 1)
    elif until_s + 1 < at_s:
        assert speed.weight_at(at_s) < least
