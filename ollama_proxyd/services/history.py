"""Hands what attempts and requests came to over to the history, in batches."""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.energy_books import Asked, Books, By
from ollama_proxyd.core.history import OK, Row, attempt_row, count, ended_of, name, number
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.ledger import Outcome
from ollama_proxyd.services.ports import Clock, HistoryStore

BATCH_S = 3.0
"""How long rows wait for others, so that many become one write."""
MOST_NOTED = 20_000
"""How many facts wait for that; beyond them the oldest are forgotten."""


class History:
    """What was kept, and what will be; to note a fact is one step, all else is done later."""

    def __init__(self, store: HistoryStore, fleet: Fleet, clock: Clock) -> None:
        self.store = store
        self._fleet = fleet
        self._clock = clock
        self._noted: deque[AttemptEnded | Outcome] = deque(maxlen=MOST_NOTED)
        self._begun = asyncio.Event()

    def note(self, ended: AttemptEnded | Outcome) -> None:
        """Take note of an attempt or a request that ended."""
        self._noted.append(ended)
        self._begun.set()

    async def follow(self) -> None:
        """Hand over what was noted, soon after; never returns."""
        while True:
            await self._begun.wait()
            await self._clock.sleep(BATCH_S)
            self.hand_over()

    def hand_over(self) -> None:
        """Have the store keep what was noted."""
        self._begun.clear()
        hardware = {view.spec.id: view.spec.hardware.value for view in self._fleet.views.value}
        since_s = self._clock.unix() - self._clock.monotonic()
        self.store.add(
            [
                partial(request_row, each)
                if isinstance(each, Outcome)
                else partial(attempt_row, each, since_s + each.ended_s, hardware.get(each.backend_id, "unknown"))
                for each in self._noted
            ]
        )
        self._noted.clear()

    async def recent(self, limit: int) -> Sequence[AttemptEnded]:
        """The last attempts that were kept, the oldest first."""
        self.hand_over()
        return [ended_of(row) for row in await self.store.recent(limit)]

    async def books(self, days: int, by: By) -> Books:
        """What the last days cost, the present one included."""
        self.hand_over()
        today = self._clock.local_date()
        return await self.store.books(Asked(str(today - timedelta(days - 1)), str(today), by))


def request_row(outcome: Outcome) -> Row:
    """The row of a request."""
    decision = outcome.decision
    return Row(
        "requests",
        {
            "unix_s": outcome.unix_s,
            "backend": outcome.backend_id,
            "model": None if outcome.model is None else name(outcome.model),
            "operation": outcome.operation.value,
            "program": name(outcome.hints.program.name),
            "program_known_by": outcome.hints.program.known_by.value,
            "priority": None if outcome.hints.priority is None else outcome.hints.priority.name.lower(),
            "mode": None if decision is None else decision.mode.value,
            "effective_mode": None if decision is None else decision.effective_mode.value,
            "attempts": outcome.attempts,
            "queue_wait_s": outcome.queue_wait_s,
            "total_s": outcome.total_s,
            "ttft_s": outcome.ttft_s,
            "prompt_tokens": count(outcome.usage.prompt_tokens),
            "completion_tokens": count(outcome.usage.completion_tokens),
            "energy_j": number(outcome.energy_j),
            "saved_j": number(outcome.saved_j),
            "result": _result(outcome),
        },
    )


def _result(outcome: Outcome) -> str:
    if outcome.cancelled:
        return "cancelled"
    return OK if outcome.error is None else outcome.error.value
