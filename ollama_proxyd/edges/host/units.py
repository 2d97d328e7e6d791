"""Asks the user's systemd manager about the units of engines, and has it start and stop them."""

from typing import Any, Final

from ollama_proxyd.edges.plumbing.dbus import Target
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from ollama_proxyd.edges.plumbing.dbus_properties import PROPERTIES
from ollama_proxyd.edges.plumbing.systemd import JOB, MANAGER, NAME, REPLACE, UNIT

OFF: Final = frozenset({"inactive", "deactivating"})


class UserUnits:
    """The manager on the session bus."""

    def __init__(self, line: BusLine) -> None:
        self._line = line

    async def start(self, unit: str) -> None:
        """Have a unit started; raises OSError."""
        await (await self._line.bus()).call(MANAGER, "StartUnit", "ss", [unit, REPLACE])

    async def stop(self, unit: str) -> None:
        """Have a unit stopped; raises OSError."""
        await (await self._line.bus()).call(MANAGER, "StopUnit", "ss", [unit, REPLACE])

    async def is_restarting(self, pid: int) -> bool:
        """Whether the unit of a process is stopped only to be started again; raises OSError, also where it has none."""
        bus = await self._line.bus()
        (path,) = await bus.call(MANAGER, "GetUnitByPID", "u", [pid])
        (job,) = await bus.call(Target(NAME, path, PROPERTIES), "Get", "ss", [UNIT, "Job"])
        number, job_path = job.value
        if not number:
            return False
        (kind,) = await bus.call(Target(NAME, job_path, PROPERTIES), "Get", "ss", [JOB, "JobType"])
        return str(kind.value) == "restart"

    async def is_off(self, unit: str) -> bool:
        """Whether a unit is stopped, or is being stopped; one that failed is not. Raises OSError."""
        bus = await self._line.bus()
        (path,) = await bus.call(MANAGER, "LoadUnit", "s", [unit])
        (value,) = await bus.call(Target(NAME, path, PROPERTIES), "Get", "ss", [UNIT, "ActiveState"])
        state: Any = value.value
        return state in OFF
