"""The battery tells what devices without instruments draw, late and with all else that it feeds."""

import pytest

from ollama_proxyd.core.battery_gauge import LAG_S, NOTHING_TOLD, BatteryGauge, Look
from ollama_proxyd.core.energy import Source

BASE_W = 8.0
EXPECTED_W = {"npu": 3.0, "cpu": 28.0}
TRUE_W = {"npu": 6.0, "cpu": 42.0}
STEP_S = 5.0


class Machine:
    """Devices without instruments, beside a card that has one, on a battery whose gauge is late."""

    def __init__(self, lag_s: float = 0.0) -> None:
        self.gauge = BatteryGauge()
        self.now_s = self.lost_j = 0.0
        self.work_j = dict.fromkeys(EXPECTED_W, 0.0)
        self.at_work_s = dict.fromkeys(EXPECTED_W, 0.0)
        self.card_j: dict[str, float] = {"card": 0.0}
        self._shown_w = [BASE_W] * int(lag_s / STEP_S)

    def run(self, seconds: float, *at_work: str, card_w: float = 0.0) -> None:
        for _ in range(round(seconds / STEP_S)):
            self._shown_w.append(BASE_W + card_w + sum(TRUE_W[each] for each in at_work))
            self.look(self._shown_w.pop(0))
            self.now_s += STEP_S
            self.card_j = {each: joules + card_w * STEP_S for each, joules in self.card_j.items()}
            for each in at_work:
                self.work_j[each] += EXPECTED_W[each] * STEP_S
                self.at_work_s[each] += STEP_S

    def look(self, battery_w: float) -> None:
        self.gauge.note(Look(self.now_s, battery_w, dict(self.card_j), 0.0, dict(self.work_j), dict(self.at_work_s)))

    def learn(self, *at_work: str, times: int = 20) -> None:
        self.run(120.0)
        for _ in range(times):
            self.run(30.0, *at_work)
            self.run(2 * LAG_S)


@pytest.mark.parametrize("lag_s", [0.0, 30.0])
def test_work_of_one_device_is_scaled_to_what_the_battery_lost(lag_s: float) -> None:
    machine = Machine(lag_s)
    machine.learn("npu")
    told = machine.gauge.told("npu")
    assert told.factor == pytest.approx(2.0, rel=0.05)
    assert told.source is Source.ATTRIBUTED
    assert told.error_share is not None
    assert 0.2 <= told.error_share < 0.5
    assert machine.gauge.told("cpu") is NOTHING_TOLD


def test_devices_that_work_together_agree_in_their_sum_and_alone_each_finds_its_own() -> None:
    machine = Machine()
    machine.learn("npu", "cpu")
    factors = {each: machine.gauge.told(each).factor for each in EXPECTED_W}
    assert sum(EXPECTED_W[each] * factors[each] for each in factors) == pytest.approx(48.0, rel=0.05)
    machine.learn("npu", times=100)
    assert machine.gauge.told("npu").factor == pytest.approx(2.0, rel=0.1)


def test_what_a_measured_device_draws_is_not_taken_for_work_of_others() -> None:
    machine = Machine()
    machine.run(120.0)
    for _ in range(20):
        machine.run(30.0, "npu", card_w=60.0)
        machine.run(60.0, card_w=9.0)
        machine.run(60.0)
    assert machine.gauge.told("npu").factor == pytest.approx(2.0, rel=0.1)


def test_nothing_is_told_while_it_is_not_known_what_the_machine_draws_without_work() -> None:
    machine = Machine()
    machine.run(900.0, "npu")
    assert machine.gauge.told("npu") is NOTHING_TOLD
    assert machine.gauge.base_j == 0.0


def test_work_without_a_pause_is_told_meanwhile() -> None:
    machine = Machine()
    machine.run(60.0)
    machine.run(1800.0, "npu")
    assert machine.gauge.told("npu").factor == pytest.approx(2.0, rel=0.05)


def test_on_the_charger_what_it_showed_goes_on_as_an_estimate() -> None:
    machine = Machine()
    machine.learn("npu")
    machine.gauge.pause()
    told = machine.gauge.told("npu")
    assert (told.factor, told.source) == (pytest.approx(2.0, rel=0.05), Source.ESTIMATED)


def test_the_time_on_the_charger_is_not_looked_at() -> None:
    machine = Machine()
    machine.learn("npu")
    before_j = machine.gauge.base_j
    machine.gauge.pause()
    machine.now_s += 7200.0
    machine.look(500.0)
    assert machine.gauge.base_j == before_j


def test_a_device_whose_instruments_begin_to_tell_ends_the_comparison() -> None:
    machine = Machine()
    machine.learn("npu")
    known = machine.gauge.told("npu").factor
    machine.run(30.0, "npu")
    machine.card_j["other"] = 5000.0
    machine.run(300.0)
    assert machine.gauge.told("npu").factor == pytest.approx(known, rel=0.05)


def test_the_rest_of_the_machine_is_its_base() -> None:
    machine = Machine()
    machine.learn("npu", times=5)
    assert machine.gauge.base_j == pytest.approx(BASE_W * machine.now_s, rel=0.05)
