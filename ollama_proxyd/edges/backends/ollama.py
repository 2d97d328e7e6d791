"""A backend that speaks Ollama's own API."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import replace

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Event
from ollama_proxyd.core.fleet import BackendSpec, Model, Probe
from ollama_proxyd.core.requests import Json, Request
from ollama_proxyd.edges.backends.checkup import Checkup, settled
from ollama_proxyd.edges.backends.exchange import Exchange
from ollama_proxyd.edges.backends.lenient import label
from ollama_proxyd.edges.backends.ollama_facts import read_capabilities, read_ps, read_tags
from ollama_proxyd.edges.backends.server import Server
from ollama_proxyd.edges.backends.speech_ollama import OllamaSpeech
from ollama_proxyd.edges.plumbing.http import HttpClient

_SHOW_AT_ONCE = 4


class OllamaBackend:
    """An Ollama server, or anything that answers its paths."""

    def __init__(self, spec: BackendSpec, client: HttpClient, api_key: str | None = None) -> None:
        self._spec = spec
        self._server = Server(client, spec, api_key=api_key)
        self._exchange = Exchange(spec.id, self._server, OllamaSpeech())
        self._checkup = Checkup(self._ask, lambda: self._exchange.in_flight)
        self._capabilities: dict[tuple[str, str | None], frozenset[str] | None] = {}

    @property
    def spec(self) -> BackendSpec:
        """What this backend is."""
        return self._spec

    def answer(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
        """Send the request under the backend's own model name: Accepted, deltas, Finished."""
        return self._exchange.answer(request, model)

    async def probe(self) -> Probe:
        """Health, models and loaded models from /api/version, /api/tags and /api/ps."""
        return await self._checkup.run()

    async def show(self, model: str, body: Mapping[str, Json]) -> Mapping[str, Json]:
        """What the server's own /api/show says; `model` and the old `name` both become the backend's name."""
        asked = {key: value for key, value in body.items() if key != "name"}
        shown = await self._server.fetch("/api/show", {**asked, "model": model})
        if not isinstance(shown, Mapping):
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, f"{self._server.who} answered /api/show with no JSON object")
        return shown

    async def _ask(self) -> Probe:
        version, tags, ps = await asyncio.gather(
            settled(self._server.fetch("/api/version")),
            settled(self._server.fetch("/api/tags")),
            settled(self._server.fetch("/api/ps")),
        )
        if isinstance(tags, ProxyError):
            raise tags
        return Probe(
            models=await self._with_capabilities(read_tags(tags)),
            loaded=None if isinstance(ps, ProxyError) else read_ps(ps),
            version=None if isinstance(version, ProxyError) else label(version, "version"),
        )

    async def _with_capabilities(self, models: Iterable[Model]) -> tuple[Model, ...]:
        """Models with what /api/show says of each, asked once for every digest."""
        turns = asyncio.Semaphore(_SHOW_AT_ONCE)

        async def complete(model: Model) -> Model:
            key = (model.name, model.digest)
            if key not in self._capabilities:
                async with turns:
                    shown = await settled(self._server.fetch("/api/show", {"model": model.name}))
                if isinstance(shown, ProxyError):
                    return model
                self._capabilities[key] = read_capabilities(shown)
            known = self._capabilities[key]
            return model if known is None else replace(model, capabilities=known)

        return tuple(await asyncio.gather(*(complete(model) for model in models)))
