"""Checks backends at the right pace: often while the proxy is used, rarely while it is not."""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from math import inf
from typing import Any

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import Health
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.wakeup_alignment import next_wakeup_s
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.lease import Member
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.settings import HealthSettings
from ollama_proxyd.services.watching import first_of

log = logging.getLogger(__name__)

IDLE_PHASE = 0.25
"""Between two looks at the sensors: together with the thread that reads them each would hold up the other."""


class HealthMonitor:
    """Asks backends how they are; the fleet keeps what they say."""

    def __init__(self, fleet: Fleet, clock: Clock, settings: HealthSettings | None = None) -> None:
        self._fleet = fleet
        self._clock = clock
        self._settings = settings or HealthSettings()
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
            left_s = self._left_s(activity) if any(map(self._fleet.is_asked, self._fleet.members)) else inf
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

    async def catch_up(self) -> bool:
        """Check now what was not checked yet, or not for longer than the interval; whether there is news."""
        if self._clock.monotonic() - self._checked_s > self._settings.interval_s:
            await self.check_all()
            return True
        return await self.check_new()

    async def check_new(self) -> bool:
        """Check the backends that were not checked yet; whether there were any."""
        new = [each for each in self._fleet.members if self._fleet.is_asked(each) and self._is_unchecked(each)]
        await self._check_these(new)
        return bool(new)

    def _is_unchecked(self, member: Member) -> bool:
        """Whether a check would bring news; one that is under way would."""
        is_known = member.checks > 0 and self._fleet.view(member.id).health is not Health.UNKNOWN
        return not is_known or member.checks_under_way > 0

    async def check_all(self) -> None:
        """Check all backends that are switched on at the same time and take note of what they say."""
        self._checked_s = self._clock.monotonic()
        await self._check_these([each for each in self._fleet.members if self._fleet.is_asked(each)])

    async def _check_these(self, members: Sequence[Member]) -> None:
        """A backend whose words make our own code fail is down by our fault; the others are not concerned."""
        for member in members:
            member.checks_under_way += 1
        try:
            results = await asyncio.gather(
                *(self._check(each, each.checks) for each in members), return_exceptions=True
            )
        finally:
            for member in members:
                member.checks_under_way -= 1
        for member, result in zip(members, results, strict=True):
            if isinstance(result, Exception) and self._fleet.is_asked(member):
                log.error("the health check of backend %s failed by a fault of the proxy", member.id, exc_info=result)
                self._fleet.note_down(member.id, Reason("check_failed", detail=repr(result)))

    async def _check(self, member: Member, checks: int) -> None:
        """Ask a backend how it is, unless another check has come to its end since there were so many."""
        async with member.check_turn:
            if member.checks == checks:
                await self._ask(member)
                member.checks += 1

    async def _ask(self, member: Member) -> None:
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                probe = await member.backend.probe()
        except ProxyError as error:
            is_slow = error.kind is ErrorKind.UPSTREAM_TIMEOUT
            self._note_failure(member, Reason("backend_down", detail=error.message), is_slow=is_slow)
        except TimeoutError:
            reason = Reason("no_answer", timeout_seconds=self._settings.timeout_s)
            self._note_failure(member, reason, is_slow=True)
        else:
            if self._fleet.is_asked(member):
                self._fleet.note_up(member.id, probe)

    def _note_failure(self, member: Member, reason: Reason, *, is_slow: bool) -> None:
        """Busy is not down: a backend that works for us, or for the member before, may be too slow to say how it is."""
        if not self._fleet.is_asked(member):
            return
        now = self._fleet.view(member.id)
        if is_slow and now.in_flight and now.health is Health.UP:
            log.info("backend %s is too busy to answer its health check", member.id)
        else:
            self._fleet.note_down(member.id, reason)
