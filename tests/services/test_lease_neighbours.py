"""How many requests an attempt has had beside it: the mean over its time."""

import pytest

from tests.fakes import FakeBackend, FakeClock, FakeFleet, spec_of


def fleet_at(clock: FakeClock) -> FakeFleet:
    fleet = FakeFleet(clock)
    fleet.have(FakeBackend(spec_of("igpu")))
    return fleet


def test_others_count_for_as_long_as_they_are_beside_it() -> None:
    clock = FakeClock()
    fleet = fleet_at(clock)
    lease = fleet.lease("igpu")
    clock.advance(2.0)
    with fleet.lease("igpu") as other, fleet.lease("igpu"):
        clock.advance(6.0)
        assert other.neighbours(clock.monotonic()) == 2.0
    clock.advance(2.0)
    assert lease.neighbours(clock.monotonic()) == pytest.approx(12 / 10)


def test_one_that_comes_once_another_has_gone_was_alone() -> None:
    clock = FakeClock()
    fleet = fleet_at(clock)
    with fleet.lease("igpu"):
        clock.advance(5.0)
    clock.advance(60.0)
    lease = fleet.lease("igpu")
    clock.advance(5.0)
    assert lease.neighbours(clock.monotonic()) == 0.0


def test_at_its_first_moment_those_count_that_are_there() -> None:
    clock = FakeClock()
    fleet = fleet_at(clock)
    fleet.lease("igpu")
    assert fleet.lease("igpu").neighbours(clock.monotonic()) == 1.0
