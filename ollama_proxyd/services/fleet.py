"""Owns what is known of each backend: health, models, and the requests under way."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.fleet import BackendView, FleetView, Health, Probe
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import Backend, Clock
from ollama_proxyd.services.settings import HealthSettings
from ollama_proxyd.services.switches import Switches

log = logging.getLogger(__name__)


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

    @property
    def check_interval_s(self) -> float:
        """Within which time a backend that comes up is seen."""
        return self._settings.interval_s

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
            self._note_down(backend_id, reason)

    def check_soon(self) -> None:
        """Have the backends checked before the interval is over."""
        self._due.set()

    async def watch(self) -> None:
        """Check every backend again at the configured interval, or soon when one failed a request; never returns."""
        while True:
            self._due.clear()
            try:
                async with asyncio.timeout(self._settings.interval_s):
                    await self._due.wait()
                await self._clock.sleep(self._settings.recheck_s)
            except TimeoutError:
                pass
            await self.check_all()

    async def check_all(self) -> None:
        """Check all backends that are switched on at the same time and take note of what they say.

        A backend whose words make our own code fail is down by our fault; the others know nothing of it.
        """
        asked = [backend for backend in self._backends.values() if self._is_on(backend)]
        results = await asyncio.gather(*map(self._check, asked), return_exceptions=True)
        for backend, result in zip(asked, results, strict=True):
            if isinstance(result, Exception):
                backend_id = backend.spec.id
                log.error("the health check of backend %s failed by a fault of the proxy", backend_id, exc_info=result)
                self._note_down(backend_id, f"its health check failed by a fault of the proxy: {result!r}")

    async def _check(self, backend: Backend) -> None:
        backend_id = backend.spec.id
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                probe = await backend.probe()
        except ProxyError as error:
            if self._is_on(backend):
                self._note_down(backend_id, error.message)
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
        return {"health": Health.UNKNOWN, "health_reason": "not checked yet"}

    def _note_up(self, backend_id: str, probe: Probe) -> None:
        now = self.view(backend_id)
        if now.health is not Health.UP:
            log.info("backend %s is up; models: %d", backend_id, len(probe.models))
        self._put(
            replace(
                now,
                spec=replace(now.spec, flavor=probe.flavor) if probe.flavor else now.spec,
                health=Health.UP,
                health_reason="",
                models=probe.models,
                loaded=probe.loaded,
                version=probe.version,
                slots=probe.slots or now.spec.slots,
                checked_at_s=self._clock.monotonic(),
            )
        )

    def _note_silent(self, backend_id: str) -> None:
        """Busy is not down: a backend that works for us may be too slow to say how it is."""
        now = self.view(backend_id)
        if now.in_flight and now.health is Health.UP:
            log.info("backend %s is too busy to answer its health check", backend_id)
        else:
            self._note_down(backend_id, f"no answer within {self._settings.timeout_s:g} s")

    def _note_down(self, backend_id: str, reason: str) -> None:
        now = self.view(backend_id)
        if now.health is not Health.DOWN:
            log.warning("backend %s is down: %s", backend_id, reason)
        self._put(replace(now, health=Health.DOWN, health_reason=reason, checked_at_s=self._clock.monotonic()))

    def _put(self, view: BackendView) -> None:
        at = self._index[view.spec.id]
        views = self.views.value
        changed_health = views[at].health is not view.health
        self.views.set((*views[:at], view, *views[at + 1 :]))
        if changed_health:
            self.is_serving.set(any(each.health is Health.UP for each in self.views.value))
