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


def test_work_in_the_background_is_told_while_it_has_its_slot_also_where_others_are_free() -> None:
    clock = FakeClock()
    fleet = FakeFleet(clock)
    fleet.have(FakeBackend(spec_of("npu", slots=4)), FakeBackend(spec_of("igpu", slots=4)))
    forecast = Forecast(fleet, AdmissionQueue(), clock)
    with fleet.lease("npu"), fleet.lease("igpu"), fleet.lease("npu") as lease:
        assert not forecast.of(Query("m")).background
        lease.yields()
        clock.advance(1.0)
        assert forecast.of(Query("m")).background == {"npu": 1}
    assert not forecast.of(Query("m")).background
    with fleet.lease("npu"):
        assert not forecast.of(Query("m")).background
    assert not fleet.yielding
