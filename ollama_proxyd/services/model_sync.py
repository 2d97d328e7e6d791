"""Has backends pull what front ends require and what was asked for: a few at a time, again after failures."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from http import HTTPStatus

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendView, Health
from ollama_proxyd.core.frontend_settings import FrontendSettings
from ollama_proxyd.core.management import Managed, Management, may_hold
from ollama_proxyd.core.model_sync import Pull, PullAt, PullPhase, PullProgress, PullSignal, SyncSettings, why_not_now
from ollama_proxyd.core.policy.eligibility import held
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.status import PullStatus
from ollama_proxyd.core.values import value
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.health import HealthMonitor
from ollama_proxyd.services.ports import Clock, Network
from ollama_proxyd.services.tasks import Tasks
from ollama_proxyd.services.watching import first_of

log = logging.getLogger(__name__)

MOST_ASKED = 100
LOOK_S = 60.0
"""While models are pulled, or wait for the charger or another network, it is looked so often whether that is over."""


@value
class SyncDeps:
    """What the synchronisation works with."""

    fleet: Fleet
    health: HealthMonitor
    system: Cell[SystemState]
    clock: Clock
    network: Network


class ModelSync:
    """The pulls that there are; nothing is watched while no model is required."""

    def __init__(self, deps: SyncDeps) -> None:
        self._deps = deps
        self._settings = SyncSettings()
        self._required: tuple[FrontendSettings, ...] = ()
        self._asked: dict[PullAt, None] = {}
        """What an administrator asked for, until it is there."""
        self._pulls: dict[PullAt, Pull] = {}
        self._running: dict[PullAt, asyncio.Task[None]] = {}
        self._tasks = Tasks("model_sync")
        self._watching: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._stops: tuple[Callable[[], None], ...] = ()
        self.pulled = 0
        """How many models were pulled since the start."""

    def reconfigure(self, frontends: Sequence[FrontendSettings], settings: SyncSettings) -> None:
        """Have these front ends' models pulled from now on; what is no longer required is broken off."""
        self._settings = settings
        self._required = tuple(each for each in frontends if each.required_models)
        self._look()

    def ask(self, at: PullAt) -> None:
        """Have a model pulled that no front end requires, until it is there or `withdraw` says otherwise."""
        if len(self._asked) >= MOST_ASKED and at not in self._asked:
            raise ProxyError(ErrorKind.OVERLOADED, f"{MOST_ASKED} models are asked for, the most; delete some first")
        self._asked[at] = None
        self._look()

    def withdraw(self, at: PullAt) -> bool:
        """No longer ask for a model; whether it was asked for."""
        if at not in self._asked:
            return False
        del self._asked[at]
        self._look()
        return True

    def requires(self, at: PullAt) -> bool:
        """Whether a front end requires a model there, so that it would be pulled again."""
        view = self._deps.fleet.view(at.backend_id)
        return any(at.model in each.required_models and self._may_pull(view, each) for each in self._required)

    def _look(self) -> None:
        """Begin to watch where something is wanted, and end it where nothing is."""
        self._changed.set()
        is_wanted = bool(self._required or self._asked)
        if is_wanted and self._watching is None:
            self._stops = (self._deps.fleet.checked.listen(lambda _: self._changed.set()),)
            self._watching = self._tasks.start("watch", self._watch())
        elif not is_wanted and self._watching is not None:
            self._watching.cancel()
            self._watching = None
            for stop in self._stops:
                stop()
            self._keep_only({})

    async def close(self) -> None:
        """Break off what runs; the engines keep what they have."""
        await self._tasks.close()

    def status(self) -> tuple[PullStatus, ...]:
        """Each pull that is not over."""
        now_s = self._deps.clock.monotonic()
        return tuple(
            PullStatus(
                backend=each.at.backend_id,
                model=each.at.model,
                state=each.phase.value,
                completed_bytes=each.completed_bytes,
                total_bytes=each.total_bytes or None,
                failures=each.failures,
                retry_seconds=max(each.retry_at_s - now_s, 0.0) if each.phase is PullPhase.FAILED else None,
                reason=each.reason,
            )
            for each in self._pulls.values()
        )

    async def _watch(self) -> None:
        system = self._tasks.start("system", self._deps.system.follow(lambda _: self._changed.set()))
        try:
            while True:
                self._changed.clear()
                self._keep_only(self._lacking())
                if not (self._required or self._asked):
                    self._look()  # which ends this
                await self._go_on()
                await self._until_due()
        finally:
            system.cancel()

    async def _until_due(self) -> None:
        now_s, pauses = self._deps.clock.monotonic(), []
        for each in self._pulls.values():
            is_paused = each.phase is PullPhase.FAILED
            pauses.append(max(each.retry_at_s - now_s, 0.0) if is_paused else LOOK_S)
        waits = [self._changed.wait(), *([self._deps.clock.sleep(min(pauses))] if pauses else [])]
        await first_of(*waits)

    def _lacking(self) -> Mapping[PullAt, None]:
        """What is required and not held, as far as the backends say."""
        found: dict[PullAt, None] = {}
        for frontend in self._required:
            for view in self._deps.fleet.views.value:
                if not self._may_pull(view, frontend):
                    continue
                for model in frontend.required_models:
                    if may_hold(view.spec, model) and held(view, Query(model=model)) is None:
                        found[PullAt(view.spec.id, model)] = None
        return found | self._still_asked()

    def _still_asked(self) -> dict[PullAt, None]:
        """What was asked for and is not there; of a backend that is gone nothing is."""
        fleet, found = self._deps.fleet, dict[PullAt, None]()
        for at in self._asked:
            if fleet.has(at.backend_id) and held(fleet.view(at.backend_id), Query(model=at.model)) is None:
                found[at] = None
        self._asked = found
        return dict(found)

    def _may_pull(self, view: BackendView, frontend: FrontendSettings) -> bool:
        fleet = self._deps.fleet
        is_asked = frontend.rules.uses(view.spec.id, view.spec.labels) and view.health is not Health.DISABLED
        return is_asked and fleet.has(view.spec.id) and fleet.backend(view.spec.id).can_manage

    def _keep_only(self, lacking: Mapping[PullAt, None]) -> None:
        """Forget what is there, no longer required, or under way at an address that its backend has no more."""
        endpoints = {view.spec.id: view.spec.endpoint for view in self._deps.fleet.views.value}
        wanted = {at: endpoints[at.backend_id] for at in lacking}
        for at in [at for at, each in self._pulls.items() if wanted.get(at) != each.endpoint]:
            del self._pulls[at]
            if (running := self._running.pop(at, None)) is not None:
                running.cancel()
        for at, endpoint in wanted.items():
            self._pulls.setdefault(at, Pull(at, endpoint))

    async def _go_on(self) -> None:
        """Begin what may begin, break off what may not go on."""
        if not self._pulls:
            return
        is_metered = None if self._settings.on_metered else await self._deps.network.is_metered()
        self._keep_only(self._lacking())  # meanwhile a reload may have taken backends out
        here, now_s = why_not_now(self._settings, self._deps.system.value, is_metered), self._deps.clock.monotonic()
        for at, each in list(self._pulls.items()):
            is_here = self._deps.fleet.view(at.backend_id).spec.is_local
            self._pulls[at] = self._step(each, here if is_here else None, now_s)

    def _step(self, pull: Pull, why_not: Reason | None, now_s: float) -> Pull:
        if pull.phase is PullPhase.FAILED and pull.retry_at_s <= now_s:
            pull = pull.moved(PullSignal.DUE)
        if why_not is not None and (running := self._running.pop(pull.at, None)) is not None:
            running.cancel()
            pull = pull.moved(PullSignal.STOPPED)
        return self._begun(pull, why_not) if pull.phase is PullPhase.WAITING else pull

    def _begun(self, pull: Pull, why_not: Reason | None) -> Pull:
        """The pull, begun where it is its turn."""
        view = self._deps.fleet.view(pull.at.backend_id)
        if why_not is None and view.health is not Health.UP:
            why_not = Reason("pull_waits_for_backend", backend_id=view.spec.id)
        if why_not is None and len(self._running) >= self._settings.max_parallel:
            why_not = Reason("pull_waits_for_turn", limit=self._settings.max_parallel)
        if why_not is not None:
            return replace(pull, reason=why_not)
        log.info("backend %s pulls %s", *pull.at)
        self._running[pull.at] = self._tasks.start(f"pull {pull.at.model}", self._pull(pull.at))
        return pull.moved(PullSignal.BEGUN)

    async def _pull(self, at: PullAt) -> None:
        """Have a model pulled to its end; what the engine has of it already is not fetched again."""
        try:
            await self._ask(at)
            self._running.pop(at, None)  # it is over, and no longer broken off
            await self._deps.health.catch_up(0.0)
            if at in self._lacking():
                raise ProxyError(ErrorKind.UPSTREAM_FAILED, "it says that it is done, and does not list the model")
        except ProxyError as error:
            log.warning("backend %s does not pull %s: %s", *at, error.message)
            if (pull := self._pulls.get(at)) is not None:
                self._pulls[at] = pull.failed(error.message, self._deps.clock.monotonic())
        else:
            log.info("backend %s has pulled %s", *at)
            self.pulled += 1
        finally:
            if self._running.get(at) is asyncio.current_task():
                del self._running[at]
            self._changed.set()

    async def _ask(self, at: PullAt) -> None:
        body = json.dumps({"model": at.model, "stream": True}).encode()
        progress, head = PullProgress(), Managed(0, "")
        async with aclosing(
            self._deps.fleet.backend(at.backend_id).manage(Management("POST", "/api/pull", body))
        ) as told:
            async for piece in told:
                if isinstance(piece, Managed):
                    head = piece
                    continue
                progress.feed(piece)
                if (pull := self._pulls.get(at)) is not None:
                    done, of = progress.completed_bytes, progress.total_bytes
                    self._pulls[at] = replace(pull, completed_bytes=done, total_bytes=of)
        if head.status >= HTTPStatus.BAD_REQUEST:
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, f"it answered with status {head.status}")
        progress.end()
