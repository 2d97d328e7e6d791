"""When a reading of a device's power tells what a backend draws: while that backend alone works on the device."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ollama_proxyd.core.binding import device_of
from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.readings import DeviceState, Maybe, Reading
from ollama_proxyd.core.values import value
from ollama_proxyd.core.watts import is_plausible_w


@value
class Stretch:
    """A time with one backend alone at work on a device, and the power measured in it.

    `read_s` is when the last reading within it was taken. `energy_j` over `seconds` is the mean of those that count.
    """

    backend_id: str
    since_s: float
    read_s: float | None = None
    energy_j: float = 0.0
    seconds: float = 0.0
    requests_s: float = 0.0
    """The time of all requests in it together."""

    @property
    def under_way(self) -> float:
        """How many requests there were, on the mean."""
        return self.requests_s / self.seconds

    def after(self, power_w: Maybe[float], under_way: int) -> "Stretch":
        """The stretch after a look at the sensor.

        A reading covers the time since the reading before, as energy counters and averaging drivers do. So it counts if
        both were taken within the stretch: the first one only marks from when on. A repeated reading is ignored, and so
        is an implausible one.
        """
        if not isinstance(power_w, Reading):
            return self
        before_s = self.since_s if self.read_s is None else self.read_s
        if power_w.at_s <= before_s:
            return self
        marked = replace(self, read_s=power_w.at_s)
        if self.read_s is None or not is_plausible_w(power_w.value):
            return marked
        elapsed_s = power_w.at_s - self.read_s
        return replace(
            marked,
            energy_j=self.energy_j + power_w.value * elapsed_s,
            seconds=self.seconds + elapsed_s,
            requests_s=self.requests_s + under_way * elapsed_s,
        )

    def emptied(self) -> "Stretch":
        """The stretch going on, with what was seen so far taken out of it."""
        return replace(self, energy_j=0.0, seconds=0.0, requests_s=0.0)


def alone_on(at_work: Iterable[BackendSpec], devices: tuple[DeviceState, ...]) -> Mapping[str, str]:
    """By device id, the backend that is the only one at work there."""
    found: dict[str, str] = {}
    shared: set[str] = set()
    for spec in at_work:
        device = device_of(spec, devices)
        if device is not None and found.setdefault(device.id, spec.id) != spec.id:
            shared.add(device.id)
    for device_id in shared:
        del found[device_id]
    return found
