"""Loads what is usually wanted at this hour before anybody asks, on the charger, where that pays."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from ollama_proxyd.core.energy_hours import SECONDS_PER_HOUR
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.fleet import BackendView, Model
from ollama_proxyd.core.keeping import MOST_S
from ollama_proxyd.core.policy.priors import expected_power_w
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import rank
from ollama_proxyd.core.policy.residence import upkeep
from ollama_proxyd.core.prewarm import Ahead, Window, best_ahead
from ollama_proxyd.core.readings import SystemState, known
from ollama_proxyd.core.residency import Place
from ollama_proxyd.core.values import value
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.history import History
from ollama_proxyd.services.keeper import Keeper
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

NAP_S: Final = 300.0
"""The clock stands still while the machine sleeps, so that it is looked at so often at least."""

SOON_S: Final = 1.0
"""Clocks are not looked at more closely."""

Load = Callable[[str, str], Awaitable[None]]
"""Loads a model at a backend, as a request would; raises ProxyError."""


class Planned(NamedTuple):
    """A model that is to be loaded, as it is asked for, and where."""

    model: str
    at: Place
    ahead: Ahead


@value
class PrewarmDeps:
    """What it works with."""

    fleet: Fleet
    governor: Governor
    history: History
    keeper: Keeper
    system: Cell[SystemState]
    clock: Clock
    load: Load


class Prewarmer:
    """Looks once at the beginning of each hour on the charger; never while it is switched off."""

    def __init__(self, deps: PrewarmDeps) -> None:
        self._deps = deps
        self._is_on: Cell[bool] = Cell(False)

    def reconfigure(self, *, is_on: bool) -> None:
        """Switch it on or off."""
        self._is_on.set(is_on)

    def follow(self, tasks: Tasks) -> None:
        """Load ahead from now on."""
        tasks.start("prewarm", self._each_hour())

    async def _each_hour(self) -> None:
        while True:
            await self._is_on.until(bool)
            await self._deps.system.until(_may_load)
            hour = self._hour()
            (result,) = await asyncio.gather(self._this_hour(hour), return_exceptions=True)
            if isinstance(result, Exception):
                log.error("loading ahead failed by a fault of the proxy", exc_info=result)
            await self._until(SECONDS_PER_HOUR, hour)

    def _hour(self) -> int:
        return int(self._deps.clock.local_minute() // 60)

    def _second(self) -> float:
        """Of the present hour."""
        return 60 * (self._deps.clock.local_minute() % 60)

    async def _until(self, second: float, hour: int) -> None:
        """Wait for a second of an hour, or for its end."""
        while self._hour() == hour and (left_s := second - self._second()) > 0:
            await self._deps.clock.sleep(min(left_s + SOON_S, NAP_S))

    async def _this_hour(self, hour: int) -> None:
        """Load what pays, one after the other, each where and when it pays by then."""
        habits = await self._deps.history.habits()
        left = dict(habits.first_s)
        while plans := [each for model in left if (each := self._plan(model, left[model], habits.days)) is not None]:
            first = min(plans, key=lambda each: each.ahead.begin_s)
            if first.ahead.begin_s > self._second() + SOON_S:
                await self._until(first.ahead.begin_s, hour)
            else:
                left.pop(first.model)
                await self._load(first)
            if self._hour() != hour:
                return

    def _plan(self, model: str, first_s: Sequence[float], days: int) -> Planned | None:
        """Where a request for a model would go now, and when to load it there; None where that does not pay."""
        fleet, setting = self._deps.fleet, self._deps.governor.setting.value
        query = Query(model=model, now_s=self._deps.clock.monotonic())
        decision = rank(query, fleet.views.value, self._deps.system.value, setting)
        if not decision.ranked:
            return None
        best, view = decision.ranked[0], fleet.view(decision.ranked[0].backend_id)
        own = next((each for each in view.models if each.name == best.model), Model(best.model))
        costs = upkeep(view, own, expected_power_w(view, own))
        # Who keeps models by itself keeps one that is only loaded no longer than that.
        window = Window(self._second(), MOST_S if fleet.backend(best.backend_id).can_keep else SECONDS_PER_HOUR)
        ahead = best_ahead(first_s, days, costs, setting.row.price_of_time_w, window)
        return None if ahead is None else Planned(model, Place(best.backend_id, best.model), ahead)

    def _is_free(self, view: BackendView) -> bool:
        """Whether nothing would leave its memory for it, and it leaves again by itself."""
        fleet, backend_id = self._deps.fleet, view.spec.id
        is_unused = view.can_serve and view.loaded == () and not view.in_flight
        return is_unused and view.spec.is_local and fleet.has(backend_id) and fleet.backend(backend_id).can_unload

    async def _load(self, planned: Planned) -> None:
        """Load a model, if all is as it was when that was planned."""
        at, deps = planned.at, self._deps
        is_wished = self._is_on.value and _may_load(deps.system.value)
        if not is_wished or not deps.fleet.has(at.backend_id) or not self._is_free(deps.fleet.view(at.backend_id)):
            return
        stays_s = planned.ahead.until_s - self._second()
        deps.keeper.wanted_until_s[at] = deps.clock.monotonic() + stays_s
        try:
            await deps.load(at.model, at.backend_id)
        except BaseException as error:
            deps.keeper.wanted_until_s.pop(at, None)
            if not isinstance(error, ProxyError):
                raise
            log.warning("%s was not loaded ahead at %s: %s", at.model, at.backend_id, error.message)
        else:
            log.info(
                "%s is loaded ahead at %s for at most %.0f min: it is usually asked for now, which spares about %.2g J",
                at.model,
                at.backend_id,
                stays_s / 60,
                planned.ahead.gain_j,
            )


def _may_load(system: SystemState) -> bool:
    """Whether the machine is on the charger, as far as is known, and no game runs."""
    return known(system.on_battery) is False and not known(system.games)
