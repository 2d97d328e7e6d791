"""A backend whose engines a pool runs, for the tests of what is told of them."""

from collections.abc import AsyncGenerator
from dataclasses import replace

from ollama_proxyd.core.events import Accepted, Event, Finished, FinishReason
from ollama_proxyd.core.requests import Request
from ollama_proxyd.services.bundle import Services
from tests.fakes import FakeBackend
from tests.services.engines.machine import Case, file


class RunByUs(FakeBackend):
    """It has a process for each of its models."""

    def __init__(self, case: Case, *models: str) -> None:
        super().__init__(case.spec, Accepted(), Finished(FinishReason.LOAD), models=models)
        self.case = case
        self.can_manage = False

    async def _play(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
        async with self.case.pool.use(self.spec, file(model)):
            async for event in super()._play(request, model):
                yield event

    async def unload(self, model: str) -> None:
        await super().unload(model)
        await self.case.pool.stop(self.spec.id, model)


def with_pool(services: Services, case: Case) -> Services:
    """The services of a proxy that runs engines."""
    return replace(services, pool=lambda: case.pool, engine_news=case.pool.changed)
