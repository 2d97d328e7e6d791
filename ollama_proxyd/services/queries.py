"""What routing is asked for a request, a new one or the rest of a begun answer."""

from ollama_proxyd.core.continuation import Failover, Obstacle
from ollama_proxyd.core.features import EngineWishes, Feature
from ollama_proxyd.core.model_names import Synonyms
from ollama_proxyd.core.policy.decision import Ranked
from ollama_proxyd.core.policy.eligibility import held
from ollama_proxyd.core.policy.query import Query, query_of
from ollama_proxyd.core.prefixes import READ
from ollama_proxyd.core.refusal import time_to_deadline_s
from ollama_proxyd.core.requests import Hints, Request
from ollama_proxyd.core.values import replace
from ollama_proxyd.services.delivery import Delivery, Resumers
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.ports import Backend, Clock
from ollama_proxyd.services.prefix_affinity import PrefixAffinity


class Queries:
    """Makes the query of each delivery."""

    def __init__(self, fleet: Fleet, clock: Clock, synonyms: Synonyms) -> None:
        self._fleet = fleet
        self._clock = clock
        self.synonyms = synonyms
        """The further names of models."""
        self.affinity = PrefixAffinity(fleet)
        """Who has read the beginnings of prompts."""

    def take_wishes(self, wishes: EngineWishes) -> None:
        """Have routing count what is in the caches of backends also where they do not tell, if that is wished."""
        self.affinity.guesses = Feature.PREFIX_CACHE in wishes.on

    def note_sent(self, ranked: Ranked, delivery: Delivery) -> None:
        """A backend is about to read the request of a delivery."""
        if delivery.request.operation in READ:
            self.affinity.note(ranked, delivery.blocks)

    def of(self, delivery: Delivery) -> Query:
        """What is asked for a delivery as it stands; raises ProxyError where its deadline has passed."""
        query = self._of(delivery)
        return query if delivery.begun is None else replace(query, able=self._able(delivery, delivery.resumers, query))

    def _of(self, delivery: Delivery) -> Query:
        request = delivery.request
        deadline_ms = None if delivery.begun else request.hints.deadline_ms  # it has begun in time
        return query_of(
            request,
            now_s=self._clock.monotonic(),
            time_left_s=time_to_deadline_s(deadline_ms, self._clock.unix()),
            tried=delivery.avoided,
            synonyms=self.synonyms.of(request.model),
            cached_tokens=self.affinity.cached_tokens(delivery.blocks, request.prompt_tokens),
        )

    async def resume(self, delivery: Delivery, failover: Failover) -> Obstacle | None:
        """Have an answer that broke go on from what its client has; why not, where it cannot."""
        if (why_not := await delivery.resume(failover)) is None:
            await delivery.resumers.ask(self._backends())
        return why_not

    async def moves(self, delivery: Delivery) -> bool:
        """Whether an answer that is to move leaves its backend now."""
        if not await delivery.moves():
            return False
        await delivery.resumers.ask(self._backends())
        return True

    async def of_rest(self, delivery: Delivery, rest: Request) -> Query:
        """What is asked for the rest of an answer that may move, at its present backend or another."""
        resumers = Resumers(rest)
        await resumers.ask(self._backends())
        query = replace(self._of(delivery), prompt_tokens=rest.prompt_tokens, max_tokens=rest.max_tokens)
        return replace(query, able=self._able(delivery, resumers, query))

    def _backends(self) -> list[Backend]:
        return [member.backend for member in self._fleet.members.values()]

    def _able(self, delivery: Delivery, resumers: Resumers, query: Query) -> frozenset[str]:
        """The backends that can go on exactly from what the client has."""
        fleet, able = self._fleet, []
        for member in fleet.members.values():
            view = fleet.view(member.id)
            if resumers.can(member.backend) and delivery.is_same_model(view, held(view, query)):
                able.append(member.id)
        return frozenset(able)

    def left_s(self, query: Query) -> float | None:
        """Seconds until the deadline that counts for a query, None where none does."""
        return None if query.time_left_s is None else self.time_left_s(query.hints)

    def time_left_s(self, hints: Hints) -> float | None:
        """Seconds until the client's deadline, below zero when it has passed; None when it set none."""
        return None if hints.deadline_ms is None else hints.deadline_ms / 1000 - self._clock.unix()
