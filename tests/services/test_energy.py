"""The books of energy against a simulated gauge: what attempts, tails and the rest cost is what the device drew."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace

import pytest

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.energy import Account, Source
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Event, Finished, Usage
from ollama_proxyd.core.fleet import Hardware, LoadedModel
from ollama_proxyd.core.readings import DeviceState, Maybe, PowerState, Reading, SystemState, Unavailable
from ollama_proxyd.core.requests import Request
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.tasks import Tasks
from tests.fakes import FakeBackend, FakeClock, FakeFleet, pass_by, reload, services_of, settle, spec_of, words
from tests.services.test_gateway import answer, request

PERIOD_S = 2.0
CARD = DeviceState("0000:01:00.0", Hardware.NVIDIA, "", PowerState.AWAKE)
CPU = DeviceState("cpu", Hardware.CPU, "", PowerState.AWAKE)
GONE = Unavailable.because("no_sensor")


@dataclass
class Gauge:
    """A simulated device: what it draws depends on how many answers it writes, and its counter adds that up."""

    device: DeviceState
    clock: FakeClock
    base_w: float
    """With nothing of ours."""
    idle_w: float
    """With a model in its memory."""
    works: bool = True
    """Whether its sensor answers."""
    tells_watts_only: bool = False
    at_work: int = 0
    is_resident: bool = False
    joules: float = 0.0
    _seen_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._seen_s = self.clock.monotonic()

    def step(self, at_work: int = 0) -> None:
        """Let time pass up to now; then some more, or fewer, are at work."""
        now_s = self.clock.monotonic()
        self.joules += self.power_w * (now_s - self._seen_s)
        self._seen_s = now_s
        self.at_work += at_work
        self.is_resident |= at_work > 0

    @property
    def power_w(self) -> float:
        working_w = 45.0 + 3.0 * self.at_work if self.at_work else 0.0
        return self.base_w + working_w + (self.idle_w if self.is_resident and not self.at_work else 0.0)

    def on_battery(self) -> SystemState:
        """What is seen of it where only the battery tells."""
        self.step()
        now_s = self.clock.monotonic()
        device = replace(self.device, power_w=GONE, energy_j=GONE)
        rate_w = Reading(self.power_w, now_s)
        return SystemState(battery_state=Reading("discharging", now_s), battery_rate_w=rate_w, devices=(device,))

    def sensed(self) -> SystemState:
        self.step()
        now_s = self.clock.monotonic()
        power_w: Maybe[float] = Reading(self.power_w, now_s) if self.works else GONE
        energy_j: Maybe[float] = Reading(self.joules, now_s) if self.works and not self.tells_watts_only else GONE
        sleeps = self.device is CARD and not self.is_resident
        state = PowerState.ASLEEP if sleeps else PowerState.AWAKE
        return SystemState(devices=(replace(self.device, power_state=state, power_w=power_w, energy_j=energy_j),))


class Engine(FakeBackend):
    """Answers in virtual time, and its device draws meanwhile; every fifth answer fails."""

    def __init__(self, gauge: Gauge, slots: int) -> None:
        super().__init__(
            spec_of("nvidia", slots=slots, hardware=gauge.device.hardware), loaded=(LoadedModel("tiny:latest"),)
        )
        self.gauge = gauge

    async def answer(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
        self.requests.append((request, model))
        number = len(self.requests)
        self.gauge.step(at_work=1)
        try:
            yield Accepted()
            await asyncio.sleep(0.3)
            yield Delta(text="Hello")
            await asyncio.sleep(1.0 + 0.7 * (number % 4))
            if number % 5 == 4:
                raise ProxyError(ErrorKind.UPSTREAM_FAILED, "broke off")
            yield Finished(usage=Usage(10, 20 + 14 * (number % 4)))
        finally:
            self.gauge.step(at_work=-1)


class Bench:
    def __init__(self, services: Services, gauge: Gauge, engine: Engine) -> None:
        self.services, self.gauge, self.engine = services, gauge, engine
        self.booked: list[AttemptEnded] = []
        services.energy.booked.listen(self.booked.append)

    async def watch(self, look: Callable[[], SystemState]) -> None:
        while True:
            self.services.system.set(look())
            await asyncio.sleep(PERIOD_S)

    async def ask(self) -> None:
        with suppress(ProxyError):
            await answer(self.services, request(target="nvidia"))

    async def burst(self, parallel: int) -> None:
        """So many requests at once; every seventh client leaves early."""
        asking = [asyncio.create_task(self.ask()) for _ in range(parallel)]
        await pass_by(0.7)
        for leaving in asking[6::7]:
            leaving.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await pass_by(3 * PERIOD_S)

    def total(self, account: Account) -> float:
        return sum(joules for (_, of, _), joules in self.services.energy.totals.joules.items() if of is account)

    @property
    def requests_j(self) -> float:
        return sum(each.energy.total_j for each in self.booked)


async def bench_of(gauge: Gauge, slots: int) -> Bench:
    engine = Engine(gauge, slots)
    return Bench(await services_of(engine, clock=gauge.clock), gauge, engine)


@pytest.fixture
def card() -> Gauge:
    return Gauge(CARD, FakeClock(), base_w=0.0, idle_w=9.0)


@pytest.fixture
def package() -> Gauge:
    return Gauge(CPU, FakeClock(), base_w=6.0, idle_w=0.0)


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    async with Tasks("test") as tasks:
        yield tasks


async def begun(bench: Bench, tasks: Tasks) -> None:
    bench.services.energy.follow(tasks)
    tasks.start("watch", bench.watch(bench.gauge.sensed))
    await pass_by(60.0)


@pytest.mark.parametrize("device", ["card", "package"])
@pytest.mark.parametrize("parallel", [1, 5, 20])
async def test_requests_tail_and_base_sum_up_to_what_the_device_drew(
    parallel: int, device: str, tasks: Tasks, request: pytest.FixtureRequest
) -> None:
    gauge: Gauge = request.getfixturevalue(device)
    bench = await bench_of(gauge, slots=8)
    await begun(bench, tasks)
    for _ in range(3):
        await bench.burst(parallel)
    await reload(bench.services, bench.engine, FakeBackend("npu"))
    await bench.burst(parallel)
    await pass_by(90.0)
    gauge.works = False
    await pass_by(PERIOD_S)
    await bench.burst(parallel)
    bench.services.energy.close()
    gauge.step()
    assert len(bench.booked) == len(bench.engine.requests), "each attempt once"
    tail_j, base_j = bench.total(Account.IDLE_TAIL), bench.total(Account.BASE)
    assert bench.requests_j + tail_j + base_j == pytest.approx(gauge.joules, rel=0.1)
    assert bench.requests_j == pytest.approx(bench.total(Account.ACTIVE))
    assert bench.requests_j <= sum(each.busy_s for each in bench.booked) * (45.0 + 3.0 * 8)
    assert (tail_j if device == "card" else base_j) > 500.0


@pytest.mark.parametrize("parallel", [1, 5, 20])
async def test_requests_tail_and_base_sum_up_to_what_the_battery_lost(
    parallel: int, package: Gauge, tasks: Tasks
) -> None:
    bench = await bench_of(package, slots=8)
    bench.services.energy.follow(tasks)
    tasks.start("watch", bench.watch(package.on_battery))
    await pass_by(300.0)
    for _ in range(6):
        await bench.burst(parallel)
        await pass_by(90.0)
    first, active_j = len(bench.booked), bench.total(Account.ACTIVE)
    before_j, before_s = package.joules, package.clock.monotonic()
    for _ in range(3):
        await bench.burst(parallel)
    learned = bench.booked[first:]
    work_j = package.joules - before_j - package.base_w * (package.clock.monotonic() - before_s)
    bench.services.energy.close()
    whole_j = bench.requests_j + bench.total(Account.IDLE_TAIL) + bench.total(Account.BASE)
    assert whole_j == pytest.approx(package.joules, rel=0.1)
    assert bench.total(Account.ACTIVE) - active_j == pytest.approx(work_j, rel=0.1)
    assert {each.energy.source for each in learned} == {Source.ATTRIBUTED}
    assert all(each.energy.error_share is not None and each.energy.error_share >= 0.2 for each in learned)


async def test_the_wait_in_the_queue_costs_nothing(card: Gauge, tasks: Tasks) -> None:
    bench = await bench_of(card, slots=1)
    await begun(bench, tasks)
    await bench.burst(20)
    answered = [each.energy.total_j for each in bench.booked if each.succeeded]
    assert max(answered) <= 3.5 * 48.0


async def test_what_a_counter_will_tell_is_booked_when_it_has_told(card: Gauge, tasks: Tasks) -> None:
    bench = await bench_of(card, slots=1)
    await begun(bench, tasks)
    await pass_by(0.5)
    ended: list[AttemptEnded] = []
    bench.services.fleet.attempts.listen(ended.append)
    asking = asyncio.create_task(bench.ask())
    while not ended:
        await pass_by(0.1)
    assert ended[0].energy.total_j == pytest.approx(48.0 * ended[0].busy_s, rel=0.2), "as far as is known"
    assert not bench.booked
    await pass_by(PERIOD_S)
    await asking
    (told,) = bench.booked
    assert told.energy.source is Source.MEASURED
    assert told.energy.total_j == pytest.approx(48.0 * told.busy_s, rel=0.05)
    assert told.energy.decode_j > 5 * told.energy.prefill_j > 0
    assert bench.services.ledger.totals("nvidia").energy_j == told.energy.total_j


async def test_work_is_charged_up_to_its_last_event_and_booked_once_however_slowly_a_client_takes_that(
    card: Gauge, tasks: Tasks
) -> None:
    bench = await bench_of(card, slots=1)
    await begun(bench, tasks)
    async with aclosing(bench.services.gateway.answer(request(target="nvidia"))) as events:
        async for event in events:
            if isinstance(event, Finished):
                await pass_by(3 * PERIOD_S)
                assert not bench.booked
    (told,) = bench.booked
    assert told.energy.source is Source.MEASURED
    assert 0 < told.energy.total_j < 48.0 * (told.busy_s - 2 * PERIOD_S)
    await pass_by(3 * PERIOD_S)
    assert len(bench.booked) == 1


async def test_watts_that_a_sensor_shows_are_attributed(card: Gauge, tasks: Tasks) -> None:
    card.tells_watts_only = True
    bench = await bench_of(card, slots=1)
    await begun(bench, tasks)
    await bench.burst(1)
    assert bench.booked[0].energy.source is not Source.MEASURED


async def test_two_backends_in_one_package_are_not_charged_it_twice(package: Gauge, tasks: Tasks) -> None:
    bench = await bench_of(package, slots=4)
    npu = FakeBackend("npu")
    await reload(bench.services, bench.engine, npu)
    bench.services.system.set(package.sensed())
    await begun(bench, tasks)
    waiting = asyncio.Event()
    npu.script = (Accepted(), Delta(text="Hello"), waiting, Finished(usage=Usage(3, 5)))
    beside = asyncio.create_task(answer(bench.services, request(target="npu")))
    await bench.burst(4)
    waiting.set()
    await beside
    await pass_by(2 * PERIOD_S)
    package.step()
    assert sum(bench.services.energy.totals.joules.values()) == pytest.approx(package.joules, rel=0.05)


async def test_a_backend_without_a_known_device_is_charged_its_expected_watts_once(tasks: Tasks) -> None:
    clock = FakeClock()
    go_on = asyncio.Event()
    box = FakeBackend(spec_of("npu", slots=4), Accepted(), Delta(text="Hello"), go_on, Finished(usage=Usage(3, 5)))
    services = await services_of(box, clock=clock)
    asking = [asyncio.create_task(answer(services, request(target="npu"))) for _ in range(4)]
    await settle()
    clock.advance(10.0)
    go_on.set()
    await asyncio.gather(*asking)
    assert services.energy.today.joules == {("npu", Account.ACTIVE, Source.ESTIMATED): pytest.approx(30.0)}
    assert services.ledger.totals("npu").energy_j == pytest.approx(30.0)


async def test_an_unused_model_of_such_a_backend_has_its_expected_idle_watts(tasks: Tasks) -> None:
    clock = FakeClock()
    services = await services_of(FakeBackend("nvidia", loaded=(LoadedModel("tiny:latest"),)), clock=clock)
    clock.advance(100.0)
    await answer(services, request())
    assert services.energy.today.joules["nvidia", Account.IDLE_TAIL, Source.ESTIMATED] == pytest.approx(900.0)
    assert services.energy.tails == {("nvidia", "tiny:latest"): pytest.approx(900.0)}


async def test_what_a_backend_served_before_it_was_removed_is_not_taken_to_lie_in_its_memory() -> None:
    clock = FakeClock()
    box, other = FakeBackend("nvidia", *words("Hello"), loaded=None), FakeBackend("npu")
    services = await services_of(box, other, clock=clock)
    fleet = services.fleet
    assert isinstance(fleet, FakeFleet)
    await answer(services, request(target="nvidia"))
    for backends in ((other,), (box, other)):
        fleet.have(*backends)
    await services.health.check_all()
    clock.advance(100.0)
    services.energy.close()
    assert not services.energy.tails


async def test_a_new_day_begins_with_nothing_and_the_totals_go_on() -> None:
    clock = FakeClock()
    clock.minute = 23 * 60 + 59.0
    services = await services_of(FakeBackend("nvidia", loaded=(LoadedModel("tiny:latest"),)), clock=clock)
    clock.advance(59.0)
    await answer(services, request())
    assert sum(services.energy.today.joules.values()) == pytest.approx(9.0 * 59)
    clock.advance(2.0)
    assert sum(services.energy.today.joules.values()) == 0.0
    clock.advance(8.0)
    await answer(services, request())
    assert sum(services.energy.today.joules.values()) == pytest.approx(90.0)
    assert sum(services.energy.totals.joules.values()) == pytest.approx(9.0 * 69)


async def test_a_day_that_a_set_clock_shows_again_goes_on_where_it_was() -> None:
    clock = FakeClock()
    services = await services_of(FakeBackend("nvidia", loaded=(LoadedModel("tiny:latest"),)), clock=clock)
    clock.advance(10.0)
    await answer(services, request())
    for day, spent_j in ((16, 0.0), (15, 90.0), (16, 0.0), (15, 90.0)):
        clock.day = clock.day.replace(day=day)
        assert sum(services.energy.today.joules.values()) == pytest.approx(spent_j)
    clock.advance(10.0)
    await answer(services, request())
    assert sum(services.energy.today.joules.values()) == pytest.approx(180.0)


async def test_a_day_begins_at_midnight_also_where_its_sums_are_asked_for_later() -> None:
    clock = FakeClock()
    clock.minute = 23 * 60 + 59.0
    services = await services_of(FakeBackend("nvidia", loaded=(LoadedModel("tiny:latest"),)), clock=clock)
    clock.advance(59.0)
    await answer(services, request())
    clock.advance(2.0)
    await answer(services, request())
    clock.advance(8.0)
    await answer(services, request())
    assert sum(services.energy.today.joules.values()) == pytest.approx(90.0)
