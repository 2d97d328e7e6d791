"""Asks sensors at the right pace, follows those that speak by themselves, and notices the dead among them."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.readings import Sensed
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.wakeup_alignment import next_wakeup_s
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.ports import Clock, PolledSensor, SignalSensor
from ollama_proxyd.services.settings import SensingSettings
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

STALE_PERIODS = 3
"""After so many of its periods the last word of a sensor no longer counts."""
READ_LIMIT_S = 5.0
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0


Report: TypeAlias = Callable[[str, Sensed], None]
"""Takes what the sensor of a name says."""
Lose: TypeAlias = Callable[[str, Reason], None]
"""Takes why what the sensor of a name said no longer counts."""


async def first_of(*calls: Coroutine[Any, Any, object]) -> None:
    """Wait until one of them has come; the others are waited for no longer."""
    waits = [asyncio.ensure_future(call) for call in calls]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


class Pace:
    """How often sensors are asked: rarely while the proxy is unused."""

    def __init__(self, clock: Clock, activity: Activity, settings: SensingSettings) -> None:
        self.clock = clock
        self._activity = activity
        self._settings = settings
        self._nudged = asyncio.Event()

    @property
    def period_s(self) -> float:
        """Seconds from one question to the next, now."""
        settings = self._settings
        return settings.busy_s if self._activity.within(settings.busy_after_s) else settings.idle_s

    def nudge(self) -> None:
        """Something happened that makes the next question due sooner."""
        self._nudged.set()

    async def pause(self, since_s: float) -> None:
        """Wait until the next question is due; a request that begins, or a nudge, makes it due sooner."""
        if not self._activity.within(self._settings.busy_after_s):
            due_s = next_wakeup_s(since_s, self._settings.idle_s)
            await first_of(self._until(due_s), self._activity.begun(), self._nudged.wait())
        await self._until(since_s + self._settings.busy_s)
        self._nudged.clear()

    async def _until(self, due_s: float) -> None:
        left_s = due_s - self.clock.monotonic()
        if left_s > 0:
            await self.clock.sleep(left_s)


class Together:
    """What sensors say in one turn of the loop is told at once, so that all that rests on it works once."""

    def __init__(self, tell: Callable[[Sequence[tuple[str, Sensed]]], None]) -> None:
        self._tell = tell
        self._told: list[tuple[str, Sensed]] = []

    def report(self, name: str, sensed: Sensed) -> None:
        """Tell it with what others say now."""
        if not self._told:
            asyncio.get_running_loop().call_soon(self._end)
        self._told.append((name, sensed))

    def _end(self) -> None:
        told, self._told = self._told, []
        self._tell(told)


class PolledWatch:
    """One sensor that has to be asked, and when it answered last."""

    def __init__(self, sensor: PolledSensor, report: Report, lose: Lose, pace: Pace) -> None:
        self._sensor = sensor
        self._report = report
        self._lose = lose
        self._pace = pace
        self._heard_s = pace.clock.monotonic()
        self._fails = False

    async def ask(self) -> None:
        """Ask it once; a failure is said once, and after three periods of silence its readings are stale."""
        name = self._sensor.name
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                sensed = await self._sensor.read()
        except OSError as error:
            self._note_failure(str(error) or f"no answer within {READ_LIMIT_S:g} s")
            return
        if self._fails:
            log.info("sensor %s answers again", name)
        self._fails, self._heard_s = False, self._pace.clock.monotonic()
        self._report(name, sensed)

    def _note_failure(self, why: str) -> None:
        if not self._fails:
            log.warning("sensor %s does not answer: %s", self._sensor.name, why)
        self._fails = True
        age_s = self._pace.clock.monotonic() - self._heard_s
        if age_s >= STALE_PERIODS * self._pace.period_s:
            self._lose(self._sensor.name, Reason("sensor_stale", age_seconds=age_s))


async def poll(sensors: Sequence[PolledSensor], report: Report, lose: Lose, pace: Pace, tasks: Tasks) -> None:
    """Ask all sensors together, so that the machine wakes up once for all of them; never returns."""
    watches = [(sensor.name, PolledWatch(sensor, report, lose, pace)) for sensor in sensors]
    while True:
        since_s = pace.clock.monotonic()
        await asyncio.gather(*(tasks.start(name, watch.ask()) for name, watch in watches))
        await pace.pause(since_s)


async def follow(sensor: SignalSensor, report: Report, lose: Lose, pace: Pace, tasks: Tasks) -> None:
    """Follow a sensor, and begin again when it breaks off, at longer and longer intervals; never returns."""
    clock, retry_s = pace.clock, FIRST_RETRY_S
    while True:
        began_s = clock.monotonic()
        await tasks.start(f"{sensor.name}.follow", _follow_once(sensor, report, pace))
        lose(sensor.name, Reason("sensor_broke_off", sensor=sensor.name))
        if clock.monotonic() - began_s > LONGEST_RETRY_S:
            retry_s = FIRST_RETRY_S
        await clock.sleep(retry_s)
        retry_s = min(retry_s * 2, LONGEST_RETRY_S)


async def _follow_once(sensor: SignalSensor, report: Report, pace: Pace) -> None:
    def hear(sensed: Sensed) -> None:
        if sensed.system or sensed.devices:
            report(sensor.name, sensed)
        else:
            pace.nudge()

    try:
        await sensor.follow(hear)
    except (OSError, ProxyError) as error:
        log.warning("sensor %s broke off: %s", sensor.name, error)
