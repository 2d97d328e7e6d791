"""How long each backend makes a request wait, as it is estimated at a moment."""

import pytest

from ollama_proxyd.core.admission import AdmissionQueue
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.services.forecast import Forecast
from tests.fakes import FakeBackend, FakeClock, FakeFleet, spec_of


def test_the_wait_for_a_slot_falls_with_time_although_nothing_comes_or_goes() -> None:
    clock = FakeClock()
    fleet = FakeFleet(clock)
    fleet.have(FakeBackend(spec_of("npu")))
    forecast = Forecast(fleet, AdmissionQueue(), clock)
    assert not forecast.of(Query("m")).waits_s
    for _ in range(fleet.view("npu").slots):
        fleet.lease("npu", expected_s=10.0)
    assert forecast.of(Query("m")).waits_s == {"npu": pytest.approx(10.0)}
    clock.advance(4.0)
    assert forecast.of(Query("m")).waits_s == {"npu": pytest.approx(6.0)}
