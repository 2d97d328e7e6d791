"""Owns what is known of the machine's state; sensors report to it, and policy and Auto read its cell."""

from dataclasses import replace

from ollama_proxyd.core.readings import Reading, SystemState, Unavailable
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.settings import QuietHours

MINUTES_PER_DAY = 24 * 60
LONGEST_SLEEP_S = 600.0
"""Local time can jump (suspend, summer time, travel), so the hour is looked at again at least this often."""

NO_QUIET_HOURS = Unavailable("quiet hours are switched off in the configuration")


class Sensing:
    """The one owner of the machine's state."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.system: Cell[SystemState] = Cell(SystemState())

    def look_at_the_hour(self, quiet: QuietHours | None) -> float:
        """Take note of whether these are quiet hours; returns the seconds after which to look again."""
        if quiet is None:
            self._note_quiet(NO_QUIET_HOURS)
            return LONGEST_SLEEP_S
        minute = self._clock.local_minute()
        self._note_quiet(Reading(quiet.include(int(minute)), self._clock.monotonic()))
        return min(seconds_to_boundary(quiet, minute), LONGEST_SLEEP_S)

    async def follow_the_hour(self, quiet: QuietHours | None) -> None:
        """Keep the quiet hours current; never returns where there are any."""
        while True:
            wait_s = self.look_at_the_hour(quiet)
            if quiet is None:
                return
            await self._clock.sleep(wait_s)

    def _note_quiet(self, now: Reading[bool] | Unavailable) -> None:
        before = self.system.value.quiet_hours
        if isinstance(before, Reading) and isinstance(now, Reading) and before.value == now.value:
            return
        self.system.set(replace(self.system.value, quiet_hours=now))


def seconds_to_boundary(quiet: QuietHours, minute: float) -> float:
    """Seconds until the quiet hours begin or end next, at least one; `minute` counts from local midnight."""
    ahead = ((edge - minute) % MINUTES_PER_DAY for edge in (quiet.start_minute, quiet.end_minute))
    return max(min(each for each in ahead) * 60, 1.0)
