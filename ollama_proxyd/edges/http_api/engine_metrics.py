"""The engines that the proxy runs as metrics: how many stand where, what was loaded and evicted, and the memory."""

from collections.abc import Iterator
from math import isfinite
from typing import TYPE_CHECKING

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from ollama_proxyd.core.engine_instances import Phase
from ollama_proxyd.core.memory_budget import total
from ollama_proxyd.core.saved_prompts import SavedState
from ollama_proxyd.edges.http_api.counters import PREFIX

if TYPE_CHECKING:  # loaded only where engines are configured
    from ollama_proxyd.services.engines.pool import EnginePool


def engine_metrics(pool: "EnginePool | None") -> Iterator[Metric]:
    """Nothing where the proxy runs none; memory without a limit has no series of one."""
    if pool is None:
        return
    instances = pool.instances
    states = GaugeMetricFamily(
        f"{PREFIX}_engines", "Engines that the proxy runs, by where they stand", labels=("state",)
    )
    for phase in Phase:
        if phase is not Phase.GONE:
            states.add_metric((phase.value,), [each.phase for each in instances].count(phase))
    yield states
    yield CounterMetricFamily(f"{PREFIX}_engine_loads", "Models that such engines have loaded", value=pool.loads)
    what = "Engines that left the memory for another one"
    yield CounterMetricFamily(f"{PREFIX}_engine_evictions", what, value=pool.evictions)
    what = "Failures in a row of engines that ended unasked, or did not load"
    failures = GaugeMetricFamily(f"{PREFIX}_engine_failures", what, labels=("backend_id",))
    for backend_id in dict.fromkeys(each.backend_id for each in pool.ends):
        times = [each.times for each in pool.ends if each.backend_id == backend_id]
        failures.add_metric((backend_id,), max(times))
    yield failures
    limit = GaugeMetricFamily(f"{PREFIX}_engine_memory_limit_bytes", "Memory that they may have", labels=("memory",))
    used = GaugeMetricFamily(
        f"{PREFIX}_engine_memory_used_bytes", "Memory that they count as having", labels=("memory",)
    )
    held = [each.needs for each in instances if each.phase is not Phase.WAITING]
    for name, budget in pool.budgets.items():
        if isfinite(budget.limit):
            limit.add_metric((name,), budget.limit)
        used.add_metric((name,), total(held, name))
    yield from (limit, used)
    yield from _saved(pool.starter.prompts.state)


def _saved(state: SavedState) -> Iterator[Metric]:
    """Nothing where no prompts are kept."""
    if state.limit_bytes:
        what = "Prompts of stopped engines on the disk"
        yield GaugeMetricFamily(f"{PREFIX}_saved_prompts_bytes", what, value=state.size_bytes)
        tokens = CounterMetricFamily(f"{PREFIX}_saved_prompt_tokens", "Their tokens", labels=("way",))
        tokens.add_metric(("written",), state.saved_tokens)
        tokens.add_metric(("read",), state.read_tokens)
        yield tokens
