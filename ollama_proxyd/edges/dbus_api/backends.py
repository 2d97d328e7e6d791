"""ie.fio.OllamaProxy.Backends: the backends as a list, and as objects that come and go."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from ollama_proxyd.core.backend_status import backend_status, within_mode
from ollama_proxyd.core.fleet import BackendView, FleetView
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.edges.dbus_api.backend_facts import account_rows, details, is_healthy, metrics, row
from ollama_proxyd.edges.dbus_api.contract import ROOT_PATH, contract
from ollama_proxyd.edges.dbus_api.engines import engine_properties, stop_engine
from ollama_proxyd.edges.dbus_api.errors import UNKNOWN_BACKEND, unknown
from ollama_proxyd.edges.dbus_api.exported import Exported, SignalSender
from ollama_proxyd.edges.dbus_api.features import feature_rows, set_feature
from ollama_proxyd.edges.dbus_api.following import calmly
from ollama_proxyd.edges.dbus_api.objects import Objects
from ollama_proxyd.edges.dbus_api.values import number, properties
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.rests import rest_ends
from ollama_proxyd.services.status import moment
from ollama_proxyd.services.unloading import Unloader

PARENT_PATH = f"{ROOT_PATH}/Backends"


def path_of(backend_id: str) -> str:
    """The object's path; bytes that a path cannot have are written as an underscore and two hexadecimal digits."""
    plain = (chr(byte) if chr(byte).isalnum() and byte < 128 else f"_{byte:02x}" for byte in backend_id.encode())
    return f"{PARENT_PATH}/{''.join(plain)}"


class BackendObject:
    """The object of one backend; `view` is what was last known of it."""

    def __init__(
        self,
        view: BackendView,
        services: Services,
        sender: SignalSender,
        enable: Callable[[str, bool], Awaitable[None]],
    ) -> None:
        self.view = view
        self._services = services
        self.exported = Exported(
            path=path_of(view.spec.id),
            contract=contract("Backend"),
            sender=sender,
            values=self._values,
            setters={"Enabled": partial(enable, view.spec.id)},
        )

    def look_at(self, view: BackendView) -> None:
        """Take note of what is known now, and tell at once what cannot wait."""
        before, self.view = self.view, view
        if _steady_part(before) != _steady_part(view):
            self.exported.tell(measured=False)

    def _values(self) -> dict[str, Any]:
        services, spec = self._services, self.view.spec
        row = services.governor.setting.value.row
        status = backend_status(self.view, services.system.value, row, moment(services.clock))
        return {"Engine": spec.flavor, "Endpoint": spec.endpoint, **properties(contract("Backend"), status)}


class Backends:
    """The object /ie/fio/OllamaProxy/Backends and those below it."""

    def __init__(self, services: Services, sender: SignalSender, objects: Objects, clock: Clock) -> None:
        self._services = services
        self._sender = sender
        self._objects = objects
        self._clock = clock
        self._by_id: dict[str, BackendObject] = {}
        self._moved: Cell[int] = Cell(0)
        self.exported = Exported(
            path=PARENT_PATH,
            contract=contract("Backends"),
            sender=sender,
            values=self._values,
            methods={
                "ListBackends": lambda: [row(view) for view in self._views],
                "GetBackendDetails": lambda backend_id: details(self._view(backend_id)),
                "GetBackendMetrics": lambda backend_id: metrics(
                    self._view(backend_id), services.ledger.totals(backend_id)
                ),
                "GetEnergyAccounts": lambda: account_rows(services.energy.accounts()),
                "GetSupportedModels": lambda backend_id: [model.name for model in self._view(backend_id).models],
                "RefreshBackendStatus": services.health.check_all,
                "UnloadModels": Unloader(services.fleet).unload_idle,
                "ListFeatures": lambda: feature_rows(services),
                "SetFeature": partial(set_feature, services),
                "StopEngine": partial(stop_engine, services),
            },
        )
        self._compare(self._views)

    async def follow(self) -> None:
        """Tell every change from now on; never returns."""
        stop = self._services.engine_news.listen(self._tell_engines)
        try:
            await self._follow()
        finally:
            stop()

    async def _follow(self) -> None:
        await asyncio.gather(
            self._services.fleet.views.follow(self._tell_fleet),
            self._services.system.follow(self._tell_system),
            self._services.admission.waiting.follow(lambda _: self._move()),
            self._services.gateway.deferral.waiting.follow(lambda _: self._move()),
            self._services.governor.setting.follow(lambda _: self._tell_steady()),
            calmly(self._moved, self._tell_measured, self._clock),
            self._follow_rests(),
        )

    async def _follow_rests(self) -> None:
        """Tell each time that a backend takes requests again which its rate limit kept away; never returns."""
        async for _ in rest_ends(self._services.fleet.views, self._clock):
            self._tell_steady()

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
            backend = BackendObject(view, self._services, self._sender, self._enable)
            self._by_id[view.spec.id] = backend
            self._objects.add(backend.exported)

    def _tell_engines(self, _: object) -> None:
        self.exported.tell(measured=False)
        self._move()

    def _tell_system(self, _: SystemState) -> None:
        self._tell_steady()
        self._move()

    def _tell_steady(self) -> None:
        self.exported.tell(measured=False)
        for backend in self._by_id.values():
            backend.exported.tell(measured=False)

    def _tell_measured(self, _: int) -> None:
        self.exported.tell()
        for backend in self._by_id.values():
            backend.exported.tell()

    def _move(self) -> None:
        self._moved.set(self._moved.value + 1)

    def _values(self) -> dict[str, Any]:
        views, queue = self._views, self._services.admission.status()
        return {
            "BackendCount": len(views),
            "HealthyCount": sum(is_healthy(view) for view in views),
            "WithinModeCount": within_mode(
                views, self._services.system.value, self._services.governor.setting.value.row
            ),
            "InFlight": sum(view.in_flight for view in views),
            "Waiting": queue.waiting,
            "WaitingByPriority": dict(queue.by_priority),
            "OldestWaitSeconds": number(queue.oldest_wait_seconds),
            "Deferred": self._services.gateway.deferral.waiting.value,
            **engine_properties(self._services),
        }

    @property
    def _views(self) -> FleetView:
        return self._services.fleet.views.value

    def _view(self, backend_id: str) -> BackendView:
        for view in self._views:
            if view.spec.id == backend_id:
                return view
        raise unknown(UNKNOWN_BACKEND, backend_id, "backend", (view.spec.id for view in self._views))

    async def _enable(self, backend_id: str, enabled: bool) -> None:
        fleet = self._services.fleet
        if not fleet.has(backend_id):
            raise unknown(UNKNOWN_BACKEND, backend_id, "backend", (member.id for member in fleet.members.values()))
        fleet.set_enabled(backend_id, enabled)
        await self._services.store.written()


def _moving_part(view: BackendView) -> tuple[object, ...]:
    """What measurements can follow: a check that found everything as it was moves nothing, and sets no timer."""
    return view.spec, view.health, view.degraded, view.loaded, view.in_flight, view.watts


def _steady_part(view: BackendView) -> tuple[object, ...]:
    """What a request that comes or goes does not change: comparing it is cheap, and requests are many."""
    return view.spec, view.health, view.breakers, view.reason, view.models, view.slots, view.slots_from
