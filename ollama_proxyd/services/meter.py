"""Owns what sensors showed of each backend's watts while it worked."""

from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.learning import Watts, learn_watts
from ollama_proxyd.core.metering import Stretch, alone_on
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.ledger import Outcome
from ollama_proxyd.services.ports import Clock


class Meter:
    """Measured watts by backend; they outlive a reload of the configuration, as learned speeds do.

    What is seen while requests run counts when one of them was answered in full, and is forgotten when one fails.
    """

    def __init__(self, system: Cell[SystemState], clock: Clock) -> None:
        self._system = system
        self._clock = clock
        self._watts: dict[str, Watts] = {}
        self._places: dict[str, tuple[object, ...]] = {}
        """Where each backend was when its watts were learned."""
        self._fleets: list[Fleet] = []
        self._stretches: dict[str, Stretch] = {}

    async def follow_sensors(self) -> None:
        """Look whenever a sensor says something; never returns."""
        async for _ in self._system.changes():
            self.look()

    async def follow(self, fleet: Fleet) -> None:
        """Tell a fleet what is known and what is learned, and see when its backends work; never returns."""
        self._fleets.append(fleet)
        for view in fleet.views.value:
            self._forget_if_moved(view.spec)
        for backend_id, watts in self._watts.items():
            fleet.note_watts(backend_id, watts)
        try:
            async for _ in fleet.views.changes():
                self.look()
        finally:
            self._fleets.remove(fleet)

    def look(self) -> None:
        """Take note of who works on which device now, and of what the device draws."""
        devices = self._system.value.devices
        alone = alone_on((fleet.views.value for fleet in self._fleets), devices)
        power = {device.id: device.power_w for device in devices}
        self._stretches = {
            device_id: self._stretch(device_id, backend_id).after(power[device_id])
            for device_id, backend_id in alone.items()
        }

    def observe(self, outcome: Outcome) -> None:
        """Learn from the end of a request; one that failed or was left teaches nothing."""
        for device_id, stretch in self._stretches.items():
            if stretch.backend_id == outcome.backend_id and stretch.seconds > 0:
                if outcome.succeeded:
                    self._learn(stretch)
                self._stretches[device_id] = stretch.emptied()

    def _forget_if_moved(self, spec: BackendSpec) -> None:
        """What a backend drew on one device says nothing of another, where a reload has put it on one."""
        place = (spec.hardware, spec.pci_address, spec.is_local)
        if self._places.setdefault(spec.id, place) != place:
            self._places[spec.id] = place
            self._watts.pop(spec.id, None)

    def _stretch(self, device_id: str, backend_id: str) -> Stretch:
        stretch = self._stretches.get(device_id)
        if stretch is not None and stretch.backend_id == backend_id:
            return stretch
        return Stretch(backend_id, since_s=self._clock.monotonic())

    def _learn(self, stretch: Stretch) -> None:
        backend_id = stretch.backend_id
        learned = learn_watts(self._watts.get(backend_id), stretch.energy_j / stretch.seconds, stretch.seconds)
        if learned is not None:
            self._watts[backend_id] = learned
            for fleet in self._fleets:
                fleet.note_watts(backend_id, learned)
