"""Owns what is known of each backend: health, models, and the requests under way."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ollama_proxyd.core.beat import next_beat_s
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.fleet import BackendView, FleetView, Health, Probe
from ollama_proxyd.core.learning import Speed, Watts
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.standing import Standing, standing
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.cell import Cell, Topic
from ollama_proxyd.services.ports import Backend, Clock
from ollama_proxyd.services.settings import HealthSettings
from ollama_proxyd.services.switches import Switches
from ollama_proxyd.services.watching import first_of

log = logging.getLogger(__name__)

IDLE_PHASE = 0.25
"""Between two looks at the sensors: together with the thread that reads them each would hold up the other."""


class Fleet:
    """The one owner of backend state; `views` is the latest picture of all of them, `is_serving` whether any is up.

    Backends that are switched off are shown and never asked. `speeds` gives a live view of what was learned of one.
    """

    def __init__(
        self,
        backends: Sequence[Backend],
        settings: HealthSettings,
        clock: Clock,
        speeds: Callable[[str], Mapping[str, Speed]],
        switches: Switches,
    ) -> None:
        self._backends = {backend.spec.id: backend for backend in backends}
        self._index = {backend_id: at for at, backend_id in enumerate(self._backends)}
        self._settings = settings
        self._clock = clock
        self._switches = switches
        self._due = asyncio.Event()
        self._catching_up = asyncio.Lock()
        self._checked_s = self._changed_s = clock.monotonic()
        """When the last check of all of them began, and when the health of one was seen to change."""
        self.views: Cell[FleetView] = Cell(
            tuple(
                BackendView(
                    spec=backend.spec,
                    **self._at_first(backend.spec.id),
                    slots=backend.spec.slots,
                    speeds=speeds(backend.spec.id),
                )
                for backend in backends
            )
        )
        self.is_serving: Cell[bool] = Cell(False)
        self.standing: Cell[Standing] = Cell(standing(self.views.value))
        self.checked: Topic[BackendView] = Topic()
        """Each backend that was found up, as it was found."""

    @property
    def check_interval_s(self) -> float:
        """Within which time a backend that comes up is seen while somebody uses the proxy."""
        return self._settings.interval_s

    def has(self, backend_id: str) -> bool:
        """Whether there is such a backend."""
        return backend_id in self._index

    def backend(self, backend_id: str) -> Backend:
        """The engine behind an id; raises KeyError for one that is not configured."""
        return self._backends[backend_id]

    def view(self, backend_id: str) -> BackendView:
        """What is known of one backend now; raises KeyError for one that is not configured."""
        return self.views.value[self._index[backend_id]]

    def set_enabled(self, backend_id: str, enabled: bool) -> None:
        """Switch a backend on or off, and keep that over restarts; raises KeyError for one that is not configured.

        Requests under way on it finish. One that was switched on serves as soon as a check has found it up.
        """
        now = self.view(backend_id)
        self._switches.set(backend_id, enabled)
        if enabled is not (now.health is Health.DISABLED):
            return
        log.info("backend %s is switched %s", backend_id, "on" if enabled else "off")
        self._put(replace(now, **self._at_first(backend_id)))
        if enabled:
            self.check_soon()

    def begin(self, backend_id: str) -> BackendView:
        """Count one more request as under way on a backend; gives the picture just before."""
        before = self.view(backend_id)
        self._put(replace(before, in_flight=before.in_flight + 1))
        return before

    def end(self, backend_id: str) -> None:
        """Count one request fewer; each `begin` is followed by exactly one `end`."""
        now = self.view(backend_id)
        self._put(replace(now, in_flight=now.in_flight - 1))

    def note_unreachable(self, backend_id: str, reason: str) -> None:
        """A request found nothing listening: the backend counts as down until a check says otherwise."""
        if self.view(backend_id).health is not Health.DISABLED:
            self._note_down(backend_id, Reason("backend_down", detail=reason))

    def note_watts(self, backend_id: str, watts: Watts) -> None:
        """What a backend was measured to draw at work; nothing is noted of one that is not configured."""
        if backend_id in self._index:
            self._put(replace(self.view(backend_id), watts=watts))

    def note_degraded(self, backend_id: str, why: Reason | None) -> None:
        """A backend serves worse than it should, or None when it does so no longer."""
        now = self.view(backend_id)
        if now.degraded == why:
            return
        if why:
            log.warning("backend %s is degraded: %s", backend_id, why)
        else:
            log.info("backend %s is no longer taken to be degraded", backend_id)
        self._put(replace(now, degraded=why))

    def check_soon(self) -> None:
        """Have the backends checked before the interval is over."""
        self._due.set()

    async def watch(self, activity: Activity) -> None:
        """Check every backend again and again, or soon when one failed a request; never returns.

        While nobody uses the proxy and nothing changes that is rare; who begins to use it has them checked at once.
        """
        while True:
            self._due.clear()
            await self._until_due(activity)
            async with self._catching_up:
                if self._due.is_set() or self._left_s(activity) <= 0:
                    await self.check_all()

    async def _until_due(self, activity: Activity) -> None:
        while not self._due.is_set():
            if not any(map(self._is_on, self._backends.values())):
                await self._due.wait()
                break
            left_s = self._left_s(activity)
            if left_s <= 0:
                return
            calls = [activity.begun()] if self._is_rarely_checked(activity) else []
            await first_of(self._clock.sleep(left_s), self._due.wait(), *calls)
        await self._clock.sleep(self._settings.recheck_s)

    def _left_s(self, activity: Activity) -> float:
        """Seconds until the next check."""
        if self._is_rarely_checked(activity):
            due_s = next_beat_s(self._checked_s, self._settings.idle_interval_s, IDLE_PHASE)
        else:
            due_s = self._checked_s + self._settings.interval_s
        return due_s - self._clock.monotonic()

    def _is_rarely_checked(self, activity: Activity) -> bool:
        """Whether for a while nobody has used the proxy and no backend has come or gone."""
        quiet_s = self._settings.idle_interval_s
        if quiet_s <= self._settings.interval_s or activity.within(quiet_s):
            return False
        return self._clock.monotonic() - self._changed_s > quiet_s

    async def catch_up(self) -> bool:
        """Check now what was not checked for longer than the interval of busy times; whether there is news."""
        is_news = self._catching_up.locked()
        async with self._catching_up:
            if self._clock.monotonic() - self._checked_s > self._settings.interval_s:
                await self.check_all()
                is_news = True
        return is_news

    async def check_all(self) -> None:
        """Check all backends that are switched on at the same time and take note of what they say.

        A backend whose words make our own code fail is down by our fault; the others know nothing of it.
        """
        self._checked_s = self._clock.monotonic()
        asked = [backend for backend in self._backends.values() if self._is_on(backend)]
        results = await asyncio.gather(*map(self._check, asked), return_exceptions=True)
        for backend, result in zip(asked, results, strict=True):
            if isinstance(result, Exception):
                backend_id = backend.spec.id
                log.error("the health check of backend %s failed by a fault of the proxy", backend_id, exc_info=result)
                self._note_down(backend_id, Reason("check_failed", detail=repr(result)))

    async def _check(self, backend: Backend) -> None:
        backend_id = backend.spec.id
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                probe = await backend.probe()
        except ProxyError as error:
            if self._is_on(backend):
                self._note_down(backend_id, Reason("backend_down", detail=error.message))
        except TimeoutError:
            if self._is_on(backend):
                self._note_silent(backend_id)
        else:
            if self._is_on(backend):
                self._note_up(backend_id, probe)

    def _is_on(self, backend: Backend) -> bool:
        """Whether it may be asked; it may have been switched off while a check was under way."""
        return self.view(backend.spec.id).health is not Health.DISABLED

    def _at_first(self, backend_id: str) -> dict[str, Any]:
        """Health before the first check."""
        why_off = self._switches.why_off(backend_id)
        if why_off is not None:
            return {"health": Health.DISABLED, "health_reason": why_off}
        return {"health": Health.UNKNOWN, "health_reason": Reason("not_checked_yet")}

    def _note_up(self, backend_id: str, probe: Probe) -> None:
        now = self.view(backend_id)
        if now.health is not Health.UP:
            log.info("backend %s is up; models: %d", backend_id, len(probe.models))
        self._put(
            replace(
                now,
                spec=replace(now.spec, flavor=probe.flavor) if probe.flavor else now.spec,
                health=Health.UP,
                health_reason=None,
                models=probe.models,
                loaded=probe.loaded,
                version=probe.version,
                slots=probe.slots or now.spec.slots,
                checked_at_s=self._clock.monotonic(),
            )
        )
        self.checked.publish(self.view(backend_id))

    def _note_silent(self, backend_id: str) -> None:
        """Busy is not down: a backend that works for us may be too slow to say how it is."""
        now = self.view(backend_id)
        if now.in_flight and now.health is Health.UP:
            log.info("backend %s is too busy to answer its health check", backend_id)
        else:
            self._note_down(backend_id, Reason("no_answer", timeout_seconds=self._settings.timeout_s))

    def _note_down(self, backend_id: str, reason: Reason) -> None:
        now = self.view(backend_id)
        if now.health is not Health.DOWN:
            log.warning("backend %s is down: %s", backend_id, reason)
        # Whoever brings it up again may have mended it, so how it served before says nothing.
        seen_s = self._clock.monotonic()
        self._put(replace(now, health=Health.DOWN, health_reason=reason, degraded=None, checked_at_s=seen_s))

    def _put(self, view: BackendView) -> None:
        at = self._index[view.spec.id]
        views = self.views.value
        changed_health = views[at].health is not view.health or views[at].degraded != view.degraded
        self.views.set((*views[:at], view, *views[at + 1 :]))
        if changed_health:
            self._changed_s = self._clock.monotonic()
            self.is_serving.set(any(each.health is Health.UP for each in self.views.value))
            self.standing.set(standing(self.views.value))
