"""Picks the endpoints to which a gateway sends a request, by the policy that the proxy's own requests go by."""

from collections.abc import Callable, Collection, Mapping
from itertools import compress, count
from operator import is_not
from statistics import fmean

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.engine_load import PickerLimits, is_saturated, with_load
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendView, FleetView
from ollama_proxyd.core.policy.cost import TYPICAL_OUTPUT_TOKENS
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.eligibility import held
from ollama_proxyd.core.policy.priors import expect
from ollama_proxyd.core.policy.query import Query, query_of
from ollama_proxyd.core.policy.rank import rank
from ollama_proxyd.core.refusal import time_to_deadline_s
from ollama_proxyd.core.requests import Hints, Priority, Request
from ollama_proxyd.core.values import replace, value
from ollama_proxyd.core.workload import slot_wait_s
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.carried import Carried, Picked
from ollama_proxyd.services.engine_loads import EngineLoads
from ollama_proxyd.services.inventory import FleetChanges
from ollama_proxyd.services.prefixes import PrefixIndex

SATURATED = "saturated"
SOONEST_RETRY_S = 1.0


@value
class Errand:
    """What a gateway asks: `request` is None where none can be read, `within` the addresses that it allows."""

    request: Request | None
    hints: Hints
    within: Collection[str] | None = None
    blocks: tuple[int, ...] = ()
    """The beginning of its prompt."""


class Picker:
    """Decides, and knows what is under way on each endpoint."""

    def __init__(
        self,
        services: Services,
        loads: EngineLoads,
        address_of: Callable[[str], str],
        limits: Callable[[], PickerLimits],
    ) -> None:
        self._services = services
        self._loads = loads
        self._address_of = address_of
        self._limits = limits
        self._prefixes = PrefixIndex()
        self._under_way: dict[str, dict[Carried, None]] = {}
        self._seen: FleetView = ()
        self._loaded: list[BackendView] = []
        """The same with the load that their engines tell."""
        self._places: dict[str, int] = {}
        self._addresses: dict[str, str] = {}
        services.fleet.reconciled.listen(self._reconciled)
        services.fleet.attempts.listen(self._ended)

    def _reconciled(self, changes: FleetChanges) -> None:
        for backend_id in changes.changed | changes.removed:
            self._addresses.pop(backend_id, None)
            self._prefixes.forget(backend_id)

    def _ended(self, ended: AttemptEnded) -> None:
        """An engine that fails may have been started anew, with an empty cache."""
        if ended.fault is not None:
            self._prefixes.forget(ended.backend_id)

    def pick(self, errand: Errand) -> Picked | Carried:
        """Where it goes: a request that can be read holds a slot until it ends. Raises ProxyError."""
        query = self._query(errand)
        fleet = self._fleet(errand.within)
        decision = rank(query, fleet, self._services.system.value, self._services.governor.setting.value)
        if not decision.ranked:
            raise self._refusal(query, decision, errand)
        self._shed(query, decision, fleet)
        best = decision.ranked[: self._limits().endpoints]
        ids = tuple([each.backend_id for each in best])
        picked = Picked(decision, tuple([self.address(each) for each in ids]), ids)
        if errand.request is None:
            return picked
        self._prefixes.note(ids[0], errand.blocks)
        return Carried(self._services.fleet, self._services.clock, self, query, errand.request, picked)

    def begin(self, backend_id: str, carried: Carried) -> None:
        """A backend is about to answer."""
        self._under_way.setdefault(backend_id, {})[carried] = None

    def end(self, backend_id: str, carried: Carried) -> None:
        """It has answered, or will not."""
        carried_there = self._under_way[backend_id]
        del carried_there[carried]
        if not carried_there:
            del self._under_way[backend_id]

    def address(self, backend_id: str) -> str:
        """Host and port of a backend."""
        found = self._addresses.get(backend_id)
        if found is None:
            found = self._addresses[backend_id] = self._address_of(self._services.fleet.view(backend_id).spec.endpoint)
        return found

    def _fleet(self, within: Collection[str] | None) -> FleetView:
        """The backends that may be picked, with the load that their engines tell."""
        self._follow(self._services.fleet.views.value)
        if within is not None:
            return tuple([each for each in self._loaded if self.address(each.spec.id) in within])
        return tuple(self._loaded)

    def _follow(self, views: FleetView) -> None:
        """Look anew at the backends that have changed; of a large fleet they are few from one request to the next."""
        seen, loads = self._seen, self._loads
        changed = set(compress(count(), map(is_not, views, seen)))
        if len(seen) != len(views) or [at for at in changed if views[at].spec.id != seen[at].spec.id]:
            self._loaded = [with_load(each, loads.of(each.spec.id)) for each in views]
            self._places = {each.spec.id: at for at, each in enumerate(views)}
        else:
            changed.update([self._places[each] for each in loads.changed if each in self._places])
            for at in changed:
                self._loaded[at] = with_load(views[at], loads.of(views[at].spec.id))
        self._seen = views
        loads.changed.clear()

    def _query(self, errand: Errand) -> Query:
        """What is asked of the policy; raises ProxyError where the request's deadline has passed."""
        clock, request, hints = self._services.clock, errand.request, errand.hints
        left_s = time_to_deadline_s(hints.deadline_ms, clock.unix())
        now_s = clock.monotonic()
        if request is None:
            query = Query(model=None, hints=hints, time_left_s=left_s, now_s=now_s)
        else:
            query = query_of(
                request,
                hints,
                time_left_s=left_s,
                now_s=now_s,
                synonyms=self._services.gateway.synonyms.of(request.model),
                cached_tokens=self._cached_tokens(errand, request.prompt_tokens),
            )
        waits_s = self._waits_s(query)
        return replace(query, waits_s=waits_s) if waits_s else query

    def _cached_tokens(self, errand: Errand, prompt_tokens: int) -> Mapping[str, float]:
        """How much of the prompt each backend has read; images count fewer tokens than their bytes."""
        cached = self._prefixes.cached_tokens(errand.blocks) if errand.blocks else {}
        return {each: min(tokens, prompt_tokens) for each, tokens in cached.items()}

    def _waits_s(self, query: Query) -> Mapping[str, float]:
        """How long a request would wait at each backend that is full, by what its engine tells, else by our own."""
        fleet, found = self._services.fleet, dict[str, float]()
        for backend_id, load in self._loads.queued.items():
            if fleet.has(backend_id):
                view = fleet.view(backend_id)
                found[backend_id] = load.wait_s(view.slots, self._each_s(view, query))
        for backend_id, carried in self._under_way.items():
            if fleet.has(backend_id) and not self._loads.of(backend_id).is_told:
                view, under_way = fleet.view(backend_id), [each.under_way for each in carried]
                if len(under_way) >= view.slots:
                    found[backend_id] = slot_wait_s(under_way, view.slots, query.now_s)
        return found

    def _each_s(self, view: BackendView, query: Query) -> float:
        """How long a request takes there."""
        if under_way := self._under_way.get(view.spec.id):
            return fmean([each.under_way.expected_s for each in under_way])
        model = held(view, query)
        if model is None:
            return 0.0
        expected = expect(view, model)
        return expected.prefill_s(query.prompt_tokens) + expected.decode_s(query.prompt_tokens, TYPICAL_OUTPUT_TOKENS)

    def _shed(self, query: Query, decision: Decision, fleet: FleetView) -> None:
        """Refuse work that can wait where every endpoint that could do it is under heavy load."""
        if query.urgency is not Priority.BEST_EFFORT:
            return
        saturation, able = self._limits().saturation, {each.backend_id for each in decision.ranked}
        if all(is_saturated(each, self._loads.of(each.spec.id), saturation) for each in fleet if each.spec.id in able):
            wait_s = min([each.queue_wait_s for each in decision.ranked])
            message = "every endpoint is under heavy load, and the request has the lowest priority; try again later"
            raise ProxyError(ErrorKind.OVERLOADED, message, retry_after_s=max(wait_s, SOONEST_RETRY_S), code=SATURATED)

    def _refusal(self, query: Query, decision: Decision, errand: Errand) -> ProxyError:
        """What is told where no endpoint may be picked."""
        if errand.within is not None and not decision.rejected:
            message = "none of the endpoints that the gateway allows is a backend here; look at its subset"
            return ProxyError(ErrorKind.UNAVAILABLE, message, code="subset_empty")
        refusal = self._services.gateway.refusal(query, decision)
        return refusal if errand.within is None else refusal.but(kind=ErrorKind.UNAVAILABLE)  # as the protocol says
