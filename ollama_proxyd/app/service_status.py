"""How the service manager sees the daemon: ready, reloading, stopping, and a line about how it is."""

import math
from collections.abc import AsyncGenerator, Callable

from ollama_proxyd.core.backend_status import within_mode
from ollama_proxyd.core.fleet_summary import sentence
from ollama_proxyd.edges.host.notify import Notifier, now_usec
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.tasks import Tasks

ASLEEP = "the machine goes to sleep: requests are refused until it has woken up"
STOP_MARGIN_S = 10.0
"""Beyond the time that requests get to finish, for closing everything."""


class ServiceStatus:
    """Says each thing once, and only to a manager that listens."""

    def __init__(self, notifier: Notifier, services: Services, place: Callable[[], str]) -> None:
        self._notifier = notifier
        self._services = services
        self._place = place
        self._is_asleep: Cell[bool] = Cell(False)
        self._bus_trouble: Cell[str | None] = Cell(None)
        self._config_trouble = ""
        self._said = ""
        self._is_ready = False

    def follow(self, is_asleep: Cell[bool], bus_trouble: Cell[str | None], tasks: Tasks) -> None:
        """Keep the line current from now on."""
        if not self._notifier.is_heard:
            return
        self._is_asleep, self._bus_trouble = is_asleep, bus_trouble
        setting, summary = self._services.governor.setting, self._services.fleet.summary
        system = self._services.system
        changes = (c.changes() for c in (is_asleep, bus_trouble, setting, summary, system))
        for number, each in enumerate(changes):
            tasks.start(f"status-{number}", self._say_at(each))

    @property
    def is_heard(self) -> bool:
        """Whether there is a manager."""
        return self._notifier.is_heard

    def ready(self) -> None:
        """It serves; also what ends a reload."""
        self._is_ready = True
        self._said = self._line()
        self._notifier.tell(READY=1, STATUS=self._said)

    def reloading(self) -> None:
        """It reads its configuration anew."""
        self._notifier.tell(RELOADING=1, MONOTONIC_USEC=now_usec(), STATUS="reading the configuration again")

    def reloaded(self, problem: str) -> None:
        """It has; `problem` says why nothing changed, "" when all is well."""
        first, _, rest = problem.partition("\n")
        more = len(rest.splitlines())
        self._config_trouble = f"{first} (and {more} more)" if more else first
        self.ready()

    def stopping(self, drain_s: float, running: int) -> None:
        """It ends as soon as its requests have, or their time is over; what was never ready just ends."""
        if not self._is_ready:
            return
        waits = f"; requests under way: {running}, which get up to {drain_s:g} s to finish" if running else ""
        extend_us = math.ceil((drain_s + STOP_MARGIN_S) * 1e6)
        self._is_ready = False
        self._notifier.tell(STOPPING=1, STATUS=f"stopping{waits}", EXTEND_TIMEOUT_USEC=extend_us)

    def _line(self) -> str:
        if self._is_asleep.value:
            return ASLEEP
        services = self._services
        setting, fleet = services.governor.setting.value, services.fleet
        within = within_mode(fleet.views.value, services.system.value, setting.row)
        parts = [sentence(setting, self._place(), fleet.summary.value, within)]
        if self._bus_trouble.value:
            parts.append(f"D-Bus: {self._bus_trouble.value}")
        if self._config_trouble:
            parts.append(f"the configuration is wrong and was not reloaded: {self._config_trouble}")
        return "; ".join(parts)

    def _say(self) -> None:
        line = self._line()
        if self._is_ready and line != self._said:
            self._said = line
            self._notifier.tell(STATUS=line)

    async def _say_at(self, changes: AsyncGenerator[object, None]) -> None:
        async for _ in changes:
            self._say()
