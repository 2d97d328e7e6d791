"""Owns how long unused models stay in memory: until keeping them has cost as much as loading them again would."""

import asyncio
import logging
from dataclasses import replace
from math import inf

from ollama_proxyd.core.attempts import AttemptBegun, AttemptEnded
from ollama_proxyd.core.binding import device_of
from ollama_proxyd.core.errors import IN_USE, ProxyError
from ollama_proxyd.core.events import FinishReason
from ollama_proxyd.core.fleet import BackendView, Health, Model
from ollama_proxyd.core.keeping import (
    EXACT_S,
    MOST_S,
    WHY_KEPT,
    Kept,
    KeptBy,
    Stay,
    begun,
    ended,
    seen,
)
from ollama_proxyd.core.policy.residence import Upkeep, keep_of, why_unloaded
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.residency import Place, expires_unix_s, has_in_memory
from ollama_proxyd.core.values import value
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.energy import EnergyAccounts
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.health import HealthMonitor
from ollama_proxyd.services.inventory import FleetChanges
from ollama_proxyd.services.keeping_facts import KeepingFacts
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.settings import KeepAlive, KeepingSettings
from ollama_proxyd.services.tail_savings import TailSavings
from ollama_proxyd.services.tasks import Tasks
from ollama_proxyd.services.watching import first_of

log = logging.getLogger(__name__)

GRACE_S = 2.0
"""An engine that lets go by itself has this long for it."""


@value
class KeeperDeps:
    """What a keeper works with."""

    fleet: Fleet
    health: HealthMonitor
    governor: Governor
    clock: Clock
    system: Cell[SystemState]
    energy: EnergyAccounts


class Keeper:
    """Follows every request, and has each model that the proxy loaded unloaded when its time is over.

    A client's own keep_alive counts instead, and what another program uses is left to it.
    """

    def __init__(self, deps: KeeperDeps, settings: KeepingSettings) -> None:
        self._deps = deps
        self._settings = settings
        self._stays: dict[Place, Stay] = {}
        self._due_s: dict[Place, float] = {}
        """When each is looked at next."""
        self._trouble: dict[Place, Reason] = {}
        """Why a model stays although its time is over."""
        self.wanted_until_s: dict[Place, float] = {}
        """Until when a model stays at least that was loaded for requests that will come."""
        self._next_s = inf
        """When the first is looked at; `_changed` is set where one is to be looked at before that."""
        self._changed = asyncio.Event()
        self.known = KeepingFacts(deps.clock)
        self.savings = TailSavings(deps.clock)
        deps.fleet.sent.listen(self._note_sent)
        deps.fleet.attempts.listen(self._note_ended)
        deps.fleet.checked.listen(self._note_checked)
        deps.fleet.reconciled.listen(self._note_changes)

    def reconfigure(self, settings: KeepingSettings) -> None:
        """Keep by other rules from now on."""
        self._settings = settings
        for member in self._deps.fleet.members.values():
            self._show(self._deps.fleet.view(member.id))
        self._replan()

    def follow(self, tasks: Tasks) -> None:
        """Unload what is due, and plan anew when the mode changes."""
        tasks.start("keeper.mode", self._deps.governor.setting.follow(lambda _: self._replan()))
        tasks.start("keeper.devices", self._deps.system.follow(lambda system: self.savings.look(system.devices)))
        tasks.start("keeper", self._unload_in_time())

    def kept(self, backend_id: str) -> tuple[Kept, ...]:
        """The models of a backend that requests went to and that are in memory still."""
        return tuple(self._kept(at, stay) for at, stay in self._stays.items() if at.backend_id == backend_id)

    def _kept(self, at: Place, stay: Stay) -> Kept:
        until_s, now_s = self.known.expires_s(at.backend_id).get(at.model, inf), self._deps.clock.monotonic()
        view = self._deps.fleet.view(at.backend_id)
        if stay.kept_by is not KeptBy.PROXY or not view.memory.is_kept_by_us:
            return Kept(at.model, stay.kept_by, None, None, WHY_KEPT[stay.kept_by])
        keep_s, costs = self._keep(at, view)
        left_s = None if until_s == inf else max(until_s - now_s, 0.0)
        return Kept(at.model, stay.kept_by, keep_s, left_s, self._trouble.get(at) or why_unloaded(keep_s, costs))

    def _note_sent(self, sent: AttemptBegun) -> None:
        at, fleet = Place(sent.backend_id, sent.model), self._deps.fleet
        view = fleet.view(at.backend_id)
        is_loaded = has_in_memory(view, at.model)
        self.known.note_sent(at.backend_id, at.model, is_fresh=not is_loaded)
        if not fleet.has(at.backend_id):
            return
        spec = view.spec  # who names the unit, or the program, leaves its engine to the proxy
        is_others = is_loaded and spec.unit is None and spec.engine is None
        stay = begun(self._stays.get(at), is_loaded=is_others, client_says=sent.keeps_s is not None)
        self.savings.end(at)
        self._trouble.pop(at, None)
        is_ours = stay.kept_by is KeptBy.PROXY and view.memory.is_kept_by_us
        keep_s = None
        if is_ours:
            keep_s, _ = self._keep(at, view)
            if self.wanted_until_s:
                keep_s = max(keep_s, self.wanted_until_s.get(at, 0.0) - self._deps.clock.monotonic())
        fleet.backend(at.backend_id).keep(at.model, keep_s)
        self._put(at, stay, view)

    def _note_ended(self, attempt: AttemptEnded) -> None:
        at, now_s = Place(attempt.backend_id, attempt.model), self._deps.clock.monotonic()
        if (load_s := self.known.note_ended(attempt)) is not None:
            self.known.learn_load(at.backend_id, _model(self._deps.fleet.view(at.backend_id), at.model), load_s)
        stay = self._stays.get(at)
        if stay is None:
            return
        only_loaded = attempt.finish is FinishReason.LOAD
        if not only_loaded:
            self.wanted_until_s.pop(at, None)
        stay = ended(stay, now_s, attempt.asked_s, only_loaded=only_loaded)
        view = self._deps.fleet.view(at.backend_id)
        if not stay.under_way and (attempt.keeps_s == 0 or view.health is not Health.UP):
            self._forget(at)
        else:
            self._put(at, stay, view)

    def _note_checked(self, view: BackendView) -> None:
        """See what is in a backend's memory still; a check that began before an answer ended says nothing of it."""
        self._show(view)
        view = self._deps.fleet.view(view.spec.id)
        asked_s = self._deps.fleet.members[view.spec.id].asked_s
        self._note_own(view)
        for at in [each for each in self._stays if each.backend_id == view.spec.id]:
            stay = self._stays[at]
            if stay.under_way or stay.ended_s is None or stay.ended_s > asked_s or view.loaded is None:
                continue
            if not has_in_memory(view, at.model):
                self._note_left(at, stay)
            else:
                unix_s, clock = expires_unix_s(view, at.model), self._deps.clock
                self._put(at, seen(stay, None if unix_s is None else clock.monotonic() + unix_s - clock.unix()), view)

    def _note_own(self, view: BackendView) -> None:
        """An engine of ours that no request has loaded, such as one of an earlier start, is to leave as others do."""
        for each in view.loaded or () if view.spec.engine is not None else ():
            at = Place(view.spec.id, each.name)
            if at not in self._stays:
                now_s = self._deps.clock.monotonic()
                self._put(at, ended(Stay(KeptBy.PROXY), now_s, None, only_loaded=False), view)

    def _note_changes(self, changes: FleetChanges) -> None:
        for at in [each for each in self._stays if each.backend_id in changes.removed]:
            self._forget(at)
        for backend_id in changes.added | changes.changed:
            self._show(self._deps.fleet.view(backend_id))

    def _note_left(self, at: Place, stay: Stay) -> None:
        """A model has left the memory."""
        view = self._deps.fleet.view(at.backend_id)
        if stay.kept_by is KeptBy.PROXY and stay.ended_s is not None and view.memory.is_kept_by_us and not view.loaded:
            _, costs = keep_of(view, _model(view, at.model), 0.0)
            stays_s = view.spec.profile.keep_alive_s or MOST_S
            device = device_of(view.spec, self._deps.system.value.devices)
            self.savings.begin(at, stay.ended_s + stays_s, costs, device)
        self._forget(at)

    def _keeps(self, backend_id: str) -> bool:
        """Whether the proxy may say how long models stay there, and has the means."""
        fleet = self._deps.fleet
        if self._settings.keep_alive is not KeepAlive.BREAK_EVEN or not fleet.view(backend_id).spec.is_local:
            return False
        backend = fleet.backend(backend_id)
        return backend.can_keep or backend.can_unload

    def _keep(self, at: Place, view: BackendView) -> tuple[float, Upkeep]:
        """How long an unused model is kept there, and what that rests on."""
        return keep_of(view, _model(view, at.model), self._deps.governor.setting.value.row.price_of_time_w)

    def _show(self, view: BackendView) -> None:
        """Have the policy know whether the proxy keeps models there."""
        idle_w = self._deps.energy.unused_w(view.spec)
        memory = self.known.memory(view, is_kept_by_us=self._keeps(view.spec.id), idle_w=idle_w)
        if memory is not view.memory:
            self._deps.fleet.note_memory(view.spec.id, memory)

    def _forget(self, at: Place) -> None:
        self._stays.pop(at, None)
        self._due_s.pop(at, None)
        self._trouble.pop(at, None)
        self.wanted_until_s.pop(at, None)
        self.known.expires_s(at.backend_id).pop(at.model, None)

    def _put(self, at: Place, stay: Stay, view: BackendView) -> None:
        """Note a stay, and when it is to end."""
        self._stays[at] = stay
        until_s = inf
        is_pinned = view.spec.engine is not None and at.model in view.spec.engine.pinned
        if not stay.under_way and view.memory.is_kept_by_us and not is_pinned:
            until_s = max(stay.until_s(self._keep(at, view)[0]), self.wanted_until_s.get(at, 0.0))
        due_s = until_s
        if until_s < inf and (by_itself_s := stay.engine_until_s) is not None and by_itself_s <= until_s + EXACT_S:
            until_s = by_itself_s
            due_s = until_s + GRACE_S
        self._due_s[at] = due_s
        self.known.expires_s(at.backend_id)[at.model] = until_s
        if due_s < self._next_s:
            self._changed.set()

    def _replan(self) -> None:
        for at, stay in list(self._stays.items()):
            if self._deps.fleet.has(at.backend_id):
                self._put(at, stay, self._deps.fleet.view(at.backend_id))

    async def _unload_in_time(self) -> None:
        """Unload each model when its time is over; never returns."""
        while True:
            self._changed.clear()
            now_s = self._deps.clock.monotonic()
            for at in [at for at, due_s in self._due_s.items() if due_s <= now_s]:
                await self._let_go(at)
            self._next_s = min(self._due_s.values(), default=inf)
            if self._next_s == inf:
                await self._changed.wait()
            else:
                left_s = self._next_s - self._deps.clock.monotonic()  # what was unloaded may have taken long
                await first_of(self._changed.wait(), self._deps.clock.sleep(max(left_s, 0.0)))

    def _is_due(self, at: Place) -> bool:
        """Whether its time is over; another unload may have taken long, and its backend is gone meanwhile."""
        return self._due_s.get(at, inf) <= self._deps.clock.monotonic()

    async def _let_go(self, at: Place) -> None:
        """Have a model unloaded, unless it is gone, is used again, or another program uses it."""
        fleet, health = self._deps.fleet, self._deps.health
        if not self._is_due(at):
            return
        if fleet.view(at.backend_id).health is not Health.UP:
            self._forget(at)
            return
        await health.catch_up(0.0, at.backend_id)
        if not self._is_due(at):
            return
        self._due_s[at] = inf
        try:
            await fleet.backend(at.backend_id).unload(at.model)
        except ProxyError as error:
            self._note_refused(at, error)
        else:
            fleet.note_unloaded(at.backend_id, at.model)
            fleet.due.set()  # an engine of a unit is stopped with its last model, which the next check sees
            stay = self._stays.get(at)
            if stay is not None and not stay.under_way:
                self._note_left(at, stay)

    def _note_refused(self, at: Place, error: ProxyError) -> None:
        """A backend did not let go of a model: another program works with it, or something is wrong."""
        stay = self._stays.get(at)
        if stay is None:
            return
        if error.code == IN_USE:
            view = self._deps.fleet.view(at.backend_id)
            self._put(at, replace(stay, ended_s=self._deps.clock.monotonic()), view)
        else:
            self._trouble[at] = Reason("not_unloaded", model=at.model, detail=error.message)
            log.warning("backend %s: %s", at.backend_id, self._trouble[at])


def _model(view: BackendView, name: str) -> Model:
    """A model of a backend; one that it does not list is known by its name alone."""
    for each in view.models:
        if each.name == name:
            return each
    return Model(name)
