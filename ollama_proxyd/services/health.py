"""Checks backends at the right pace: often while the proxy is used, rarely while it is not."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from math import inf
from typing import Any

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.failings import why_down
from ollama_proxyd.core.fleet import Health, Probe
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.wakeup_alignment import next_wakeup_s
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.lease import Member
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.settings import HealthSettings
from ollama_proxyd.services.tasks import Tasks
from ollama_proxyd.services.watching import first_of

log = logging.getLogger(__name__)

IDLE_PHASE = 0.25
"""Between two looks at the sensors: together with the thread that reads them each would hold up the other."""

LIST_AGE_S = 2.0
"""How old a list of models may be that somebody asks for."""
MISS_AGE_S = 0.0
"""How old the picture may be by which a model is said to be nowhere."""
REFUSAL_AGE_S = 1.0
"""How old it may be by which a request is refused for another reason."""
UP_WAIT_S = 1.5
"""For how long a request waits for the checks that it needs."""
DOWN_WAIT_S = 0.25


class HealthMonitor:
    """Asks backends how they are; the fleet keeps what they say."""

    def __init__(self, fleet: Fleet, clock: Clock, settings: HealthSettings | None = None) -> None:
        self._fleet = fleet
        self._clock = clock
        self._settings = settings or HealthSettings()
        self._tasks = Tasks("health")
        self._replanned = asyncio.Event()
        """Set when the next check may be due at another time than was thought."""
        self._checked_s = clock.monotonic()
        """When the last check of all of them began."""
        fleet.reconciled.listen(lambda _: self._replanned.set())

    @property
    def interval_s(self) -> float:
        """Within which time a backend that comes up is seen while the proxy is used."""
        return self._settings.interval_s

    def reconfigure(self, settings: HealthSettings) -> None:
        """Check at another pace from now on."""
        self._settings = settings
        self._replanned.set()

    async def watch(self, activity: Activity) -> None:
        """Check every backend again and again, soon after a failed request, a new one at once; never returns.

        While the proxy is not used and nothing changes, checks are rare; the next request makes one due at once.
        """
        while True:
            await self._until_due(activity)
            self._fleet.due.clear()  # before the check, so that a failure during it makes another one due
            await self.check_all()

    async def _until_due(self, activity: Activity) -> None:
        due = self._fleet.due
        while not due.is_set():
            self._replanned.clear()
            left_s = self._left_s(activity) if any(map(self._fleet.is_asked, self._fleet.members.values())) else inf
            if left_s <= 0:
                return
            calls: list[Coroutine[Any, Any, object]] = [due.wait(), self._replanned.wait()]
            if left_s < inf:
                calls.append(self._clock.sleep(left_s))
            if self._is_rarely_checked(activity):
                calls.append(activity.begun())
            await first_of(*calls)
        await self.check_new()
        await self._clock.sleep(self._settings.recheck_s)

    def _left_s(self, activity: Activity) -> float:
        """Seconds until the next check."""
        if self._is_rarely_checked(activity):
            due_s = next_wakeup_s(self._checked_s, self._settings.idle_interval_s, IDLE_PHASE)
        else:
            due_s = self._checked_s + self._settings.interval_s
        return due_s - self._clock.monotonic()

    def _is_rarely_checked(self, activity: Activity) -> bool:
        """Whether for a while the proxy was not used and no backend has come or gone."""
        quiet_s = self._settings.idle_interval_s
        if quiet_s <= self._settings.interval_s or activity.within(quiet_s):
            return False
        return self._clock.monotonic() - self._fleet.changed_s > quiet_s

    async def catch_up(self, max_age_s: float = REFUSAL_AGE_S, backend_id: str | None = None) -> bool:
        """Check what was checked longer ago than this, and wait a moment for it; whether there may be news.

        All backends are looked at, or the one that is named.
        Whoever is down gets less time to say that it is up again: it may never answer.
        """
        now_s = self._clock.monotonic()
        members = [each for each in self._fleet.members.values() if backend_id in {None, each.id}]
        fresh = [(each, self._fresh(each, now_s - max_age_s)) for each in members]
        checks = {check: each for each, check in fresh if check is not None}
        if checks:
            await asyncio.wait(checks, timeout=DOWN_WAIT_S)
            late = [check for check, each in checks.items() if not check.done() and not self._is_down(each)]
            if late:
                await asyncio.wait(late, timeout=UP_WAIT_S - DOWN_WAIT_S)
        return bool(checks)

    def _is_down(self, member: Member) -> bool:
        return not self._fleet.is_asked(member) or self._fleet.view(member.id).health is Health.DOWN

    async def check_new(self) -> None:
        """Check the backends of which nothing is known, or nothing that still holds."""
        await self._wait_for([self._fresh(each, -inf) for each in self._fleet.members.values()])

    async def check_all(self) -> None:
        """Check all backends that are switched on at the same time and take note of what they say."""
        self._checked_s = self._clock.monotonic()
        await self._wait_for([self._fresh(each, inf) for each in self._fleet.members.values()])

    async def _wait_for(self, checks: Iterable[asyncio.Task[None] | None]) -> None:
        if waited := [check for check in checks if check is not None]:
            await asyncio.wait(waited)

    def _fresh(self, member: Member, since_s: float) -> asyncio.Task[None] | None:
        """The check that brings what is known of a backend to at least that moment; None where it is that new."""
        if not self._fleet.is_asked(member):
            return None
        is_known = member.asked_s > -inf and self._fleet.view(member.id).health is not Health.UNKNOWN
        if member.asked_s >= since_s and (is_known or member.asking):
            return member.asking
        if member.next_check is None:
            member.next_check = self._tasks.start(member.id, self._check(member))
        return member.next_check

    async def _check(self, member: Member) -> None:
        """Ask a backend how it is; one whose words make our own code fail is down by our fault."""
        async with member.check_turn:
            member.asking, member.next_check = member.next_check, None
            member.asked_s = self._clock.monotonic()
            (result,) = await asyncio.gather(self._ask(member), return_exceptions=True)
            member.asking = None
            if isinstance(result, Exception) and self._fleet.is_asked(member):
                log.error("the health check of backend %s failed by a fault of the proxy", member.id, exc_info=result)
                self._fleet.note_down(member.id, Reason("check_failed", detail=repr(result)))

    async def close(self) -> None:
        """End the checks under way."""
        await self._tasks.close()

    async def _ask(self, member: Member) -> None:
        now_s = self._clock.monotonic()
        if not self._fleet.is_asked(member) or any(
            each.is_resting(now_s) for each in self._fleet.view(member.id).breakers
        ):
            return
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                probe = await member.backend.probe()
        except ProxyError as error:
            is_slow = error.kind is ErrorKind.UPSTREAM_TIMEOUT
            self._note_failure(member, why_down(member.id, error), is_slow=is_slow)
        except TimeoutError:
            reason = Reason("no_answer", timeout_seconds=self._settings.timeout_s)
            self._note_failure(member, reason, is_slow=True)
        else:
            if self._fleet.is_asked(member):
                self._note_success(member, probe)

    def _note_success(self, member: Member, probe: Probe) -> None:
        """One that was down is up after as many successes in a row as it takes; they follow each other soon."""
        is_up = member.is_up_after_success()
        if is_up or self._fleet.view(member.id).health is not Health.DOWN:
            self._fleet.note_up(member.id, probe)
            return
        log.info("backend %s answers its health check again, for the %d. time", member.id, member.successes)
        self._fleet.due.set()

    def _note_failure(self, member: Member, reason: Reason, *, is_slow: bool) -> None:
        """Busy is not down: a backend that works for us, or for the member before, may be too slow to say how it is."""
        if not self._fleet.is_asked(member):
            return
        now = self._fleet.view(member.id)
        if is_slow and now.in_flight and now.health is Health.UP:
            log.info("backend %s is too busy to answer its health check", member.id)
        elif member.is_down_after_failure() or now.health is not Health.UP:
            self._fleet.note_down(member.id, reason)
        else:
            log.info("backend %s fails its health check for the %d. time: %s", member.id, member.failures, reason)
            self._fleet.due.set()


def most_age_s(refused: Decision) -> float:
    """How old the picture may be by which nothing was ranked: models come and go without a word."""
    is_missed = any(no.code == "model_not_held" for each in refused.rejected for no in each.rejections)
    return MISS_AGE_S if is_missed else REFUSAL_AGE_S
