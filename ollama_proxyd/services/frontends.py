"""The front ends: which there are, what each lets in, and what came of it."""

import random
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

from ollama_proxyd.core.allowance import Allowance
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.frontend_settings import FrontendSettings
from ollama_proxyd.core.frontends import Balancing
from ollama_proxyd.core.model_sync import SyncSettings
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.requests import Request
from ollama_proxyd.core.status import FrontendStatus
from ollama_proxyd.services.ledger import Ledger, Outcome
from ollama_proxyd.services.model_sync import ModelSync
from ollama_proxyd.services.ports import Clock

MOST_MODELS = 256
"""For how many models of a front end it is known whose turn it is."""


BY_DEFAULT = SyncSettings()


class Frontends:
    """The front ends in force; those of the same name keep their counts over a reload."""

    def __init__(self, clock: Clock, ledger: Ledger, sync: ModelSync) -> None:
        self.sync = sync
        self._clock = clock
        self._by_name: dict[str, FrontendSettings] = {}
        self._allowances: dict[str, Allowance] = {}
        self._turns: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._requests: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        ledger.outcomes.listen(self._count)

    def __len__(self) -> int:
        return len(self._by_name)

    def reconfigure(self, frontends: Sequence[FrontendSettings], sync: SyncSettings = BY_DEFAULT) -> None:
        """Have exactly these, and their models pulled so."""
        self.sync.reconfigure(frontends, sync)
        self._by_name = {each.name: each for each in frontends}
        now_s, before = self._clock.monotonic(), self._allowances
        self._allowances = {}
        for each in frontends:
            if (limit := each.requests_per_minute) is not None:
                left = before[each.name].left_at(now_s) if each.name in before else limit
                self._allowances[each.name] = Allowance(limit, min(left, limit), now_s)

    def find(self, name: str) -> FrontendSettings:
        """One of them; raises ProxyError that names all where there is none."""
        found = self._by_name.get(name)
        if found is None:
            message = f"there is no front end {name[:100]!r}; there are: {', '.join(self._by_name) or 'none'}"
            raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="frontend")
        return found

    def admit(self, name: str) -> None:
        """Count a request; raise ProxyError where it is one too many in this minute."""
        allowance = self._allowances.get(name)
        if allowance is not None and (wait_s := allowance.take(self._clock.monotonic())):
            self._refused[name] += 1
            message = (
                f"the front end {name} takes {allowance.per_minute} requests a minute, the most that "
                f"frontends[].requests_per_minute allows; try again in {wait_s:.1f} s"
            )
            raise ProxyError(ErrorKind.OVERLOADED, message, retry_after_s=wait_s, code="rate_limit_exceeded")

    def enter(self, request: Request, name: str, key: str | None) -> Request:
        """The request with its turn; ProxyError where its kind is not allowed. key: its value of the sticky header."""
        frontend = self._by_name.get(name)
        if frontend is None:
            return request  # a reload removed it while the body came
        try:
            frontend.check(request.operation)
        except ProxyError:
            self._refused[name] += 1
            raise
        if frontend.rules.balancing is Balancing.ENERGY:
            return request
        turn = self._turn(frontend, request.model, key, takes=True)
        return replace(request, hints=replace(request.hints, turn=turn))

    def in_place(self, query: Query, name: str | None, key: str | None = None) -> Query:
        """A query as if it came to a front end now; no turn is taken. ProxyError where there is none of that name."""
        if name is None:
            return query
        frontend = self.find(name)
        frontend.check(query.operation)
        turn = self._turn(frontend, query.model or "", key, takes=False)
        return replace(query, hints=replace(query.hints, frontend=frontend.rules, turn=turn))

    def _turn(self, frontend: FrontendSettings, model: str, key: str | None, *, takes: bool) -> int:
        balancing = frontend.rules.balancing
        if balancing is Balancing.RANDOM:
            return random.getrandbits(32)
        if balancing is Balancing.STICKY and key:
            return int.from_bytes(blake2b(key.encode(errors="surrogateescape"), digest_size=7).digest()) or 1
        if balancing is not Balancing.ROUND_ROBIN:
            return 0
        place = (frontend.name, model)
        turn = self._turns.get(place, 0)
        if takes:
            self._turns[place] = turn + 1
            self._turns.move_to_end(place)
            if len(self._turns) > MOST_MODELS:
                self._turns.popitem(last=False)
        return turn

    def status(self) -> tuple[FrontendStatus, ...]:
        """What each is and what came to it since the start."""
        return tuple(
            FrontendStatus(
                name=each.name,
                hosts=each.hosts,
                port=each.port,
                unix_socket=each.unix_socket,
                has_token=each.token is not None,
                allowed_models=each.rules.models,
                backend_labels=each.rules.labels,
                required_models=each.required_models,
                allowed_operations=tuple(operation.value for operation in each.operations),
                balancing=each.rules.balancing.value,
                requests_per_minute=each.requests_per_minute,
                requests=self._requests[each.name],
                errors=self._errors[each.name],
                refused=self._refused[each.name],
            )
            for each in self._by_name.values()
        )

    def _count(self, outcome: Outcome) -> None:
        if (frontend := outcome.hints.frontend) is not None:
            self._requests[frontend.name] += 1
            self._errors[frontend.name] += outcome.error is not None
