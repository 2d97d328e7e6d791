"""The status of all services at one moment, and a follower that tells when to look again."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ollama_proxyd.core.backend_status import Moment, backend_status
from ollama_proxyd.core.energy import Account
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.status import (
    HistoryStatus,
    LastDecision,
    PowerSaverStatus,
    Status,
    Today,
    UnloadingStatus,
    device_statuses,
)
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.ledger import Ledger, Outcome
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.rests import rest_ends

REFUSED = Reason("refused_before_routing")


def moment(clock: Clock) -> Moment:
    """Now, on both clocks."""
    return Moment(clock.monotonic(), clock.unix())


def snapshot(services: Services) -> Status:
    """Everything at this moment."""
    fleet, system, governor = services.fleet.views.value, services.system.value, services.governor
    setting = governor.setting.value
    return Status(
        setting=setting,
        modes=governor.table,
        holds=governor.holds.value,
        backends=tuple(backend_status(view, system, setting.row, moment(services.clock)) for view in fleet),
        queue=replace(services.admission.status(), deferred=services.gateway.deferral.waiting.value),
        devices=device_statuses(system, fleet),
        system=system,
        today=today(services),
        budget=services.budget.now,
        energy=services.energy.accounts(),
        last_decision=last_decision(services.ledger),
        history=HistoryStatus(services.history.store.trouble),
        power_saver=power_saver(services),
        unloading=unloading(services),
        frontends=services.frontends.status(),
        model_sync=services.frontends.sync.status(),
    )


def unloading(services: Services) -> UnloadingStatus:
    """What unloading early has saved."""
    savings = services.keeper.savings
    return UnloadingStatus(savings.unloads.value, savings.saved_j)


def power_saver(services: Services) -> PowerSaverStatus:
    """Whether power-saver is held, and what that brought."""
    saver = services.power_saver
    return PowerSaverStatus(saver.is_held, saver.answers, saver.saved_j)


def today(services: Services) -> Today:
    """The sums of the day."""
    day, sums = services.ledger.today, services.energy.today
    active, tail = sums.of(Account.ACTIVE), sums.of(Account.IDLE_TAIL)
    return Today(
        requests=day.requests,
        errors=day.failures,
        prompt_tokens=day.prompt_tokens,
        completion_tokens=day.completion_tokens,
        energy_joules=active.joules,
        energy_source=active.source.value,
        energy_error_joules=active.error_j,
        idle_tail_joules=tail.joules,
        idle_tail_source=tail.source.value,
        idle_tail_error_joules=tail.error_j,
        saved_joules=day.saved_j if day.compared else None,
        compared=day.compared or None,
        money_spent=dict(day.spent),
        cached_answers=day.cached,
        cache_saved_joules=day.cache_saved_j,
    )


def last_decision(ledger: Ledger) -> LastDecision | None:
    """Where the last request went, why, what it was expected to cost, and how it ended."""
    routed = ledger.last_routed
    if routed is None:
        return None
    ended = next((_ended(each) for each in reversed(ledger.recent()) if each.request_id == routed.request_id), None)
    decision = routed.decision
    if decision is None:
        return LastDecision(routed.unix_s, routed.backend_id, REFUSED, ended)
    estimates: dict[str, Any] = {}
    if (used := next((each for each in decision.ranked if each.backend_id == routed.backend_id), None)) is not None:
        estimates = {"model": used.model, "power_watts": used.power_w, "latency_ms": used.latency_ms}
        estimates["energy_joules"] = used.energy_j
    if routed.instead is not None and not routed.instead.is_same:
        instead = routed.instead.instead
        estimates |= {"instead_of": instead.backend_id, "instead_of_joules": instead.energy_j}
    return LastDecision(
        routed.unix_s,
        routed.backend_id,
        decision.reason,
        ended,
        mode=decision.mode.value,
        effective_mode=decision.effective_mode.value,
        **estimates,
    )


class StatusFollower:
    """Whether the status may have changed since it was taken last; its user sets the pace.

    A change of the mode, of holds, or one that is noted as urgent need not wait for the pace.
    """

    def __init__(self) -> None:
        self._any = asyncio.Event()
        self._urgent = asyncio.Event()

    def note(self, *, urgent: bool) -> None:
        """Something may have changed."""
        self._any.set()
        if urgent:
            self._urgent.set()

    def clear(self) -> None:
        """The status is about to be taken."""
        self._any.clear()
        self._urgent.clear()

    async def wait(self, pace_s: float, at_most_s: float) -> bool:
        """Wait for a change, at least for the pace where it is not urgent; False where none came in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(pace_s):
                await self._urgent.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._any.wait()
        return self._any.is_set()

    async def follow(self, services: Services) -> None:
        """Note every change of the services; never returns."""
        ledger, energy = services.ledger, services.energy
        topics = (ledger.routed, ledger.outcomes, energy.booked, services.engine_news)
        stops = [topic.listen(lambda _: self.note(urgent=False)) for topic in topics]
        try:
            await asyncio.gather(
                self.watch(services.fleet.views.changes(), urgent=False),
                self.watch(services.admission.waiting.changes(), urgent=False),
                self.watch(services.gateway.deferral.waiting.changes(), urgent=False),
                self.watch(services.system.changes(), urgent=False),
                self.watch(services.governor.setting.changes(), urgent=True),
                self.watch(services.governor.holds.changes(), urgent=True),
                self.watch(services.settings.tuning.changes(), urgent=True),
                self.watch(services.features.wishes.changes(), urgent=True),
                self.watch(services.budget.reason.changes(), urgent=True),
                self.watch(services.budget.settings.changes(), urgent=True),
                self.watch(services.power_saver.holding.changes(), urgent=False),
                self.watch(services.keeper.savings.unloads.changes(), urgent=False),
                self.watch(rest_ends(services.fleet.views, services.clock), urgent=False),
            )
        finally:
            for stop in stops:
                stop()

    async def watch(self, changes: AsyncGenerator[object, None], *, urgent: bool) -> None:
        """Note each new value of a cell; never returns."""
        async for _ in changes:
            self.note(urgent=urgent)


def _ended(outcome: Outcome) -> str:
    if outcome.cancelled:
        return "cancelled"
    return "ok" if outcome.error is None else outcome.error.value
