"""How often sensors are asked, and what becomes of the dead among them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.merging import merge
from ollama_proxyd.core.plausibility import CONFIRMED_S
from ollama_proxyd.core.readings import NO_SENSOR, Reading, Sensed, SystemState, known
from ollama_proxyd.services import sensing, watching
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.ports import SignalSensor
from ollama_proxyd.services.sensing import Sensing
from ollama_proxyd.services.settings import SensingSettings
from ollama_proxyd.services.tasks import Tasks
from ollama_proxyd.services.watching import Pace
from tests.fakes import FakeClock, pass_by, settle
from tests.reasons import why

SETTINGS = SensingSettings(idle_s=30.0, busy_s=2.0, busy_after_s=60.0)
START_S = 1_020.0
"""A moment on the beat of the idle period."""


class Thermometer:
    """A polled sensor; `failure` is what it raises, and it remembers when it was asked."""

    def __init__(self, clock: FakeClock, name: str = "thermometer") -> None:
        self.name = name
        self.failure: BaseException | None = None
        self.hangs = False
        self.asked: list[float] = []
        self._clock = clock

    async def read(self) -> Sensed:
        self.asked.append(self._clock.monotonic() - START_S)
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        return Sensed({"cpu_percent": Reading(float(len(self.asked)), self._clock.monotonic())})


class Laptop:
    """A machine with sensors, watched from its first moment on."""

    def __init__(self) -> None:
        self.clock = FakeClock(START_S)
        self.activity = Activity(self.clock)
        self.sensing = Sensing(self.clock)
        self.tasks = Tasks("test")

    def watch(self, *sensors: Thermometer) -> None:
        self.sensing.watch(sensors, (), self.tasks, Pace(self.clock, self.activity, SETTINGS))

    def follow(self, sensor: SignalSensor) -> None:
        self.sensing.watch((), (sensor,), self.tasks, Pace(self.clock, self.activity, SETTINGS))

    @property
    def cpu_percent(self) -> object:
        return self.sensing.system.value.cpu_percent


@pytest.fixture
async def laptop() -> AsyncIterator[Laptop]:
    laptop = Laptop()
    async with laptop.tasks:
        yield laptop


async def test_sensors_are_asked_at_once_and_then_rarely(laptop: Laptop) -> None:
    sensor = Thermometer(laptop.clock)
    laptop.watch(sensor)
    await pass_by(100)
    assert sensor.asked == [0, 30, 60, 90]


async def test_in_idle_all_that_recurs_falls_on_the_same_beat(laptop: Laptop) -> None:
    early, late = Thermometer(laptop.clock), Thermometer(laptop.clock)
    laptop.watch(early)
    await pass_by(7)
    laptop.watch(late)
    await pass_by(100)
    assert (early.asked, late.asked) == ([0, 30, 60, 90], [7, 30, 60, 90])


async def test_several_sensors_need_no_more_wake_ups_than_one(laptop: Laptop) -> None:
    sensors = [Thermometer(laptop.clock, f"sensor {at}") for at in range(5)]
    laptop.watch(*sensors)
    await pass_by(89)
    assert [sensor.asked for sensor in sensors] == [[0, 30, 60]] * 5
    assert laptop.clock.sleeps == [30.0, 30.0, 30.0]


async def test_a_request_has_sensors_asked_at_once_and_often_until_a_minute_after_it(laptop: Laptop) -> None:
    sensor = Thermometer(laptop.clock)
    laptop.watch(sensor)
    await pass_by(10)
    laptop.activity.begin()
    await pass_by(5)
    laptop.activity.end()
    assert sensor.asked == [0, 10, 12, 14]
    await pass_by(200)
    assert sensor.asked == [0, *range(10, 77, 2), 90, 120, 150, 180, 210]


async def test_requests_in_quick_succession_do_not_hurry_the_sensors(laptop: Laptop) -> None:
    sensor = Thermometer(laptop.clock)
    laptop.watch(sensor)
    await pass_by(0)
    for _ in range(50):
        laptop.activity.begin()
        laptop.activity.end()
        await pass_by(0.1)
    assert len(sensor.asked) == 3


async def test_what_was_waited_for_in_vain_is_waited_for_no_longer(laptop: Laptop) -> None:
    laptop.watch(Thermometer(laptop.clock))
    for _ in range(5):
        await pass_by(100)
        laptop.activity.begin()
        laptop.activity.end()
    await pass_by(100)
    assert laptop.clock.asleep == 1


async def test_a_dead_sensor_is_stale_after_three_of_its_periods(laptop: Laptop) -> None:
    sensor = Thermometer(laptop.clock)
    laptop.watch(sensor)
    await pass_by(31)
    sensor.failure = OSError(5, "Input/output error")
    await pass_by(80)
    assert sensor.asked[-1] == 90
    assert laptop.cpu_percent == Reading(2.0, START_S + 30)
    await pass_by(30)
    assert why(laptop.cpu_percent) == "stale for 90 s"
    await pass_by(30)
    assert why(laptop.cpu_percent) == "stale for 120 s"


async def test_under_load_a_dead_sensor_is_stale_sooner(laptop: Laptop) -> None:
    sensor = Thermometer(laptop.clock)
    laptop.activity.begin()
    laptop.watch(sensor)
    await pass_by(1)
    sensor.failure = OSError(5, "Input/output error")
    await pass_by(4)
    assert isinstance(laptop.cpu_percent, Reading)
    await pass_by(2)
    assert why(laptop.cpu_percent) == "stale for 6 s"


async def test_a_sensor_that_comes_back_counts_again_and_the_log_tells_both_once(
    laptop: Laptop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger=watching.__name__)
    sensor = Thermometer(laptop.clock)
    laptop.watch(sensor)
    await pass_by(1)
    sensor.failure = OSError(5, "Input/output error")
    await pass_by(150)
    sensor.failure = None
    await pass_by(60)
    assert isinstance(laptop.cpu_percent, Reading)
    assert [record.getMessage() for record in caplog.records] == [
        "sensor thermometer does not answer: [Errno 5] Input/output error",
        "sensor thermometer answers again",
    ]


async def test_a_sensor_that_never_answers_holds_up_no_other(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "READ_LIMIT_S", 0.01)
    hanging, fine = Thermometer(laptop.clock, "hanging"), Thermometer(laptop.clock, "fine")
    hanging.hangs = True
    laptop.watch(hanging, fine)
    await settle()
    assert isinstance(laptop.cpu_percent, Reading)
    await asyncio.sleep(0.05)
    await pass_by(30)
    assert fine.asked == [0, 30]


async def test_a_sensor_with_an_unexpected_error_is_asked_again(
    laptop: Laptop, caplog: pytest.LogCaptureFixture
) -> None:
    sensor = Thermometer(laptop.clock)
    sensor.failure = ZeroDivisionError("a fault of ours")
    laptop.watch(sensor)
    await pass_by(61)
    assert sensor.asked == [0, 30, 60]
    assert "a fault of ours" in caplog.text


class Herald:
    """A sensor that tells by itself, until it breaks off as a test says."""

    name = "herald"

    def __init__(self) -> None:
        self.begun = 0
        self.report: Callable[[Sensed], None] = lambda _: None
        self.break_off: asyncio.Future[None] | None = None

    async def follow(self, report: Callable[[Sensed], None]) -> None:
        self.begun += 1
        self.report = report
        report(Sensed({"on_battery": Reading(True, 1.0)}))
        self.break_off = asyncio.get_running_loop().create_future()
        await self.break_off


async def test_a_sensor_that_speaks_only_of_changes_confirms_what_it_said_by_its_silence(laptop: Laptop) -> None:
    herald = Herald()
    laptop.follow(herald)
    await settle()

    def samples() -> tuple[float | None, float | None]:
        percent = laptop.sensing.system.value.battery_percent
        assert isinstance(percent, Reading)
        assert percent.before is not None
        return percent.value, known(percent.before)

    herald.report(Sensed({"battery_percent": Reading(15.0, laptop.clock.monotonic())}))
    assert samples() == (15.0, None)
    await pass_by(CONFIRMED_S + 0.1)
    assert samples() == (15.0, 15.0)
    herald.report(Sensed({"battery_percent": Reading(60.0, laptop.clock.monotonic())}))
    assert samples() == (15.0, 15.0), "a jump waits"
    await pass_by(CONFIRMED_S + 0.1)
    assert samples() == (60.0, 60.0)


@pytest.mark.parametrize(
    "failure",
    [ConnectionError("bus lost"), ProxyError(ErrorKind.UNAVAILABLE, "no bus"), ZeroDivisionError("ours"), None],
)
async def test_a_sensor_that_breaks_off_is_followed_again(laptop: Laptop, failure: Exception | None) -> None:
    herald = Herald()
    laptop.follow(herald)
    await settle()
    assert laptop.sensing.system.value.on_battery == Reading(True, 1.0)
    assert herald.break_off is not None
    if failure is None:
        herald.break_off.set_result(None)
    else:
        herald.break_off.set_exception(failure)
    await settle()
    assert why(laptop.sensing.system.value.on_battery) == "herald broke off"
    await pass_by(1)
    assert herald.begun == 2
    assert laptop.sensing.system.value.on_battery == Reading(True, 1.0)


async def test_a_sensor_that_breaks_off_again_and_again_is_tried_less_and_less(laptop: Laptop) -> None:
    class Broken:
        name = "broken"

        async def follow(self, report: Callable[[Sensed], None]) -> None:
            raise ConnectionError("no such bus")

    laptop.follow(Broken())
    await pass_by(300)
    assert laptop.clock.sleeps == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


async def test_a_sensor_that_held_long_is_tried_again_soon(laptop: Laptop) -> None:
    herald = Herald()
    laptop.follow(herald)
    for _ in range(3):
        await pass_by(100)
        assert herald.break_off is not None
        herald.break_off.set_result(None)
        await settle()
    assert laptop.clock.sleeps == [1, 1, 1]


async def test_without_sensors_nothing_wakes_up(laptop: Laptop) -> None:
    laptop.watch()
    await pass_by(3600)
    assert laptop.clock.sleeps == []
    assert laptop.cpu_percent is NO_SENSOR


async def test_a_request_changes_nothing_of_what_tells_by_itself(laptop: Laptop) -> None:
    herald = Herald()
    laptop.follow(herald)
    await pass_by(100)
    laptop.activity.begin()
    await pass_by(100)
    assert (herald.begun, laptop.clock.sleeps) == (1, [])


async def test_an_event_without_words_has_the_polled_sensors_asked_soon(laptop: Laptop) -> None:
    class Doorbell(Herald):
        async def follow(self, report: Callable[[Sensed], None]) -> None:
            await laptop.clock.sleep(10)
            for _ in range(9):
                report(Sensed())
            await asyncio.Event().wait()

    sensor = Thermometer(laptop.clock)
    laptop.sensing.watch((sensor,), (Doorbell(),), laptop.tasks, Pace(laptop.clock, laptop.activity, SETTINGS))
    await pass_by(41)
    assert sensor.asked == [0, 10, 30]


async def test_what_sensors_say_together_is_one_change(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    merged: list[SystemState] = []

    def noted(*said: Any) -> SystemState:
        merged.append(merge(*said))
        return merged[-1]

    monkeypatch.setattr(sensing, "merge", noted)
    laptop.watch(*[Thermometer(laptop.clock, name) for name in ("one", "two", "three")])
    await pass_by(1)
    assert [known(each.cpu_percent) for each in merged] == [1.0]
