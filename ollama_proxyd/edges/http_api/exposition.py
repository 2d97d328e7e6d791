"""All metrics in the formats that scrapers ask for: what was counted, and the state of the fleet at that moment."""

import re
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from ollama_proxyd import __version__
from ollama_proxyd.core.breaker import Phase
from ollama_proxyd.core.budget import Budget
from ollama_proxyd.core.fleet import FleetView
from ollama_proxyd.core.model_sync import PullPhase
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import Maybe, Reading, Unavailable
from ollama_proxyd.core.status import Status
from ollama_proxyd.edges.http_api.counters import PREFIX, Counters
from ollama_proxyd.edges.http_api.engine_metrics import engine_metrics
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.status import snapshot

_ODD_VERSION = re.compile(r"version=(?!\d{1,3}(\.\d{1,3}){0,2}\s*([;,]|$))", re.ASCII)
"""A version that is none: the library that writes the formats compares them as numbers."""

_JOULES_PER_WH = 3600.0
_OF_BACKENDS = {
    "in_flight": "Requests under way on the backend",
    "rated_power_watts": "Configured power while the backend works; absent when unknown",
    "power_watts": "Measured power of the device that the backend runs on",
    "temperature_celsius": "Hottest sensor of the device that the backend runs on",
    "asleep": "1 when the device that the backend runs on sleeps, else 0",
}
"""The fields of a backend's status that are gauges, under their own names."""

_OF_FRONTENDS = {
    "requests": "Requests that came to the front end",
    "errors": "Those of them that failed",
    "refused": "Requests that the limits of the front end kept out",
}
"""The fields of a front end's status that are counters, under their own names."""


def expose(accept: str, *collectors: Collector) -> tuple[bytes, str]:
    """All metrics, and their content type."""
    registry = CollectorRegistry()
    for each in (ProcessCollector(registry=None), *collectors):
        registry.register(each)
    encode, content_type = choose_encoder("" if _ODD_VERSION.search(accept) else accept)
    return encode(registry), content_type


class Counted(Collector):
    """What was counted as requests ended."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        """Every sum and distribution."""
        for tally in self._counters.tallies:
            counter = CounterMetricFamily(f"{PREFIX}_{tally.name}", tally.what, labels=tally.labels)
            for labels, value in tally.sums.items():
                counter.add_metric(labels, value)
            yield counter
        for spread in self._counters.spreads:
            histogram = HistogramMetricFamily(f"{PREFIX}_{spread.name}", spread.what, labels=spread.labels)
            for labels, (counts, total) in spread.found.items():
                buckets = zip([*map(floatToGoString, spread.bounds), "+Inf"], accumulate(counts), strict=True)
                histogram.add_metric(labels, list(buckets), total[0])
            yield histogram

    def describe(self) -> Iterator[Metric]:
        """Nothing: what there is to collect is known only when asked."""
        return iter(())


class StatusGauges(Collector):
    """The status as gauges, taken at the moment of scraping; what is unknown is absent."""

    def __init__(self, services: Services, held_bytes: int) -> None:
        self._services = services
        self._held_bytes = held_bytes

    def collect(self) -> Iterator[Metric]:
        """Every gauge, each backend that is known now."""
        services, status = self._services, snapshot(self._services)
        build = InfoMetricFamily(f"{PREFIX}_build", "The program that answers")
        build.add_metric((), {"version": __version__})
        yield build
        yield _gauge("requests_in_flight", "Requests under way in the proxy", services.gateway.in_flight)
        yield _gauge("body_bytes", "Bytes held for the bodies of requests", self._held_bytes)
        yield from _queue(status)
        yield _gauge("requests_deferred", "Requests that wait for the charger", status.queue.deferred)
        unloads, saved_j = status.unloading.models, status.unloading.saved_joules
        yield _gauge("models_unloaded", "Models unloaded before their engine would have done it", unloads)
        what = "Estimated joules saved by that, less what loading again cost"
        yield _gauge("unloading_saved_joules", what, saved_j)
        yield from _cache(services)
        saver = services.power_saver
        yield _gauge("power_saver_held", "1 while the power profile power-saver is held, else 0", float(saver.is_held))
        yield _gauge("power_saver_saved_joules", "Measured joules that answers under it needed less", saver.saved_j)
        yield from _of_backends(status)
        yield _breakers(services.fleet.views.value)
        yield from _reading("on_battery", "1 when the machine runs on its battery, else 0", status.system.on_battery)
        yield from _reading("battery_percent", "Charge of the battery", status.system.battery_percent)
        yield from _energy(services, status)
        yield from _accounts(status)
        yield from _budget(status.budget)
        yield _modes(status)
        yield from _frontends(status)
        yield from _model_sync(services, status)
        yield from engine_metrics(services.pool())

    def describe(self) -> Iterator[Metric]:
        """Nothing: what there is to collect is known only when asked."""
        return iter(())


def _queue(status: Status) -> Iterator[Metric]:
    depth = GaugeMetricFamily(f"{PREFIX}_queue_depth", "Requests that wait for a backend", labels=("priority",))
    for priority, count in status.queue.by_priority.items():
        depth.add_metric((priority,), count)
    yield depth
    oldest_s = status.queue.oldest_wait_seconds
    if oldest_s is not None:
        yield _gauge("queue_oldest_wait_seconds", "How long the oldest of them waits", oldest_s)


def _cache(services: Services) -> Iterator[Metric]:
    totals = services.ledger.cache
    yield CounterMetricFamily(f"{PREFIX}_cache_hits", "Requests that got a kept answer", value=totals.hits)
    what = "What the answers that were given again had cost, as far as is known"
    yield CounterMetricFamily(f"{PREFIX}_cache_saved_joules", what, value=totals.saved_j)
    yield _gauge("cache_bytes", "Memory of kept answers, about", services.answers.size_bytes)
    yield _gauge("cache_answers", "Answers that are kept", len(services.answers))


def _of_backends(status: Status) -> Iterator[Metric]:
    health = _by_backend("health", "1 when the backend can serve, else 0")
    fan = _by_backend("fan_speed_percent", "Fan of the device that the backend runs on")
    for backend in status.backends:
        health.add_metric((backend.id,), float(backend.health == "up"))
    for device in status.devices:
        if isinstance(percent := device.state.fan_percent, Reading):
            for backend_id in device.backends:
                fan.add_metric((backend_id,), percent.value)
    yield from (health, fan, _slots(status))
    for field, what in _OF_BACKENDS.items():
        metric = _by_backend(field, what)
        for backend in status.backends:
            if not isinstance(value := getattr(backend, field), Unavailable):
                metric.add_metric((backend.id,), float(value))
        yield metric


def _slots(status: Status) -> Metric:
    slots = _by_backend("slots", "Requests that the backend answers at once, by how that is known", "source")
    for backend in status.backends:
        slots.add_metric((backend.id, backend.slots_from), backend.slots)
    return slots


def _breakers(fleet: FleetView) -> Metric:
    what = "Breakers that keep requests out: 1 while open, 0.5 while one request tries; absent while closed"
    gauge = GaugeMetricFamily(f"{PREFIX}_backend_breaker", what, labels=("backend_id", "fault"))
    for view in fleet:
        faults: dict[str, float] = {}
        for each in view.breakers:
            if (value := _OF_PHASE.get(each.phase)) is not None:
                faults[each.fault.value] = max(value, faults.get(each.fault.value, 0.0))
        for fault, value in faults.items():
            gauge.add_metric((view.spec.id, fault), value)
    return gauge


_OF_PHASE = {Phase.OPEN: 1.0, Phase.HALF_OPEN: 0.5}


def _reading(name: str, what: str, reading: Maybe[bool] | Maybe[float]) -> Iterator[Metric]:
    if isinstance(reading, Reading):
        yield _gauge(name, what, float(reading.value))


def _energy(services: Services, status: Status) -> Iterator[Metric]:
    labels = ("backend_id", "hardware")
    energy = CounterMetricFamily(f"{PREFIX}_energy_consumed_wh", "Energy of answers", labels=labels)
    error = CounterMetricFamily(f"{PREFIX}_energy_consumed_error_wh", "How far that may be wrong", labels=labels)
    for backend in status.backends:
        totals = services.ledger.totals(backend.id)
        energy.add_metric((backend.id, backend.hardware), totals.energy_j / _JOULES_PER_WH)
        error.add_metric((backend.id, backend.hardware), totals.energy_error_j / _JOULES_PER_WH)
    yield from (energy, error)


def _accounts(status: Status) -> Iterator[Metric]:
    what = "Energy of devices, by what it was spent on: answers, idle tails, or what they would have drawn anyway"
    labels = ("device", "account", "source")
    joules = CounterMetricFamily(f"{PREFIX}_energy_joules", what, labels=labels)
    error = CounterMetricFamily(f"{PREFIX}_energy_error_joules", "How far that may be wrong", labels=labels)
    for each in status.energy:
        if each.total_joules is not None and each.total_error_joules is not None:
            values = each.device, each.account, each.source or ""
            joules.add_metric(values, each.total_joules)
            error.add_metric(values, each.total_error_joules)
    yield from (joules, error)


def _budget(budget: Budget) -> Iterator[Metric]:
    yield _gauge("budget_spent_wh", "Energy of answers and idle tails of this day", budget.spent_wh)
    if budget.limit_wh is not None:
        yield _gauge("budget_limit_wh", "The budget of this day; absent where there is none", budget.limit_wh)


def _modes(status: Status) -> Metric:
    what, setting = "1 for the mode that was chosen and the one in effect", status.setting
    modes = GaugeMetricFamily(f"{PREFIX}_efficiency_mode", what, labels=("mode", "role"))
    for mode in Mode:
        modes.add_metric((mode.value, "chosen"), float(mode is setting.chosen))
        modes.add_metric((mode.value, "effective"), float(mode is setting.effective))
    return modes


def _frontends(status: Status) -> Iterator[Metric]:
    """Nothing where there are none; their names are the configuration's, and so bounded."""
    for name, what in _OF_FRONTENDS.items() if status.frontends else ():
        metric = CounterMetricFamily(f"{PREFIX}_frontend_{name}", what, labels=("frontend",))
        for frontend in status.frontends:
            metric.add_metric((frontend.name,), getattr(frontend, name))
        yield metric


def _model_sync(services: Services, status: Status) -> Iterator[Metric]:
    """Nothing before a model was required."""
    sync, states = services.frontends.sync, [each.state for each in status.model_sync]
    if not (states or sync.pulled):
        return
    pulls = GaugeMetricFamily(f"{PREFIX}_model_sync_pulls", "Required models that backends lack", labels=("state",))
    for state in PullPhase:
        pulls.add_metric((state.value,), states.count(state.value))
    yield pulls
    yield CounterMetricFamily(f"{PREFIX}_model_sync_pulled", "Required models that were pulled", value=sync.pulled)


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", what, value=value)


def _by_backend(name: str, what: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_backend_{name}", what, labels=("backend_id", *labels))
