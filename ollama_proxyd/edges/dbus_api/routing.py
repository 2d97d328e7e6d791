"""ie.fio.OllamaProxy.Routing: where requests went and why, and where one would go."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import islice
from typing import Any

from dbus_fast import Variant

from ollama_proxyd.core.budget import Budget, budget_fields
from ollama_proxyd.core.energy_books import books_fields, read_by, read_days
from ollama_proxyd.core.energy_hours import hours_fields
from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.decision_fields import decision_fields
from ollama_proxyd.core.reasons import reason_fields
from ollama_proxyd.core.status import LastDecision, PowerSaverStatus, Today, UnloadingStatus
from ollama_proxyd.edges.dbus_api.contract import ROOT_PATH, contract
from ollama_proxyd.edges.dbus_api.errors import INVALID_ARGUMENT, refused_as
from ollama_proxyd.edges.dbus_api.exported import Exported, SignalSender
from ollama_proxyd.edges.dbus_api.following import calmly
from ollama_proxyd.edges.dbus_api.question import read_question
from ollama_proxyd.edges.dbus_api.values import NO_COUNT, facts, int32, percent_of, plain_facts, reason_facts
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ledger import Ledger, RequestRouted
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.status import last_decision, power_saver, today, unloading

MINUTES_PER_DAY = 24 * 60
LONGEST_SLEEP_S = 3600.0


class Routing:
    """The object /ie/fio/OllamaProxy/Routing."""

    def __init__(self, services: Services, sender: SignalSender, clock: Clock, endpoints: tuple[str, str]) -> None:
        self._services = services
        self._endpoint, self._grpc_endpoint = endpoints
        self._ledger = services.ledger
        self._clock = clock
        self._moved: Cell[int] = Cell(0)
        self.exported = Exported(
            path=f"{ROOT_PATH}/Routing",
            contract=contract("Routing"),
            sender=sender,
            values=self._values,
            methods={
                "GetRoutingStats": self._stats,
                "GetLastDecisions": lambda count: last_decisions(self._ledger, count),
                "GetBackendDistribution": lambda: distribution(self._ledger),
                "SimulateRouting": self._simulate,
                "GetFrontends": self._frontends,
                "GetModelSync": self._model_sync,
                "GetEnergy": self._energy,
                "GetEnergyHours": self._energy_hours,
                "Explain": lambda question: plain_facts(decision_fields(self._decide(question))),
            },
        )

    async def follow(self) -> None:
        """Tell every change from now on; never returns."""
        services = self._services
        topics = (self._ledger.outcomes, services.energy.booked)  # joules may be known only after the end
        forget = [self._ledger.routed.listen(self._note_routed), *(each.listen(self._move) for each in topics)]
        cells = (services.budget.reason, services.budget.settings)
        levers = (services.power_saver.holding, services.keeper.savings.unloads)
        try:
            await asyncio.gather(
                calmly(self._moved, lambda _: self.exported.tell(), self._clock),
                self._await_midnight(),
                *(each.follow(self._move) for each in (*cells, *levers)),
            )
        finally:
            for each in forget:
                each()

    async def _await_midnight(self) -> None:
        """The day's counts begin anew without any request; local time can jump, so it is looked at every hour."""
        while True:
            left_s = (MINUTES_PER_DAY - self._clock.local_minute()) * 60
            await self._clock.sleep(min(max(left_s, 1.0), LONGEST_SLEEP_S))
            self._move()

    def _move(self, _: object = None) -> None:
        self._moved.set(self._moved.value + 1)

    def _note_routed(self, routed: RequestRouted) -> None:
        self._move()
        decision = routed.decision
        if routed.backend_id is None or decision is None:
            return
        latency_ms = next(
            (int32(each.latency_ms) for each in decision.ranked if each.backend_id == routed.backend_id), NO_COUNT
        )
        self.exported.signal("RequestRouted", routed.backend_id, str(decision.reason), latency_ms)

    def _values(self) -> dict[str, Any]:
        services = self._services
        return {
            "TotalRequests": self._ledger.overall.requests,
            "LastDecision": _last(last_decision(self._ledger)),
            "Savings": _levers(power_saver(services), unloading(services)),
            "Today": _today(today(services), services.budget.now),
            "Endpoint": self._endpoint,
            "GrpcEndpoint": self._grpc_endpoint,
        }

    def _stats(self) -> dict[str, Variant]:
        overall = self._ledger.overall
        success = overall.requests - overall.failures - overall.cancelled
        return facts(
            {
                "total_requests": ("x", overall.requests),
                "total_success": ("x", success),
                "total_errors": ("x", overall.failures),
                "total_cancelled": ("x", overall.cancelled),
                "backend_count": ("i", len(self._services.fleet.views.value)),
                "success_rate": ("d", percent_of(overall.requests, success)),
            }
        )

    async def _energy(self, days: int, by: str) -> dict[str, Variant]:
        services = self._services
        with refused_as({ErrorKind.INVALID_REQUEST: INVALID_ARGUMENT}):
            books = await services.history.books(read_days(days), read_by(by))
        battery_wh, trouble = services.system.value.battery_full_wh, services.history.store.trouble
        told = books_fields(books, battery_wh, trouble)
        return plain_facts({**told, "budget": budget_fields(services.budget.now)})

    async def _energy_hours(self) -> dict[str, Variant]:
        history = self._services.history
        return plain_facts(hours_fields(await history.hours(), history.store.trouble))

    def _frontends(self) -> list[dict[str, Variant]]:
        rows = [asdict(each) for each in self._services.frontends.status()]
        return [plain_facts({name: list(v) if isinstance(v, tuple) else v for name, v in row.items()}) for row in rows]

    def _model_sync(self) -> list[dict[str, Variant]]:
        pulls = self._services.frontends.sync.status()
        return [plain_facts({**asdict(replace(each, reason=None)), **reason_fields(each.reason)}) for each in pulls]

    def _decide(self, asked: Mapping[str, Variant]) -> Decision:
        services = self._services
        question = read_question(asked, services.system.value.devices)
        with refused_as({ErrorKind.INVALID_REQUEST: INVALID_ARGUMENT, ErrorKind.FORBIDDEN: INVALID_ARGUMENT}):
            query = services.frontends.in_place(question.query, question.frontend)
        return services.gateway.explain(query, question.mode, question.system)

    def _simulate(self, asked: Mapping[str, Variant]) -> tuple[str, str]:
        decision = self._decide(asked)
        return _backend(decision), str(decision.reason)


def last_decisions(ledger: Ledger, count: int) -> list[dict[str, Variant]]:
    """The last decisions, newest first, as GetLastDecisions tells them."""
    decided = ((each.unix_s, each.decision) for each in reversed(ledger.recent()) if each.decision is not None)
    return [_decided(*each) for each in islice(decided, count)]


def _decided(unix_s: float, decision: Decision) -> dict[str, Variant]:
    rows: dict[str, tuple[str, Any]] = {
        "unix_seconds": ("x", unix_s),
        "mode": ("s", decision.mode.value),
        "effective_mode": ("s", decision.effective_mode.value),
    }
    for best in decision.ranked[:1]:
        rows |= {"backend": ("s", best.backend_id), "model": ("s", best.model), "power_watts": ("d", best.power_w)}
        rows |= {"latency_ms": ("i", best.latency_ms), "energy_joules": ("d", best.energy_j)}
    return {**facts(rows), **reason_facts(decision.reason)}


def distribution(ledger: Ledger) -> dict[str, float]:
    """Which percentage of all attempts each backend got."""
    counts = {backend_id: totals.requests for backend_id, totals in ledger.by_backend.items()}
    everything = sum(counts.values())
    return {backend_id: 100 * count / everything for backend_id, count in counts.items() if count}


def _backend(decision: Decision) -> str:
    return decision.ranked[0].backend_id if decision.ranked else ""


def _last(last: LastDecision | None) -> dict[str, Variant]:
    """The last decision; what is not known is absent."""
    if last is None:
        return {}
    rows: dict[str, tuple[str, Any]] = {
        "unix_seconds": ("x", last.unix_s),
        "backend": ("s", last.backend),
        "model": ("s", last.model),
        "mode": ("s", last.mode),
        "effective_mode": ("s", last.effective_mode),
        "instead_of": ("s", last.instead_of),
        "power_watts": ("d", last.power_watts),
        "energy_joules": ("d", last.energy_joules),
        "instead_of_joules": ("d", last.instead_of_joules),
        "latency_ms": ("i", last.latency_ms),
    }
    return {**facts(rows), **reason_facts(last.reason)}


def _today(day: Today, budget: Budget) -> dict[str, Variant]:
    counts = ("requests", "errors", "prompt_tokens", "completion_tokens", "compared", "cached_answers")
    rows: dict[str, tuple[str, Any]] = {key: ("x", getattr(day, key)) for key in counts}
    rows |= {key: ("d", getattr(day, key)) for key in _JOULES_OF_TODAY}
    rows |= {"budget_watt_hours": ("d", budget.limit_wh), "spent_watt_hours": ("d", budget.spent_wh)}
    rows |= {"budget_reason": ("s", None if budget.reason is None else str(budget.reason))}
    rows |= {key: ("s", getattr(day, key)) for key in ("energy_source", "idle_tail_source")}
    rows |= {"money_spent": ("a{sd}", day.money_spent or None)}
    return facts(rows)


def _levers(saver: PowerSaverStatus, unloading: UnloadingStatus) -> dict[str, Variant]:
    """What the daemon's own levers brought since it started; what was never done is absent."""
    rows: dict[str, tuple[str, Any]] = {
        "power_saver_held": ("b", saver.held),
        "power_saver_answers": ("x", saver.answers),
        "power_saver_saved_joules": ("d", saver.saved_joules if saver.answers else None),
        "unloaded_models": ("x", unloading.models),
        "unloading_saved_joules": ("d", unloading.saved_joules if unloading.models else None),
    }
    return facts(rows)


_JOULES_OF_TODAY = (
    "energy_joules",
    "energy_error_joules",
    "idle_tail_joules",
    "idle_tail_error_joules",
    "saved_joules",
    "cache_saved_joules",
)
