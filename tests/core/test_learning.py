"""What finished requests teach."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.learning import DECAY, Speed, blend, learn


def taught(*ttfts_s: float) -> Speed:
    speed = Speed()
    for ttft_s in ttfts_s:
        speed = learn(speed, ttft_s=ttft_s)
    return speed


def test_the_first_request_is_taken_as_it_is() -> None:
    assert learn(None, ttft_s=0.5, decode_tps=20, output_tokens=80) == Speed(0.5, 20, 80, samples=1)


def test_the_first_requests_weigh_alike() -> None:
    assert taught(1, 4).ttft_s == pytest.approx(2)
    assert taught(1, 4, 2).ttft_s == pytest.approx(2)


def test_later_requests_weigh_a_constant_share_so_that_the_past_fades() -> None:
    speed = Speed(decode_tps=10, samples=1000)
    assert learn(speed, decode_tps=20).decode_tps == pytest.approx(10 * 2**DECAY)
    for _ in range(40):
        speed = learn(speed, decode_tps=20)
    assert speed.decode_tps == pytest.approx(20, rel=1e-3)


def test_what_a_request_did_not_show_stays() -> None:
    assert learn(Speed(0.5, 20, 80, samples=3), decode_tps=20) == Speed(0.5, pytest.approx(20), 80, samples=4)


@pytest.mark.parametrize("absurd", [0, -1, float("nan"), float("inf"), None])
def test_absurd_values_teach_nothing(absurd: float | None) -> None:
    speed = Speed(0.5, 20, 80, samples=3)
    assert learn(speed, ttft_s=absurd, decode_tps=absurd, output_tokens=absurd) is speed
    assert learn(speed, ttft_s=absurd, decode_tps=20).ttft_s == 0.5


def test_an_outlier_counts_no_more_upwards_than_downwards() -> None:
    assert taught(1, 100, 1, 0.01).ttft_s == pytest.approx(1)


def test_a_prior_weighs_as_much_as_one_request() -> None:
    assert blend(1, 4, samples=1) == pytest.approx(2)
    assert blend(1, 8, samples=2) == pytest.approx(4)
    assert blend(1, 4, samples=10_000) == pytest.approx(4, rel=1e-3)


@pytest.mark.parametrize(("measured", "samples"), [(None, 9), (4, 0), (float("nan"), 9), (-1, 9)])
def test_without_a_measurement_the_prior_holds(measured: float | None, samples: int) -> None:
    assert blend(1, measured, samples) == 1


def test_a_prior_of_zero_gives_way_at_once() -> None:
    assert blend(0, 4, samples=1) == 4


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20))
def test_what_was_learned_lies_among_what_was_seen(ttfts_s: list[float]) -> None:
    speed = taught(*ttfts_s)
    assert speed.ttft_s is not None
    assert min(ttfts_s) * 0.999 <= speed.ttft_s <= max(ttfts_s) * 1.001
    assert speed.samples == len(ttfts_s)


def test_a_speed_that_no_device_has_teaches_nothing() -> None:
    assert learn(None, decode_tps=1e11) == Speed()
    assert learn(None, decode_tps=60.0, ttft_s=0.1).decode_tps == 60.0
