"""Ends work in good order before the machine sleeps, and begins anew when it has woken up."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from ollama_proxyd.core.readings import SystemState, known
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.gate import Gate
from ollama_proxyd.services.resume_check import GpuLossDetector
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

ASLEEP = "the machine goes to sleep; ask again when it has woken up"
BROKEN_OFF = "the machine goes to sleep"
RETRY_S = 5.0
SHARE_TO_FINISH = 0.8
"""How much of the time before the machine sleeps requests get to finish; in the next share they are broken off."""
SHARE_TO_BREAK_OFF = 0.1


async def _nothing() -> None:
    """Where nothing is to be freed."""


@dataclass(slots=True)
class Sleep:
    """What is done before and after; `is_asleep` from the first word of it until the machine has woken up."""

    _activity: Activity
    _gate: Gate
    _detector: GpuLossDetector
    _break_off: Callable[[str], None]
    """Ends the work of every backend; what can go on does so after the sleep, other clients are told why."""
    _reconnect: Callable[[], Awaitable[None]]
    """Drops the connections from before and checks every backend at once."""
    _release: Callable[[], Awaitable[None]] = field(default=_nothing)
    """Frees what the machine would have to save."""
    is_asleep: Cell[bool] = field(default_factory=lambda: Cell(False))

    async def prepare(self, within_s: float) -> None:
        """Let nothing new begin, let what runs finish in the time there is, and break the rest off."""
        self._gate.close(ASLEEP, RETRY_S)
        self.is_asleep.set(True)
        self._detector.remember()
        log.info("the machine goes to sleep; requests under way: %d", self._activity.in_flight)
        if not await self._activity.quiet(within_s * SHARE_TO_FINISH):
            log.warning(
                "requests still run and are broken off, because the machine goes to sleep; what can go on does so later"
            )
            self._break_off(BROKEN_OFF)
            await self._activity.quiet(within_s * SHARE_TO_BREAK_OFF)
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s * (1 - SHARE_TO_FINISH - SHARE_TO_BREAK_OFF)):
                await self._release()

    async def resume(self) -> None:
        """Begin anew: with new connections, and with backends that were looked at."""
        log.info("the machine has woken up")
        try:
            await self._reconnect()
        finally:
            self.reopen()

    def reopen(self) -> None:
        """Let requests in, whatever became of the rest."""
        self._gate.open()
        self.is_asleep.set(False)


class Awake:
    """Whether the machine should be kept awake: while requests run and it is known to be on mains power."""

    def __init__(self, activity: Activity, system: Cell[SystemState]) -> None:
        self._activity = activity
        self._system = system
        self.is_wanted: Cell[bool] = Cell(False)

    def follow(self, tasks: Tasks) -> None:
        """Keep `is_wanted` current from now on."""
        tasks.start("awake.requests", self._activity.is_busy.follow(self._look))
        tasks.start("awake.power", self._system.follow(self._look))

    def _look(self, _: object) -> None:
        on_mains = known(self._system.value.on_battery) is False
        self.is_wanted.set(self._activity.is_busy.value and on_mains)
