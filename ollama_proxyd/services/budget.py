"""Watches the energy budget of the day, and does what is to happen once it is spent."""

import logging
from dataclasses import replace

from ollama_proxyd.core.budget import Budget, BudgetSettings, WhenReached, budget
from ollama_proxyd.core.energy import Account
from ollama_proxyd.core.energy_books import By
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Hints, LoadAction, Priority, Request
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.energy import EnergyAccounts
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.history import History
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

MINUTES_PER_DAY = 24 * 60
LONGEST_SLEEP_S = 600.0
"""Local time can jump, so that midnight is not waited for in one piece."""
BUDGET_SPENT = "budget_spent"
COUNTED = (Account.ACTIVE, Account.IDLE_TAIL)


class DailyBudget:
    """The one owner of the day's budget; what the machine draws anyway does not count."""

    def __init__(
        self, energy: EnergyAccounts, history: History, governor: Governor, clock: Clock, settings: BudgetSettings
    ) -> None:
        self._energy = energy
        self._history = history
        self._governor = governor
        self._clock = clock
        self.settings: Cell[BudgetSettings] = Cell(settings)
        self._date = clock.local_date()
        self._before_j = 0.0
        """What the history has of this date that the accounts do not: from before the daemon started."""
        self._tasks: Tasks | None = None
        self.reason: Cell[Reason | None] = Cell(None)
        """What the end of the budget means, None while some is left."""
        energy.booked.listen(lambda _: self.look() if self.settings.value.daily_limit_wh else None)

    @property
    def now(self) -> Budget:
        """The budget at this moment."""
        why = self._history.store.trouble
        told = budget(self.settings.value, self._before_j + self._own_j, is_overruled=self._governor.is_cap_overruled)
        return told if why is None else replace(told, incomplete=Reason("budget_since_start", reason=why))

    def follow(self, system: Cell[SystemState], tasks: Tasks) -> None:
        """Look at each reading of sensors, and at midnight."""
        self._tasks = tasks
        tasks.start("budget.day", self._recall())
        tasks.start("budget.sensors", system.follow(lambda _: self.look()))
        tasks.start("budget.midnight", self._await_midnight())

    def reconfigure(self, settings: BudgetSettings) -> None:
        """Apply another limit at once."""
        self.settings.set(settings)
        self.look()

    def look(self) -> None:
        """Find out whether the budget is spent, and see to what that means."""
        if (date := self._clock.local_date()) != self._date:
            self._date, self._before_j = date, 0.0
            if self._tasks is not None:
                self._tasks.start("budget.day", self._recall())  # a clock that was set back shows a day again
        reason = self.now.reason
        is_ultra = reason is not None and self.settings.value.when_reached is WhenReached.ULTRA
        self._governor.cap(Reason("budget_ultra", **reason.values) if reason is not None and is_ultra else None)
        if reason is not None and self.reason.value is None:
            log.warning("%s", reason)
        self.reason.set(reason)

    def _refusal(self, hints: Hints) -> Reason | None:
        """Why a request is refused for now, None where it is not."""
        if (
            hints.priority is not Priority.BEST_EFFORT
            or self.settings.value.when_reached is not WhenReached.REFUSE_BACKGROUND
        ):
            return None
        self.look()
        return self.reason.value

    def judge(self, decision: Decision, hints: Hints) -> Decision:
        """A decision that is only asked for: nothing is chosen where the request would be refused."""
        why = self._refusal(hints)
        return decision if why is None else replace(decision, ranked=(), reason=why)

    def check(self, request: Request) -> None:
        """Raise ProxyError, with midnight as the time to try again, where a request is refused for now."""
        if request.load_action is not LoadAction.UNLOAD and (why := self._refusal(request.hints)) is not None:
            raise ProxyError(ErrorKind.OVERLOADED, str(why), retry_after_s=self._left_s, code=BUDGET_SPENT)

    @property
    def _own_j(self) -> float:
        today = self._energy.today
        return sum(today.of(account).joules for account in COUNTED)

    @property
    def _left_s(self) -> float:
        """Seconds until midnight."""
        return max((MINUTES_PER_DAY - self._clock.local_minute()) * 60, 1.0)

    async def _recall(self) -> None:
        """Have what the history knows of this day counted too."""
        date, own_j = self._date, self._own_j
        books = await self._history.books(1, By.DAY)  # hands over what is ours before anything else
        if date == self._date and books.asked.until == str(date):
            kept_j = sum(books.of(account).energy_j for account in COUNTED)
            self._before_j = max(kept_j - own_j, 0.0)
            self.look()

    async def _await_midnight(self) -> None:
        while True:
            await self.reason.until(lambda reason: reason is not None)
            await self._clock.sleep(min(self._left_s, LONGEST_SLEEP_S))
            self.look()
