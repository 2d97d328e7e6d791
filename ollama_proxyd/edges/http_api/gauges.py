"""The state of the fleet and the mode as Prometheus gauges, read at the moment of scraping."""

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from ollama_proxyd import __version__
from ollama_proxyd.core.binding import device_of
from ollama_proxyd.core.fleet import BackendView, Health
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import DeviceState, PowerState, Reading, SystemState
from ollama_proxyd.edges.http_api.counters import PREFIX
from ollama_proxyd.services.bundle import Services

JOULES_PER_WH = 3600.0


class FleetGauges(Collector):
    """Reads the cells of the services; nothing is remembered here."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        """Every gauge, each backend that is known now."""
        services = self._services
        views = services.fleet.views.value
        build = InfoMetricFamily(f"{PREFIX}_build", "The program that answers")
        build.add_metric((), {"version": __version__})
        yield build
        yield _gauge("requests_in_flight", "Requests under way in the proxy", services.gateway.in_flight)
        yield from _of_backends(views)
        yield from _of_devices(views, services.system.value.devices)
        yield from _of_power(services.system.value)
        yield _energy(services, views)
        yield _modes(services)

    def describe(self) -> Iterator[Metric]:
        """Nothing: what there is to collect is known only when asked."""
        return iter(())


def _of_backends(views: tuple[BackendView, ...]) -> Iterator[Metric]:
    health = _by_backend("backend_health", "1 when the backend can serve, else 0")
    in_flight = _by_backend("backend_in_flight", "Requests under way on the backend")
    queue = _by_backend("backend_queue_depth", "Requests beyond what the backend answers at the same time")
    power = _by_backend("backend_power_watts", "Configured power while the backend works; absent when unknown")
    for view in views:
        label = (view.spec.id,)
        health.add_metric(label, float(view.health is Health.UP))
        in_flight.add_metric(label, view.in_flight)
        queue.add_metric(label, max(0, view.in_flight - view.slots))
        if view.spec.profile.power_w is not None:
            power.add_metric(label, view.spec.profile.power_w)
    return iter((health, in_flight, queue, power))


def _of_devices(views: tuple[BackendView, ...], devices: tuple[DeviceState, ...]) -> Iterator[Metric]:
    """What the devices say on which backends run; what is unknown is absent."""
    heat = _by_backend("backend_temperature_celsius", "Hottest sensor of the device that the backend runs on")
    fan = _by_backend("backend_fan_speed_percent", "Fan of the device that the backend runs on")
    draw = _by_backend("backend_device_power_watts", "Measured power of the device that the backend runs on")
    asleep = _by_backend("backend_asleep", "1 when the device that the backend runs on sleeps, else 0")
    for view in views:
        device = device_of(view.spec, devices)
        if device is None:
            continue
        label = (view.spec.id,)
        for metric, reading in ((heat, device.temperature_c), (fan, device.fan_percent), (draw, device.power_w)):
            if isinstance(reading, Reading):
                metric.add_metric(label, reading.value)
        if device.power_state is not PowerState.UNKNOWN:
            asleep.add_metric(label, float(device.power_state is PowerState.ASLEEP))
    return iter((heat, fan, draw, asleep))


def _of_power(system: SystemState) -> Iterator[Metric]:
    if isinstance(system.on_battery, Reading):
        yield _gauge("on_battery", "1 when the machine runs on its battery, else 0", float(system.on_battery.value))
    if isinstance(system.battery_percent, Reading):
        yield _gauge("battery_percent", "Charge of the battery", system.battery_percent.value)


def _energy(services: Services, views: tuple[BackendView, ...]) -> Metric:
    energy = CounterMetricFamily(
        f"{PREFIX}_energy_consumed_wh", "Estimated energy of answers", labels=("backend_id", "hardware")
    )
    for view in views:
        energy_wh = services.ledger.totals(view.spec.id).energy_j / JOULES_PER_WH
        energy.add_metric((view.spec.id, view.spec.hardware.value), energy_wh)
    return energy


def _modes(services: Services) -> Metric:
    setting = services.governor.setting.value
    modes = GaugeMetricFamily(
        f"{PREFIX}_efficiency_mode", "1 for the mode that was chosen and the one in effect", labels=("mode", "role")
    )
    for mode in Mode:
        modes.add_metric((mode.value, "chosen"), float(mode is setting.chosen))
        modes.add_metric((mode.value, "effective"), float(mode is setting.effective))
    return modes


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", help_text, value=value)


def _by_backend(name: str, help_text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", help_text, labels=("backend_id",))
