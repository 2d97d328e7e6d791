"""What an engine says of each of its models: asked once for every digest, as long as it is listed."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import Model
from ollama_proxyd.edges.backends.engine import Question
from ollama_proxyd.edges.backends.server import Server

_AT_ONCE = 4
BUDGET_S = 1.0
"""For how long models are begun to be asked for in one check, which has a deadline; the next ones ask for the rest."""


class Details:
    """The capabilities of models, as far as they were told; a server that leaves one open is not asked for more."""

    def __init__(self) -> None:
        self._capabilities: dict[tuple[str, str | None], frozenset[str] | None] = {}

    async def added(self, models: Sequence[Model], question: Question, server: Server) -> tuple[Model, ...]:
        """The models with what the server says of them."""
        turns, is_silent = asyncio.Semaphore(_AT_ONCE), False
        loop = asyncio.get_running_loop()
        until_s = loop.time() + BUDGET_S

        async def complete(model: Model) -> Model:
            nonlocal is_silent
            key = (model.name, model.digest)
            if key not in self._capabilities:
                async with turns:
                    if is_silent or loop.time() > until_s:
                        return model
                    try:
                        shown = await server.fetch(question.path, {"model": model.name})
                    except ProxyError as error:
                        is_silent |= error.kind is ErrorKind.UPSTREAM_TIMEOUT
                        return model
                self._capabilities[key] = question.read(shown).capabilities
            capabilities = self._capabilities[key]
            return model if capabilities is None else replace(model, capabilities=capabilities)

        found = await asyncio.gather(*(complete(model) for model in models))
        listed = {(each.name, each.digest) for each in models}
        self._capabilities = {key: told for key, told in self._capabilities.items() if key in listed}
        return tuple(found)
