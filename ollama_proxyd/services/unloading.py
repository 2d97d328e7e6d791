"""Unloads a model wherever it is in memory, and nowhere else."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from ollama_proxyd.core.events import Event, Finished
from ollama_proxyd.core.fleet import BackendView, Health
from ollama_proxyd.core.modes import ModeSetting
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.eligibility import held
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Request
from ollama_proxyd.core.residency import has_in_memory
from ollama_proxyd.core.routed import Routed
from ollama_proxyd.services.fleet import Fleet


class Settled:
    """Stands for the attempt where there was none: nothing follows."""

    def __init__(self) -> None:
        self.finished: Finished | None = None
        self.events = _nothing()

    async def __aenter__(self) -> "Settled":
        return self

    async def __aexit__(self, *ended: object) -> None:
        await self.events.aclose()


async def _nothing() -> AsyncGenerator[Event, None]:
    none: tuple[Event, ...] = ()
    for event in none:
        yield event


class Unloader:
    """Has a model unloaded by each backend that has it in memory."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def holders(self, query: Query) -> dict[str, str]:
        """The backends that are up and hold the model, each with its own name of it."""
        target = query.hints.target
        views = (view for view in self._fleet.views.value if target in {None, view.spec.id})
        found = {view.spec.id: held(view, query) for view in views if view.health is Health.UP}
        return {backend_id: model.name for backend_id, model in found.items() if model is not None}

    async def unload(self, request: Request, holders: dict[str, str], setting: ModeSetting) -> Routed:
        """Have it unloaded, and tell where; raises ProxyError where it was in memory and no backend let go of it."""
        resident = [each for each in holders if self._may_be_resident(self._fleet.view(each), holders[each])]
        able = [each for each in resident if self._fleet.backend(each).can_unload]
        ends = await asyncio.gather(*(self._ask(each, holders[each]) for each in able), return_exceptions=True)
        done = [each for each, end in zip(able, ends, strict=True) if end is None]
        for failure in ends if not done else ():
            if failure is not None:
                raise failure
        kept = [each for each in resident if each not in done]
        return Routed(_decision(request.model, done, kept, setting), ",".join(done))

    async def unload_idle(self) -> tuple[int, int]:
        """Have every model unloaded that no request uses: how many are gone, and how many stayed."""
        found = [
            (view, model.name)
            for view in self._fleet.views.value
            if view.health is Health.UP
            for model in view.loaded or ()
        ]
        idle = [
            (view.spec.id, model)
            for view, model in found
            if view.in_flight == 0 and self._fleet.backend(view.spec.id).can_unload
        ]
        ends = await asyncio.gather(*(self._ask(*each) for each in idle), return_exceptions=True)
        gone = sum(end is None for end in ends)
        return gone, len(found) - gone

    def _may_be_resident(self, view: BackendView, model: str) -> bool:
        return view.loaded is None or has_in_memory(view, model)

    async def _ask(self, backend_id: str, model: str) -> None:
        await self._fleet.backend(backend_id).unload(model)
        self._fleet.note_unloaded(backend_id, model)


def _decision(model: str, done: Sequence[str], kept: Sequence[str], setting: ModeSetting) -> Decision:
    """What the client reads of it: no backend was ranked, and nothing is estimated."""
    if done or kept:
        reason = Reason("unloaded", model=model, backends=", ".join(done) or None, kept=", ".join(kept) or None)
    else:
        reason = Reason("not_in_memory", model=model)
    return Decision((), (), setting.chosen, setting.effective, setting.reason, reason)
