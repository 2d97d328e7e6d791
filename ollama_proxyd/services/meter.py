"""Owns what sensors showed of each backend's watts while it worked."""

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.binding import device_of
from ollama_proxyd.core.metering import Stretch, alone_on
from ollama_proxyd.core.readings import Conditions, SystemState
from ollama_proxyd.core.watts import Watts, learn_watts
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.inventory import FleetChanges
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.tasks import Tasks


class Meter:
    """Measured watts by backend.

    Those of other conditions, the power profile and the charger, are kept apart and are a first guess. What is seen
    while requests run counts when one of them was answered in full, and is forgotten when one fails.
    """

    def __init__(self, system: Cell[SystemState], fleet: Fleet, clock: Clock) -> None:
        self._system = system
        self._fleet = fleet
        self._clock = clock
        self._watts: dict[str, Watts] = {}
        """Those of the present conditions."""
        self._elsewhere: dict[Conditions, dict[str, Watts]] = {}
        self._conditions: Conditions | None = None
        self._places: dict[str, tuple[object, ...]] = {}
        """Where each backend ran when its watts were learned."""
        self._stretches: dict[str, Stretch] = {}
        fleet.reconciled.listen(self._note_changes)
        fleet.occupied.listen(self._note_work)

    def follow(self, tasks: Tasks) -> None:
        """Look whenever a sensor says something."""
        tasks.start("meter.sensors", self._system.follow(self._look))

    def _look(self, system: SystemState) -> None:
        """Note what each device draws, and under which conditions."""
        self._follow_conditions(Conditions.of(system))
        self._note_work()
        power = {device.id: device.power_w for device in system.devices}
        for device_id, stretch in self._stretches.items():
            under_way = sum([each.id == stretch.backend_id for each in self._fleet.at_work()])
            self._stretches[device_id] = stretch.after(power[device_id], under_way)

    def _note_work(self, _: object = None) -> None:
        """Note which backend works alone on which device."""
        if not (devices := self._system.value.devices):
            self._stretches.clear()
            return
        alone = alone_on(self._fleet.at_work(), devices)
        self._stretches = {device_id: self._stretch(device_id, each) for device_id, each in alone.items()}

    def _follow_conditions(self, conditions: Conditions) -> None:
        """Firmware sets watts by the power profile and the charger; what was seen under others is kept for them."""
        if conditions == self._conditions:
            return
        if self._conditions is not None:
            self._elsewhere[self._conditions] = dict(self._watts)
            self._stretches = {}
            seen = self._elsewhere.get(conditions, {})
            for backend_id, watts in self._watts.items():
                self._watts[backend_id] = seen.get(backend_id) or watts.first_guess()
                if self._fleet.has(backend_id):
                    self._fleet.note_watts(backend_id, self._watts[backend_id])
        self._conditions = conditions

    def observe(self, ended: AttemptEnded) -> None:
        """Learn from the end of an attempt; one that failed or was left teaches nothing."""
        for device_id, stretch in self._stretches.items():
            if stretch.backend_id == ended.backend_id and stretch.seconds > 0:
                if ended.succeeded and self._is_on(stretch.backend_id, device_id):
                    self._learn(stretch)
                self._stretches[device_id] = stretch.emptied()

    def _note_changes(self, changes: FleetChanges) -> None:
        for backend_id in changes.added | changes.changed:
            if self._places.get(backend_id) != self._place(backend_id):
                for watts in (self._watts, *self._elsewhere.values()):
                    watts.pop(backend_id, None)
            self._fleet.note_watts(backend_id, self._watts.get(backend_id))

    def _is_on(self, backend_id: str, device_id: str) -> bool:
        """Whether a backend runs on a device still: what it drew on one says nothing of another."""
        if not self._fleet.has(backend_id):
            return False
        device = device_of(self._fleet.view(backend_id).spec, self._system.value.devices)
        return device is not None and device.id == device_id

    def _place(self, backend_id: str) -> tuple[object, ...]:
        spec = self._fleet.view(backend_id).spec
        return spec.hardware, spec.pci_address, spec.is_local

    def _stretch(self, device_id: str, backend_id: str) -> Stretch:
        stretch = self._stretches.get(device_id)
        if stretch is not None and stretch.backend_id == backend_id:
            return stretch
        return Stretch(backend_id, since_s=self._clock.monotonic())

    def _learn(self, stretch: Stretch) -> None:
        backend_id = stretch.backend_id
        power_w = stretch.energy_j / stretch.seconds
        learned = learn_watts(self._watts.get(backend_id), power_w, stretch.seconds, stretch.under_way)
        if learned is not None:
            self._watts[backend_id], self._places[backend_id] = learned, self._place(backend_id)
            self._fleet.note_watts(backend_id, learned)
