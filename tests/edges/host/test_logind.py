"""The machine's sleep, as logind tells it over a real bus."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from dbus_fast import Message
from dbus_fast.aio import MessageBus

from ollama_proxyd.edges.host.inhibitor import StayingAwake
from ollama_proxyd.edges.host.logind import SleepWatch
from ollama_proxyd.edges.plumbing.clock import SystemClock
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.sleep import Sleep
from ollama_proxyd.services.tasks import Tasks
from tests.desktop.private_bus import PrivateBus
from tests.edges.host.fake_logind import DELAY_S, MANAGER, PATH, FakeLogind


class Sleeper(Sleep):
    """Writes down what it is told; preparing takes until `is_prepared`."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.is_prepared = asyncio.Event()
        self.within_s = 0.0
        self.fault: Exception | None = None
        self.late_fault: Exception | None = None

    async def prepare(self, within_s: float) -> None:
        self.within_s = within_s
        self.told.append("prepare")
        if self.fault is not None:
            raise self.fault
        await self.is_prepared.wait()
        self.told.append("prepared")

    async def resume(self) -> None:
        self.told.append("resume")
        if self.late_fault is not None:
            raise self.late_fault

    def reopen(self) -> None:
        self.told.append("reopen")


@pytest.fixture
async def logind(private_bus: PrivateBus) -> AsyncIterator[FakeLogind]:
    fake = FakeLogind()
    await fake.start(private_bus.address)
    yield fake
    await fake.close()


@pytest.fixture
async def line(private_bus: PrivateBus) -> AsyncIterator[BusLine]:
    line = BusLine(private_bus.address, SystemClock(), takes_files=True)
    yield line
    await line.close()


@pytest.fixture
async def tasks(line: BusLine) -> AsyncIterator[Tasks]:
    async with Tasks("test") as tasks:
        yield tasks


def watch(sleeper: Sleeper, line: BusLine, tasks: Tasks) -> None:
    watching = SleepWatch(sleeper)
    tasks.start("watch", line.keep(watching.follow, watching.say_missing))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what comes over the bus
            await asyncio.sleep(0.005)


async def test_sleep_waits_until_everything_is_prepared(logind: FakeLogind, line: BusLine, tasks: Tasks) -> None:
    sleeper = Sleeper()
    watch(sleeper, line, tasks)
    lock = await logind.lock(0)
    assert (lock.what, lock.mode) == ("sleep", "delay")
    await asyncio.sleep(0.1)
    assert lock.is_held
    logind.tell(sleeps=True)
    await until(lambda: sleeper.told == ["prepare"])
    assert sleeper.within_s == DELAY_S
    assert lock.is_held
    sleeper.is_prepared.set()
    await lock.released()
    assert sleeper.told == ["prepare", "prepared"]


async def test_after_waking_up_the_next_sleep_is_held_up_again(logind: FakeLogind, line: BusLine, tasks: Tasks) -> None:
    sleeper = Sleeper()
    sleeper.is_prepared.set()
    watch(sleeper, line, tasks)
    for number in range(2):
        lock = await logind.lock(number)
        sleeper.told.clear()
        logind.tell(sleeps=True)
        await lock.released()
        logind.tell(sleeps=False)
        await until(lambda: sleeper.told == ["prepare", "prepared", "resume"])
    assert len(logind.locks) == 3


async def test_a_sleep_that_is_called_off_ends_the_preparing(logind: FakeLogind, line: BusLine, tasks: Tasks) -> None:
    sleeper = Sleeper()
    watch(sleeper, line, tasks)
    await logind.lock(0)
    logind.tell(sleeps=True)
    await until(lambda: sleeper.told == ["prepare"])
    logind.tell(sleeps=False)
    await until(lambda: sleeper.told == ["prepare", "resume"])


async def test_a_fault_while_preparing_is_logged_and_neither_holds_up_the_sleep_nor_deafens(
    logind: FakeLogind, line: BusLine, tasks: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    sleeper = Sleeper()
    sleeper.fault = KeyError("a fault of ours")
    watch(sleeper, line, tasks)
    for number in range(2):
        lock = await logind.lock(number)
        sleeper.told.clear()
        logind.tell(sleeps=True)
        await lock.released()
        logind.tell(sleeps=False)
        await until(lambda: sleeper.told == ["prepare", "resume"])
    assert caplog.text.count("KeyError: 'a fault of ours'") == 2


async def test_a_fault_after_waking_up_is_logged_and_the_next_sleep_is_heard(
    logind: FakeLogind, line: BusLine, tasks: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    sleeper = Sleeper()
    sleeper.is_prepared.set()
    sleeper.late_fault = KeyError("a fault of ours")
    watch(sleeper, line, tasks)
    for number in range(2):
        lock = await logind.lock(number)
        logind.tell(sleeps=True)
        await lock.released()
        logind.tell(sleeps=False)
        await until(lambda: caplog.text.count("KeyError: 'a fault of ours'") == number + 1)  # noqa: B023 - awaited here


async def test_only_logind_itself_is_believed(
    logind: FakeLogind, line: BusLine, tasks: Tasks, private_bus: PrivateBus
) -> None:
    sleeper = Sleeper()
    watch(sleeper, line, tasks)
    lock = await logind.lock(0)
    liar = await MessageBus(bus_address=private_bus.address).connect()
    liar.send(Message.new_signal(PATH, MANAGER, "PrepareForSleep", "b", [True]))
    await asyncio.sleep(0.1)
    assert sleeper.told == []
    assert lock.is_held
    liar.disconnect()
    await liar.wait_for_disconnect()


async def test_when_logind_goes_away_in_the_middle_requests_are_let_in_again(
    logind: FakeLogind, line: BusLine, tasks: Tasks
) -> None:
    sleeper = Sleeper()
    watch(sleeper, line, tasks)
    await logind.lock(0)
    logind.tell(sleeps=True)
    await until(lambda: sleeper.told == ["prepare"])
    await logind.close()
    logind.locks.clear()
    await until(lambda: sleeper.told[-1] == "reopen")


async def test_without_logind_it_is_said_once_and_a_later_one_is_used(
    line: BusLine, tasks: Tasks, private_bus: PrivateBus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    watch(Sleeper(), line, tasks)
    await until(lambda: "logind cannot be asked" in caplog.text)
    late = FakeLogind()
    await late.start(private_bus.address)
    assert (await late.lock(0)).mode == "delay"
    assert caplog.text.count("logind cannot be asked") == 1
    await late.close()


async def test_without_the_lock_sleep_is_heard_all_the_same(
    logind: FakeLogind, line: BusLine, tasks: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    logind.refused.add("sleep")
    sleeper = Sleeper()
    watch(sleeper, line, tasks)
    await until(lambda: "logind does not wait for running requests" in caplog.text)
    logind.tell(sleeps=True)
    await until(lambda: sleeper.told == ["prepare"])
    assert sleeper.within_s == 0.0


async def test_the_machine_is_kept_awake_exactly_while_that_is_wanted(
    logind: FakeLogind, line: BusLine, tasks: Tasks
) -> None:
    wanted = Cell(False)
    staying = StayingAwake(wanted)
    tasks.start("awake", line.keep(staying.follow, lambda _: None))
    await asyncio.sleep(0.1)
    assert logind.locks == []
    wanted.set(True)
    lock = await logind.lock(0)
    assert (lock.what, lock.mode) == ("idle:sleep", "block")
    await asyncio.sleep(0.1)
    assert lock.is_held
    wanted.set(False)
    await lock.released()


async def test_where_sleep_may_not_be_blocked_at_least_falling_asleep_by_itself_is(
    logind: FakeLogind, line: BusLine, tasks: Tasks
) -> None:
    logind.refused.add("idle:sleep")
    wanted = Cell(True)
    tasks.start("awake", line.keep(StayingAwake(wanted).follow, lambda _: None))
    assert (await logind.lock(0)).what == "idle"


async def test_a_lock_that_could_not_be_given_once_is_asked_for_again(
    logind: FakeLogind, line: BusLine, tasks: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    logind.is_ill = True
    wanted = Cell(True)
    tasks.start("awake", line.keep(StayingAwake(wanted).follow, lambda _: None))
    await until(lambda: "does not let us hold off" in caplog.text)
    logind.is_ill = False
    wanted.set(False)
    await asyncio.sleep(0.05)
    wanted.set(True)
    assert (await logind.lock(0)).what == "idle:sleep"
