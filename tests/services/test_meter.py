"""Watts that sensors showed while a backend worked, learned from answers in full."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.readings import NO_SENSOR, DeviceState, Reading, SystemState
from ollama_proxyd.core.requests import Hints
from ollama_proxyd.core.watts import Watts
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.meter import Meter
from ollama_proxyd.services.tasks import Tasks
from tests.fakes import FakeBackend, FakeClock, Step, reference_fleet, reload, services_of, settle, spec_of, words
from tests.reasons import unavailable
from tests.services.test_gateway import answer, request

IGPU = DeviceState("0000:00:02.0", Hardware.IGPU, "")


def breath() -> tuple[Step, ...]:
    """Steps in which everybody else does what there is to do."""
    over = asyncio.Event()

    async def settle_first() -> None:
        await settle()
        over.set()

    tasks: list[asyncio.Task[None]] = []
    return (lambda: tasks.append(asyncio.create_task(settle_first())), over)


class Bench:
    """Services on a machine with a power meter at the integrated graphics."""

    def __init__(self, services: Services, clock: FakeClock, backends: dict[str, FakeBackend]) -> None:
        self.services = services
        self.clock = clock
        self.backends = backends
        self.meter = Meter(services.system, services.fleet, clock)
        services.fleet.attempts.listen(self.meter.observe)

    def show(self, power_w: float | None, device: DeviceState = IGPU) -> Callable[[], None]:
        """A step of a backend at work: two seconds later the sensor says this."""

        def step() -> None:
            self.clock.advance(2.0)
            now_s = self.clock.monotonic()
            said: Any = unavailable("silent") if power_w is None else Reading(power_w, now_s)
            shown = DeviceState(device.id, device.hardware, "", power_w=said)
            self.services.system.set(SystemState(devices=(shown,)))

        return step

    def script(self, *power_w: float | None, backend_id: str = "igpu", end: Step | None = None) -> None:
        """Have a backend answer slowly, while the sensor shows these watts one after the other."""
        accepted, first, *rest = words("Hello", " world")
        shown = [step for each in power_w for step in (self.show(each), *breath())]
        self.backends[backend_id].script = (accepted, first, *breath(), *shown, *([end] if end is not None else rest))

    async def ask(self, backend_id: str = "igpu") -> None:
        try:
            await answer(self.services, request(target=backend_id))
        finally:
            await settle()

    @property
    def watts(self) -> Watts | None:
        return self.services.fleet.view("igpu").watts


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    clock = FakeClock()
    backends = {
        each.spec.id: each for each in (*reference_fleet(), FakeBackend(spec_of("twin", hardware=Hardware.IGPU)))
    }
    bench = Bench(await services_of(*backends.values(), clock=clock), clock, backends)
    bench.services.system.set(SystemState(devices=(IGPU,)))
    async with Tasks("test") as tasks:
        bench.meter.follow(tasks)
        await settle()
        yield bench


async def test_an_answer_teaches_what_its_backend_draws(bench: Bench) -> None:
    bench.script(9.0, 30.0, 40.0)
    await bench.ask()
    assert bench.watts == Watts(pytest.approx(35.0), pytest.approx(4.0))
    ranked = bench.services.gateway.explain(Query("tiny", hints=Hints(target="igpu"))).ranked[0]
    assert ranked.power_w == pytest.approx(35.0)


async def test_an_answer_with_one_reading_teaches_nothing(bench: Bench) -> None:
    bench.script(30.0)
    await bench.ask()
    assert bench.watts is None


async def test_a_failed_request_teaches_nothing(bench: Bench) -> None:
    bench.script(9.0, 30.0, 40.0, end=ProxyError(ErrorKind.UPSTREAM_FAILED, "broke off"))
    with suppress(ProxyError):
        await bench.ask()
    assert bench.watts is None
    bench.script(9.0, 20.0)
    await bench.ask()
    assert bench.watts == Watts(20.0, pytest.approx(2.0)), "nor does what was seen of it come in later"


async def test_what_two_backends_draw_together_is_nobodys(bench: Bench) -> None:
    go_on = asyncio.Event()
    bench.backends["twin"].script = (*words("x")[:2], go_on, *words("x")[2:])
    twin = asyncio.create_task(bench.ask("twin"))
    await bench.backends["twin"].opened.wait()
    bench.script(9.0, 30.0, 40.0)
    await bench.ask()
    assert bench.watts is None
    go_on.set()
    await twin
    assert bench.services.fleet.view("twin").watts is None


async def test_work_on_another_device_does_not_disturb(bench: Bench) -> None:
    go_on = asyncio.Event()
    bench.backends["cpu"].script = (*words("x")[:2], go_on, *words("x")[2:])
    elsewhere = asyncio.create_task(bench.ask("cpu"))
    await bench.backends["cpu"].opened.wait()
    bench.script(9.0, 30.0)
    await bench.ask()
    assert bench.watts == Watts(30.0, pytest.approx(2.0))
    go_on.set()
    await elsewhere


async def test_nobody_at_work_teaches_nothing(bench: Bench) -> None:
    for power_w in (5.0, 6.0, 7.0):
        bench.show(power_w)()
        await settle()
    with bench.services.fleet.lease("igpu"):
        pass
    assert bench.watts is None


async def test_measured_watts_outlive_a_reload(bench: Bench) -> None:
    bench.script(9.0, 30.0)
    await bench.ask()
    learned = bench.watts
    await reload(bench.services, *reference_fleet(priority=3))
    assert bench.watts == learned is not None
    await reload(bench.services, FakeBackend("cpu"))
    await reload(bench.services, *reference_fleet())
    assert bench.watts == learned, "nor are those of a backend forgotten that was gone for a while"
    assert bench.services.fleet.view("cpu").watts is None


@pytest.mark.parametrize(
    "place",
    [{"hardware": Hardware.NVIDIA}, {"pci_address": "0000:03:00.0"}, {"is_local": False}],
    ids=["another class", "another device", "another machine"],
)
async def test_what_a_backend_drew_elsewhere_says_nothing_of_where_it_runs_now(
    bench: Bench, place: dict[str, Any]
) -> None:
    bench.script(9.0, 30.0)
    await bench.ask()
    assert bench.watts is not None
    await reload(bench.services, FakeBackend(spec_of("igpu", **place)))
    assert bench.watts is None


async def test_a_fleet_that_does_not_have_the_backend_takes_no_note(bench: Bench) -> None:
    before = bench.services.fleet.views.value
    bench.services.fleet.note_watts("gone", Watts(1.0, 9.0))
    assert bench.services.fleet.views.value is before


async def test_watts_are_kept_apart_for_each_power_profile_and_charger(bench: Bench) -> None:
    bench.script(9.0, 30.0, 40.0)
    await bench.ask()
    plugged_in, system = bench.watts, bench.services.system
    assert plugged_in is not None
    system.set(replace(system.value, on_battery=Reading(True, bench.clock.monotonic())))
    await settle()
    assert bench.watts == plugged_in.first_guess()
    system.set(replace(system.value, on_battery=NO_SENSOR))
    await settle()
    assert bench.watts == plugged_in
