"""The machine's sensors as the daemon sees them: polled in a thread, never twice at a time, told of hotplug."""

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ollama_proxyd.core.readings import Sensed, known
from ollama_proxyd.edges.sensors.hotplug import Hotplug, udev_monitor
from ollama_proxyd.edges.sensors.machine import sensors
from ollama_proxyd.edges.sensors.sampled import Sampled
from tests.fakes import FakeClock
from tests.upstreams.sysfs_tree import AMD_GPU, NPU, NVIDIA_GPU, XE_GPU, SysfsTree, laptop


def unused(_pci_address: str) -> bool:
    return False


class SlowSource:
    """Answers when the test lets it; remembers in which thread."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = threading.Event()
        self.threads: list[int] = []

    def rediscover(self) -> None:
        pass

    def sample(self, at_s: float) -> Sensed:
        self.threads.append(threading.get_ident())
        self.begun.set()
        assert self.go_on.wait(60)
        return Sensed({"at": at_s})


async def test_every_device_of_a_laptop_is_spoken_for_by_one_sensor(tmp_path: Path) -> None:
    laptop(tmp_path)
    polled = sensors(tmp_path, FakeClock(), unused)
    assert [sensor.name for sensor in polled] == ["cpu", "accelerators", "nvidia"]
    ids = [device.id for sensor in polled for device in (await sensor.read()).devices]
    assert sorted(ids) == sorted([XE_GPU, NPU, NVIDIA_GPU, AMD_GPU, "cpu"])


async def test_a_reading_bears_the_clocks_time(tmp_path: Path) -> None:
    SysfsTree(tmp_path).coretemp(55)
    clock = FakeClock(monotonic_s=77.0)
    (cpu,) = (await sensors(tmp_path, clock, unused)[0].read()).devices
    assert getattr(cpu.temperature_c, "at_s", None) == 77.0


async def test_a_machine_without_anything_is_no_trouble(tmp_path: Path) -> None:
    for sensor in sensors(tmp_path / "none", FakeClock(), unused):
        assert {device.id for device in (await sensor.read()).devices} <= {"cpu"}


async def test_a_driver_that_takes_its_time_does_not_stop_the_loop() -> None:
    source = SlowSource()
    source.go_on.set()
    await Sampled("slow", FakeClock(), source).read()
    assert source.threads != [threading.get_ident()]


async def test_a_reading_that_hangs_is_not_begun_a_second_time() -> None:
    source = SlowSource()
    sensor = Sampled("slow", FakeClock(), source)
    reading = asyncio.create_task(sensor.read())
    await asyncio.to_thread(source.begun.wait, 10)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    with pytest.raises(TimeoutError, match="slow has not answered an earlier reading"):
        await sensor.read()
    source.go_on.set()
    while len(source.threads) < 2:
        try:
            await sensor.read()
        except TimeoutError:
            await asyncio.sleep(0)


class PipeMonitor:
    """A udev monitor whose events a test writes; `lost` makes it fail like one that was flooded."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK)
        self.lost = False

    def happen(self, count: int = 1) -> None:
        os.write(self._write, b"e" * count)

    def fileno(self) -> int:
        return self._read

    def poll(self, timeout: float) -> object | None:
        assert timeout == 0
        try:
            event = os.read(self._read, 1)
        except BlockingIOError:
            return None
        if self.lost:
            raise OSError(105, "No buffer space available")
        return event

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


async def follow_until(hotplug: Hotplug, happen: Callable[[], None], reports: int) -> list[Sensed]:
    heard: list[Sensed] = []
    enough = asyncio.Event()

    def report(sensed: Sensed) -> None:
        heard.append(sensed)
        if len(heard) >= reports:
            enough.set()

    following = asyncio.create_task(hotplug.follow(report))
    await asyncio.sleep(0)
    happen()
    async with asyncio.timeout(60):
        await enough.wait()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    return heard


@pytest.mark.parametrize("lost", [False, True])
async def test_a_burst_of_events_makes_the_sensors_look_again_once(tmp_path: Path, *, lost: bool) -> None:
    tree = SysfsTree(tmp_path)
    polled = sensors(tmp_path, FakeClock(), unused)
    assert (await polled[1].read()).devices == ()
    tree.amd_gpu()
    assert (await polled[1].read()).devices == (), "the discovery is kept until something happens"
    monitor = PipeMonitor()
    monitor.lost = lost
    heard = await follow_until(Hotplug(polled, lambda: monitor), lambda: monitor.happen(1 if lost else 5), 1)
    monitor.close()
    assert heard == [Sensed()]
    (amd,) = (await polled[1].read()).devices
    assert (amd.id, known(amd.temperature_c)) == (AMD_GPU, 58.0)


async def test_after_following_the_loop_watches_nothing_any_more(tmp_path: Path) -> None:
    monitor = PipeMonitor()
    await follow_until(Hotplug((), lambda: monitor), monitor.happen, 1)
    assert asyncio.get_running_loop().remove_reader(monitor.fileno()) is False
    monitor.close()


@pytest.mark.parametrize(
    "error", [ImportError("Library udev not found"), PermissionError(1, "Operation not permitted")]
)
async def test_without_udev_that_is_said_once_and_nothing_breaks(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def connect() -> PipeMonitor:
        raise error

    caplog.set_level("INFO")
    following = asyncio.create_task(Hotplug((), connect).follow(lambda _: None))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not following.done()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert [record.message for record in caplog.records] == [f"devices that come and go are seen late: {error}"]


def test_where_udevd_does_not_run_nobody_listens_in_vain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("ollama_proxyd.edges.sensors.hotplug.UDEV_CONTROL", tmp_path / "control")
    with pytest.raises(OSError, match="udevd does not run"):
        udev_monitor()


def test_the_real_monitor_hears_what_we_ask_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("ollama_proxyd.edges.sensors.hotplug.UDEV_CONTROL", tmp_path)
    try:
        monitor = udev_monitor()
    except (ImportError, OSError) as error:
        pytest.skip(f"no udev here: {error}")
    assert monitor.fileno() >= 0
    assert monitor.poll(0) is None
