"""Hands what attempts and requests came to over to the history, in batches."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.energy_books import Asked, Books, By
from ollama_proxyd.core.energy_hours import EnergyHours, first_hour
from ollama_proxyd.core.energy_series import DAYS, Over, Series
from ollama_proxyd.core.energy_sums import Sums
from ollama_proxyd.core.history import CACHED, OK, MakeRow, Row, Values, attempt_row, count, ended_of, name, number
from ollama_proxyd.core.modes import ModeSetting
from ollama_proxyd.core.power_domain import Key
from ollama_proxyd.core.prewarm import DAYS as PREWARM_DAYS
from ollama_proxyd.core.prewarm import Habits
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.energy import EnergyAccounts
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.ledger import Outcome
from ollama_proxyd.services.ports import Clock, HistoryStore
from ollama_proxyd.services.tasks import Tasks

BATCH_S = 3.0
"""How long rows wait for others, so that many become one write."""
MOST_NOTED = 20_000
"""How many facts wait for that; beyond them the oldest are forgotten."""


class History:
    """What was kept, and what will be; to note a fact is one step, all else is done later."""

    def __init__(self, store: HistoryStore, fleet: Fleet, energy: EnergyAccounts, clock: Clock) -> None:
        self.store = store
        self._fleet = fleet
        self._energy = energy
        self._clock = clock
        self._date = clock.local_date()
        """The day of what devices drew and was not handed over yet."""
        self._told = Sums()
        """What devices drew up to the last hand-over."""
        self._noted: deque[AttemptEnded | Outcome] = deque(maxlen=MOST_NOTED)
        self._modes: deque[MakeRow] = deque(maxlen=MOST_NOTED)
        self._mode: tuple[str, str] | None = None
        """The mode that was noted last: what was chosen, and what was in force."""
        self._begun = asyncio.Event()

    def note(self, ended: AttemptEnded | Outcome) -> None:
        """Take note of an attempt or a request that ended."""
        self._noted.append(ended)
        self._begun.set()

    def note_mode(self, setting: ModeSetting) -> None:
        """Take note of another mode; the first wakes nothing by itself."""
        before, self._mode = self._mode, (setting.chosen.value, setting.effective.value)
        if self._mode == before:
            return
        self._modes.append(partial(mode_row, self._clock.unix(), *self._mode))
        if before is not None:
            self._begun.set()

    def follow(self, system: Cell[SystemState], setting: Cell[ModeSetting], tasks: Tasks) -> None:
        """Hand over what was noted, soon after, and what devices drew at the end of each day."""
        tasks.start("history", self._hand_over_soon())
        tasks.start("history.modes", setting.follow(self.note_mode))
        tasks.start("history.days", system.follow(self._look_at_the_day))

    def _look_at_the_day(self, _: object) -> None:
        """At each reading of sensors, because nothing else wakes for it."""
        if self._clock.local_date() != self._date:
            self.hand_over()

    async def _hand_over_soon(self) -> None:
        while True:
            await self._begun.wait()
            await self._clock.sleep(BATCH_S)
            self.hand_over()

    def hand_over(self) -> None:
        """Have the store keep what was noted."""
        self._begun.clear()
        hardware = {view.spec.id: view.spec.hardware.value for view in self._fleet.views.value}
        rows: list[MakeRow] = [
            partial(request_row, each)
            if isinstance(each, Outcome)
            else partial(attempt_row, each, each.ended_unix_s, hardware.get(each.backend_id, "unknown"))
            for each in self._noted
        ]
        self.store.add([*rows, *self._modes, *self._drawn()])
        self._noted.clear()
        self._modes.clear()

    def _drawn(self) -> Sequence[MakeRow]:
        """What devices drew since the last hand-over; it counts for the day of that one."""
        totals, day = self._energy.totals, str(self._date)
        drawn = totals.since(self._told)
        self._told, self._date = totals, self._clock.local_date()
        return [partial(device_row, day, key, drawn) for key, joules in drawn.joules.items() if joules]

    async def recent(self, limit: int) -> Sequence[AttemptEnded]:
        """The last attempts that were kept, the oldest first."""
        self.hand_over()
        since_s = self._clock.unix() - self._clock.monotonic()
        rows = await self.store.recent(limit)
        return [ended for row in rows if (ended := _read(row, since_s)) is not None]

    async def books(self, days: int, by: By) -> Books:
        """What the last days cost, the present one included."""
        self.hand_over()
        today = self._clock.local_date()
        return await self.store.books(Asked(str(today - timedelta(days - 1)), str(today), by))

    async def series(self, over: Over, by: By) -> Series:
        """What the last day cost by hours, or the last thirty by days, the present one included."""
        self.hand_over()
        today = self._clock.local_date()
        if over is Over.MONTH:
            days = tuple(str(today - timedelta(ago)) for ago in reversed(range(DAYS)))
            return replace(await self.store.series(Asked(days[0], days[-1], by)), days=days)
        since_s = first_hour(self._clock.unix(), self._clock.local_minute())
        return await self.store.series(Asked(str(today - timedelta(1)), str(today), by, since_s))

    async def habits(self) -> Habits:
        """When each model was first asked for in the present hour of the last days."""
        today, hour = self._clock.local_date(), int(self._clock.local_minute() // 60)
        return await self.store.habits(str(today - timedelta(PREWARM_DAYS)), str(today), hour)

    async def hours(self) -> EnergyHours:
        """What the last day cost, hour by hour."""
        self.hand_over()
        return await self.store.hours(first_hour(self._clock.unix(), self._clock.local_minute()))


def _read(row: Values, since_s: float) -> AttemptEnded | None:
    """The attempt of a row; None where another version or another program wrote it in its own words."""
    try:
        return ended_of(row, since_s)
    except (KeyError, ValueError, TypeError):
        return None


def device_row(day: str, key: Key, drawn: Sums) -> Row:
    """The row of what a device drew on one account; the file adds up those of a day."""
    device, account, source = key
    values = {"day": day, "device": device, "account": account.value, "source": source.value}
    return Row("devices", {**values, "joules": drawn.joules[key], "error_j": drawn.errors_j[key]})


def mode_row(unix_s: float, mode: str, effective_mode: str) -> Row:
    """The row of another mode."""
    return Row("modes", {"unix_s": unix_s, "mode": mode, "effective_mode": effective_mode})


def request_row(outcome: Outcome) -> Row:
    """The row of a request."""
    decision = outcome.decision
    return Row(
        "requests",
        {
            "unix_s": outcome.unix_s,
            "backend": outcome.backend_id,
            "model": None if outcome.model is None else name(outcome.model),
            "operation": outcome.operation._value_,
            "program": name(outcome.hints.asker.program.name),
            "program_known_by": outcome.hints.asker.program.known_by._value_,
            "priority": None if outcome.hints.priority is None else outcome.hints.priority.name.lower(),
            "mode": None if decision is None else decision.mode._value_,
            "effective_mode": None if decision is None else decision.effective_mode._value_,
            "attempts": outcome.attempts,
            "queue_wait_s": outcome.queue_wait_s,
            "total_s": outcome.total_s,
            "ttft_s": outcome.ttft_s,
            "prompt_tokens": count(outcome.usage.prompt_tokens),
            "completion_tokens": count(outcome.usage.completion_tokens),
            "energy_j": number(outcome.energy_j),
            "saved_j": number(outcome.spared_j if outcome.is_cached else outcome.saved_j),
            "result": _result(outcome),
        },
    )


def _result(outcome: Outcome) -> str:
    if outcome.cancelled:
        return "cancelled"
    if outcome.error is not None:
        return outcome.error._value_
    return CACHED if outcome.is_cached else OK
