"""ie.fio.OllamaProxy.Backends: the backends as a list, and as objects that come and go."""

import asyncio

from dbus_fast import Variant

from ollama_proxyd.core.fleet import BackendView, FleetView
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.edges.dbus_api.backend import PARENT_PATH, Backend
from ollama_proxyd.edges.dbus_api.backend_facts import details, is_healthy, metrics, row
from ollama_proxyd.edges.dbus_api.contract import contract
from ollama_proxyd.edges.dbus_api.errors import unknown_backend
from ollama_proxyd.edges.dbus_api.exported import Exported
from ollama_proxyd.edges.dbus_api.following import calmly, promptly
from ollama_proxyd.edges.dbus_api.objects import Objects
from ollama_proxyd.edges.dbus_api.signals import SignalSender
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import Clock


class Backends:
    """The object /ie/fio/OllamaProxy/Backends and those below it."""

    def __init__(self, services: Services, sender: SignalSender, objects: Objects, clock: Clock) -> None:
        self._services = services
        self._system = services.system
        self._setting = services.governor.setting
        self._sender = sender
        self._objects = objects
        self._clock = clock
        self._by_id: dict[str, Backend] = {}
        self._moved: Cell[int] = Cell(0)
        self.exported = Exported(
            path=PARENT_PATH,
            contract=contract("Backends"),
            sender=sender,
            values=self._values,
            methods={
                "ListBackends": lambda: [row(view) for view in self._views],
                "GetBackendDetails": lambda backend_id: details(self._view(backend_id)),
                "GetBackendMetrics": self._metrics,
                "GetSupportedModels": lambda backend_id: [model.name for model in self._view(backend_id).models],
                "RefreshBackendStatus": self._refresh,
            },
            is_manager=True,
        )
        self._compare(self._views)

    async def follow(self) -> None:
        """Tell every change from now on; never returns."""
        await asyncio.gather(
            promptly(self._services.fleet.views, self._tell_fleet),
            promptly(self._system, self._tell_system),
            promptly(self._setting, lambda _: self._tell_steady()),
            calmly(self._moved, self._tell_measured, self._clock),
        )

    def _tell_fleet(self, views: FleetView) -> None:
        before = [backend.view for backend in self._by_id.values()]
        was_healthy = {view.spec.id: is_healthy(view) for view in before}
        self._compare(views)
        for view in views:
            backend_id, healthy = view.spec.id, is_healthy(view)
            if was_healthy.get(backend_id, healthy) is not healthy:
                self.exported.signal("BackendStatusChanged", backend_id, healthy)
        self.exported.tell(measured=False)
        if [_moving_part(view) for view in before] != [_moving_part(view) for view in views]:
            self._move()

    def _compare(self, views: FleetView) -> None:
        """Have exactly the objects that there are backends."""
        for backend_id in self._by_id.keys() - {view.spec.id for view in views}:
            self._objects.remove(self._by_id.pop(backend_id).exported.path)
        for view in views:
            backend = self._by_id.get(view.spec.id)
            if backend is not None:
                backend.look_at(view)
                continue
            self._by_id[view.spec.id] = backend = Backend(view, self._system, self._setting, self._sender, self._enable)
            self._objects.add(backend.exported)

    def _tell_system(self, _: SystemState) -> None:
        self._tell_steady()
        self._move()

    def _tell_steady(self) -> None:
        for backend in self._by_id.values():
            backend.exported.tell(measured=False)

    def _tell_measured(self, _: int) -> None:
        self.exported.tell()
        for backend in self._by_id.values():
            backend.exported.tell()

    def _move(self) -> None:
        self._moved.set(self._moved.value + 1)

    def _values(self) -> dict[str, int]:
        views = self._views
        return {
            "BackendCount": len(views),
            "HealthyCount": sum(is_healthy(view) for view in views),
            "InFlight": sum(view.in_flight for view in views),
        }

    @property
    def _views(self) -> FleetView:
        return self._services.fleet.views.value

    def _view(self, backend_id: str) -> BackendView:
        for view in self._views:
            if view.spec.id == backend_id:
                return view
        raise unknown_backend(backend_id, (view.spec.id for view in self._views))

    def _metrics(self, backend_id: str) -> dict[str, Variant]:
        return metrics(self._view(backend_id), self._services.ledger.totals(backend_id))

    def _enable(self, backend_id: str, enabled: bool) -> None:
        fleet = self._services.fleet
        if not fleet.has(backend_id):
            raise unknown_backend(backend_id, (member.id for member in fleet.members))
        fleet.set_enabled(backend_id, enabled)

    async def _refresh(self) -> None:
        await self._services.health.check_all()


def _moving_part(view: BackendView) -> tuple[object, ...]:
    """What measurements can follow: a check that found everything as it was moves nothing, and sets no timer."""
    return view.spec, view.health, view.degraded, view.loaded, view.in_flight, view.watts
