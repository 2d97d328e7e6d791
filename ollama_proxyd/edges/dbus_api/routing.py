"""ie.fio.OllamaProxy.Routing: where requests went and why, and where one would go."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from dbus_fast import Variant

from ollama_proxyd import __version__
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.decision_fields import decision_fields
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.status import LastDecision, Today
from ollama_proxyd.edges.dbus_api.contract import ROOT_PATH, contract
from ollama_proxyd.edges.dbus_api.exported import Exported
from ollama_proxyd.edges.dbus_api.following import calmly
from ollama_proxyd.edges.dbus_api.question import read_question
from ollama_proxyd.edges.dbus_api.signals import PropertyEmitter, SignalSender
from ollama_proxyd.edges.dbus_api.values import NO_COUNT, NOT_A_NUMBER, Facts, int32, int64
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ledger import Ledger, RequestRouted
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.status import last_decision, today

MINUTES_PER_DAY = 24 * 60
LONGEST_SLEEP_S = 3600.0


class Routing:
    """The object /ie/fio/OllamaProxy/Routing."""

    def __init__(self, services: Services, sender: SignalSender, clock: Clock, endpoint: str) -> None:
        self._services = services
        self._endpoint = endpoint
        self._ledger = services.ledger
        self._clock = clock
        self._moved: Cell[int] = Cell(0)
        self.exported = Exported(
            path=f"{ROOT_PATH}/Routing",
            contract=contract("Routing"),
            values=self._values,
            methods={
                "GetRoutingStats": self._stats,
                "GetLastDecisions": lambda count: last_decisions(self._ledger, count),
                "GetBackendDistribution": lambda: distribution(self._ledger),
                "SimulateRouting": self._simulate,
                "Explain": lambda question: json.dumps(decision_fields(self._decide(question))),
            },
        )
        self._emitter = PropertyEmitter(self.exported.path, self.exported.contract, sender, self._values())

    async def follow(self) -> None:
        """Tell every change from now on; never returns."""
        forget = (self._ledger.routed.listen(self._note_routed), self._ledger.outcomes.listen(lambda _: self._move()))
        try:
            await asyncio.gather(
                calmly(self._moved, lambda _: self._emitter.update(self._values()), self._clock), self._await_midnight()
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

    def _move(self) -> None:
        self._moved.set(self._moved.value + 1)

    def _note_routed(self, routed: RequestRouted) -> None:
        self._move()
        decision = routed.decision
        if routed.backend_id is None or decision is None:
            return
        latency_ms = next(
            (int32(each.latency_ms) for each in decision.ranked if each.backend_id == routed.backend_id), NO_COUNT
        )
        self._emitter.signal("RequestRouted", routed.backend_id, str(decision.reason), latency_ms)

    def _values(self) -> dict[str, Any]:
        return {
            "TotalRequests": self._ledger.overall.requests,
            "LastDecision": _last(last_decision(self._ledger)),
            "Today": _today(today(self._ledger)),
            "Endpoint": self._endpoint,
            "Version": __version__,
        }

    def _stats(self) -> dict[str, Variant]:
        overall, facts = self._ledger.overall, Facts()
        success = overall.requests - overall.failures - overall.cancelled
        facts.say("total_requests", "x", overall.requests)
        facts.say("total_success", "x", success)
        facts.say("total_errors", "x", overall.failures)
        facts.say("total_cancelled", "x", overall.cancelled)
        facts.say("backend_count", "i", len(self._services.fleet.views.value))
        if overall.requests:
            facts.say("success_rate", "d", 100 * success / overall.requests)
        else:
            facts.lack("success_rate", Reason("no_request_yet"))
        return facts.body()

    def _decide(self, asked: Mapping[str, Variant]) -> Decision:
        services = self._services
        question = read_question(asked, services.system.value.devices)
        return services.gateway.explain(question.query, question.mode, question.system)

    def _simulate(self, asked: Mapping[str, Variant]) -> tuple[str, str]:
        decision = self._decide(asked)
        return _backend(decision), str(decision.reason)


def last_decisions(ledger: Ledger, count: int) -> list[tuple[int, str, str, float, int]]:
    """The last decisions, newest first, as GetLastDecisions tells them."""
    rows: list[tuple[int, str, str, float, int]] = []
    for outcome in reversed(ledger.recent()):
        if outcome.decision is None or len(rows) == count:
            continue
        best = outcome.decision.ranked[0] if outcome.decision.ranked else None
        power_w, latency_ms = (best.power_w, int32(best.latency_ms)) if best else (NOT_A_NUMBER, NO_COUNT)
        reason = str(outcome.decision.reason)
        rows.append((int64(outcome.unix_s), _backend(outcome.decision), reason, power_w, latency_ms))
    return rows


def distribution(ledger: Ledger) -> dict[str, float]:
    """Which percentage of the routed requests each backend got."""
    counts = {backend_id: totals.requests for backend_id, totals in ledger.by_backend.items()}
    everything = sum(counts.values())
    return {backend_id: 100 * count / everything for backend_id, count in counts.items() if count}


def _backend(decision: Decision) -> str:
    return decision.ranked[0].backend_id if decision.ranked else ""


def _last(last: LastDecision | None) -> dict[str, Variant]:
    """The last decision; what is not known is absent."""
    if last is None:
        return {}
    facts = Facts()
    facts.say("timestamp", "x", last.unix_s)
    facts.say_reason(last.reason)
    for key in ("backend", "model", "mode", "effective_mode", "instead_of"):
        facts.say(key, "s", getattr(last, key))
    for key in ("power_watts", "energy_joules", "instead_of_joules"):
        facts.say(key, "d", getattr(last, key))
    facts.say("latency_ms", "i", last.latency_ms)
    return facts.body()


def _today(day: Today) -> dict[str, Variant]:
    facts = Facts()
    for key in ("requests", "errors", "prompt_tokens", "completion_tokens", "compared"):
        facts.say(key, "x", getattr(day, key))
    for key in ("energy_joules", "saved_joules"):
        facts.say(key, "d", getattr(day, key))
    facts.say("energy_method", "s", day.energy_method)
    return facts.body()
