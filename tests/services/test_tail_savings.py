"""What unloading early saves: a card saves while it sleeps, what is in the processor from the first moment."""

from dataclasses import replace

import pytest

from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.policy.residence import Upkeep
from ollama_proxyd.core.readings import DeviceState, PowerState
from ollama_proxyd.services.tail_savings import TailSavings
from tests.fakes import FakeClock

COSTS = Upkeep(load_s=4.0, load_j=100.0, wake_s=1.0, wake_j=26.0, idle_w=9.0, start_s=2.0, start_j=50.0)
AWAKE = DeviceState("0000:01:00.0", Hardware.NVIDIA, "", PowerState.AWAKE)
ASLEEP = replace(AWAKE, power_state=PowerState.ASLEEP)


def after(clock: FakeClock, savings: TailSavings, seconds: float) -> float:
    clock.advance(seconds)
    return savings.saved_j


def test_a_card_saves_only_while_the_kernel_says_that_it_sleeps() -> None:
    clock = FakeClock()
    savings = TailSavings(clock)
    savings.begin("model", clock.monotonic() + 300.0, COSTS, AWAKE)
    assert after(clock, savings, 100.0) == 0.0
    savings.look([ASLEEP])
    assert after(clock, savings, 50.0) == pytest.approx(450.0)
    savings.look([AWAKE])
    assert after(clock, savings, 50.0) == pytest.approx(450.0)
    savings.look([ASLEEP])
    assert after(clock, savings, 1000.0) == pytest.approx(450.0 + 900.0)


@pytest.mark.parametrize(
    "device", [None, replace(AWAKE, hardware=Hardware.IGPU), replace(AWAKE, power_state=PowerState.UNKNOWN)]
)
def test_where_nothing_tells_of_sleep_the_estimate_stands(device: DeviceState | None) -> None:
    clock = FakeClock()
    savings = TailSavings(clock)
    savings.begin("model", clock.monotonic() + 300.0, COSTS, device)
    assert after(clock, savings, 100.0) == pytest.approx(900.0)


def test_the_start_of_the_engine_is_a_part_of_the_price_of_having_it_again() -> None:
    clock = FakeClock()
    savings = TailSavings(clock)
    savings.begin("model", clock.monotonic() + 300.0, COSTS)
    clock.advance(10.0)
    savings.end("model")
    assert savings.saved_j == pytest.approx(90.0 - 100.0 - 26.0 - 50.0)
