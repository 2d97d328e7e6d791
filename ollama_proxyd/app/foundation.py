"""The parts of the daemon, wired once for the life of the process."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import field, replace
from functools import partial
from typing import TypeAlias

from ollama_proxyd.app.engines import Engines, follow_pool
from ollama_proxyd.app.loading_ahead import load_ahead
from ollama_proxyd.config.settings import Config
from ollama_proxyd.core.values import value
from ollama_proxyd.edges.plumbing.clock import SystemClock
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.services import request_log
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.admission import Admission
from ollama_proxyd.services.answers import Answers, AnswersDeps
from ollama_proxyd.services.budget import DailyBudget
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.energy import EnergyAccounts
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.frontends import Frontends
from ollama_proxyd.services.gate import Gate
from ollama_proxyd.services.gateway import Gateway, GatewayDeps
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.health import HealthMonitor
from ollama_proxyd.services.history import History
from ollama_proxyd.services.inventory import BackendConfig, Backends
from ollama_proxyd.services.keeper import Keeper, KeeperDeps
from ollama_proxyd.services.kinship import Kinship
from ollama_proxyd.services.learner import Learner
from ollama_proxyd.services.ledger import Ledger
from ollama_proxyd.services.meter import Meter
from ollama_proxyd.services.model_sync import ModelSync, SyncDeps
from ollama_proxyd.services.ports import Backend, Clock, HistoryStore, StateStore
from ollama_proxyd.services.power_saver import PowerSaver
from ollama_proxyd.services.prewarm import PrewarmDeps, Prewarmer
from ollama_proxyd.services.resume_check import GpuLossDetector
from ollama_proxyd.services.runtime_settings import RuntimeSettings
from ollama_proxyd.services.sensing import Sensing
from ollama_proxyd.services.settings import ModeSettings
from ollama_proxyd.services.switches import Switches
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

SYSTEM_CLOCK: Clock = SystemClock()
Make: TypeAlias = Callable[[BackendConfig], Backend] | None
FIRST_CHECK_S = 1.0
"""A slower backend joins later, so it does not delay the start."""

RECALLED = 2000
"""How many of the last attempts before the start are learned from."""
LAST_WORDS_S = 1.0
"""How long requests that are cut off may take to end."""


@value
class Foundation:
    """What a reload of the configuration reconfigures and never replaces."""

    clock: Clock
    activity: Activity
    gate: Gate
    sensing: Sensing
    meter: Meter
    learner: Learner
    detector: GpuLossDetector
    engines: Engines
    services: Services
    prewarmer: Prewarmer
    tasks: Tasks = field(default_factory=lambda: Tasks("foundation"))

    @classmethod
    def build(
        cls, config: Config, store: StateStore, kept: HistoryStore, clock: Clock = SYSTEM_CLOCK, make: Make = None
    ) -> "Foundation":
        """Wire the parts; nothing runs yet. A simulation has a clock and engines of its own."""
        activity, gate, sensing, learner, ledger = Activity(clock), Gate(), Sensing(clock), Learner(), Ledger(clock)
        settings, system = RuntimeSettings(config.tuning, store), sensing.system
        engines = Engines(config, clock, store, system)
        fleet = Fleet(make or engines.make, clock, learner.speeds, Switches(store))
        health, detector = HealthMonitor(fleet, clock, config.health), GpuLossDetector(fleet, learner)
        meter, energy = _metered(fleet, sensing, ledger, clock, learner, detector)
        governor = Governor(_tuned(config.modes, settings), config.default_mode, store, clock)
        admission = Admission(fleet, governor, activity, gate, clock, config.queue)
        history = History(kept, fleet, energy, clock)
        day = DailyBudget(energy, history, governor, clock, config.budget)
        deps = GatewayDeps(fleet, health, governor, ledger, system, clock, activity, gate, admission, energy, day)
        gateway = Gateway(deps, config.gateway)
        services = Services(
            answers=Answers(AnswersDeps(gateway, fleet, governor, clock, activity), config.answer_cache),
            gateway=gateway,
            admission=admission,
            fleet=fleet,
            frontends=Frontends(clock, ledger, ModelSync(SyncDeps(fleet, health, system, clock, engines.network))),
            health=health,
            governor=governor,
            ledger=ledger,
            energy=energy,
            settings=settings,
            keeper=Keeper(KeeperDeps(fleet, health, governor, clock, system, energy), config.keeping),
            system=system,
            store=store,
            clock=clock,
            history=history,
            budget=day,
            pool=lambda: engines.pool,
            engine_news=engines.changed,
            power_saver=PowerSaver(fleet, governor, energy, clock),
            features=engines.features,
        )
        ahead = PrewarmDeps(fleet, governor, history, services.keeper, system, clock, partial(load_ahead, gateway))
        return cls(clock, activity, gate, sensing, meter, learner, detector, engines, services, Prewarmer(ahead))

    @property
    def http(self) -> HttpClient:
        """The connections to all backends."""
        return self.engines.http

    def start(self) -> None:
        """Let the mode follow the machine's state and the changed settings; watch the backends."""
        services, wishes = self.services, self.engines.features.wishes
        self.engines.started.listen(lambda pool: follow_pool(pool, services.fleet, services.admission, wishes))
        self.services.features.listen(self.services.gateway.queries.take_wishes)
        self.services.governor.follow(self.sensing.system, self.tasks)
        self.tasks.start("tuning", self.services.settings.tuning.follow(self.services.governor.tune))
        self.tasks.start("hour", self.sensing.follow_the_hour(self.services.settings.tuning))
        self.tasks.start("health", self.services.health.watch(self.activity))
        self.services.energy.booked.listen(self.services.history.note)
        self.services.ledger.outcomes.listen(self.services.history.note)
        self.services.history.follow(self.sensing.system, self.services.governor.setting, self.tasks)
        self.tasks.start("learner.recall", self._recall())
        self.meter.follow(self.tasks)
        self.tasks.start("learner", self.sensing.system.follow(self.learner.follow))
        self.services.energy.follow(self.tasks)
        self.services.budget.follow(self.sensing.system, self.tasks)
        self.services.gateway.migrator.follow(self.tasks)
        self.services.keeper.follow(self.tasks)
        self.services.answers.follow(self.tasks)
        self.prewarmer.follow(self.tasks)
        self.services.power_saver.follow(self.sensing.system, self.tasks)
        self.tasks.start("engines.games", self.sensing.system.follow(self.engines.note_games))

    async def _recall(self) -> None:
        """What was learned before the start is known again."""
        self.learner.recall(await self.services.history.recent(RECALLED))

    def reconfigure(self, config: Config, backends: Backends) -> None:
        """Put a configuration in force, below changed settings; raises before anything has changed."""
        services = self.services
        services.fleet.reconcile(backends)  # the only step that can fail
        self.engines.reconfigure(config.engine)
        services.settings.rebase(config.tuning)
        services.governor.reconfigure(_tuned(config.modes, services.settings))
        services.health.reconfigure(config.health)
        services.gateway.reconfigure(config.gateway)
        services.answers.reconfigure(config.answer_cache)
        services.power_saver.reconfigure(config.power_saver)
        services.budget.reconfigure(config.budget)
        services.admission.reconfigure(config.queue)
        services.keeper.reconfigure(config.keeping)
        self.prewarmer.reconfigure(is_on=config.keeping.prewarm)
        services.frontends.reconfigure(config.frontends, config.model_sync)
        self.http.timeouts = config.timeouts

    async def first_check(self, patience_s: float = FIRST_CHECK_S) -> None:
        """Check backends that are new.

        All of them get a moment to say how they are; after it the first one that serves ends the wait.
        """
        check = self.tasks.start("first-check", self.services.health.check_new())
        await asyncio.wait([check], timeout=FIRST_CHECK_S)
        if patience_s > FIRST_CHECK_S:
            serving = self.tasks.start("serving", self.services.fleet.is_serving.until(bool))
            left_s = patience_s - FIRST_CHECK_S
            await asyncio.wait([check, serving], timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            serving.cancel()

    async def reconnect(self) -> None:
        """Drop all earlier connections, and check every backend at once."""
        await self.http.renew()
        self.tasks.start("check", self.services.health.check_all())

    async def drain(self, within_s: float) -> None:
        """Let running requests finish; what still runs then is cut off and its clients told so. Pulls end at once."""
        await self.services.frontends.sync.close()
        is_quiet = await self.activity.quiet(within_s)
        self.services.admission.refuse_all("the proxy stops")
        self.services.gateway.deferral.refuse_all("the proxy stops")
        if is_quiet and await self.activity.quiet(LAST_WORDS_S):
            return
        running = self.activity.in_flight
        log.warning("%d requests were still running after %g s and are cut off", running, within_s)
        self.http.cut_off("the proxy stops")
        await self.activity.quiet(LAST_WORDS_S)

    async def close(self, can_start: Callable[[], bool]) -> None:
        """End the background work and close every connection; `can_start` says whether another daemon could follow."""
        await self.tasks.close()
        self.services.energy.close()
        self.services.history.hand_over()
        await self.services.health.close()
        await self.engines.close(can_start)


def _metered(
    fleet: Fleet, sensing: Sensing, ledger: Ledger, clock: Clock, learner: Learner, detector: GpuLossDetector
) -> tuple[Meter, EnergyAccounts]:
    """Have everybody told of the attempts and requests that end, the books first."""
    meter, energy = Meter(sensing.system, fleet, clock), EnergyAccounts(sensing.system, fleet, clock)
    learning = learner.observe, Kinship(fleet, learner).observe, detector.observe
    for observe in (ledger.book, *learning, meter.observe, request_log.note_attempt):
        fleet.attempts.listen(observe)
    energy.booked.listen(ledger.charge)
    ledger.outcomes.listen(request_log.note)
    fleet.reconciled.listen(lambda _: ledger.forget_all_but(fleet.members))
    fleet.reconciled.listen(lambda _: sensing.set_backends([member.config.spec for member in fleet.members.values()]))
    return meter, energy


def _tuned(modes: ModeSettings, settings: RuntimeSettings) -> ModeSettings:
    return replace(modes, auto=settings.tuning.value.of_auto(modes.auto))
