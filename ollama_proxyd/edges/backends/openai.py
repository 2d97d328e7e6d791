"""A backend that speaks OpenAI's API; what is special about a server is its row in the table of flavors."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace

from yarl import URL

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Event
from ollama_proxyd.core.fleet import BackendSpec, LoadedModel, Probe
from ollama_proxyd.core.requests import Api, Json, Operation, Request
from ollama_proxyd.dialects.ollama.show import describe
from ollama_proxyd.edges.backends.checkup import Checkup, settled
from ollama_proxyd.edges.backends.detect import identify
from ollama_proxyd.edges.backends.exchange import Exchange
from ollama_proxyd.edges.backends.findings import Findings, combine
from ollama_proxyd.edges.backends.flavors import GENERIC, Question, flavor_of
from ollama_proxyd.edges.backends.lenient import text
from ollama_proxyd.edges.backends.server import Server
from ollama_proxyd.edges.backends.shortening import answer_cut
from ollama_proxyd.edges.backends.speech_openai import OpenAISpeech
from ollama_proxyd.edges.plumbing.http import HttpClient


class OpenAIBackend:
    """Any OpenAI-compatible server."""

    def __init__(self, spec: BackendSpec, client: HttpClient, api_key: str | None = None) -> None:
        self._spec = spec
        self._client = client
        self._api_key = api_key
        self._is_recognised = spec.flavor != "generic" or not _is_near(spec)
        self._speak(spec.flavor)
        self._checkup = Checkup(self._ask, lambda: self._exchange.in_flight)

    def _speak(self, flavor: str) -> None:
        """Take the server's ways from a row of the table."""
        self._flavor = flavor_of(flavor)
        self._server = Server(self._client, self._spec, base=self._flavor.base, api_key=self._api_key)
        self._exchange = Exchange(self._spec.id, self._server, OpenAISpeech(self._flavor.base, flavor))

    @property
    def spec(self) -> BackendSpec:
        """What this backend is."""
        return self._spec

    def answer(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
        """Send the request under the backend's own model name: Accepted, deltas, Finished."""
        if request.operation is Operation.EMBEDDING and request.api is not Api.OPENAI and self._flavor.counts_tokens:
            return answer_cut(self._exchange, self._server, request, model)
        return self._exchange.answer(request, model)

    async def probe(self) -> Probe:
        """Health, models and loaded models from the paths in the flavor's row."""
        return await self._checkup.run()

    async def show(self, model: str, body: Mapping[str, Json]) -> Mapping[str, Json]:  # noqa: ARG002 - see the port
        """A model's details in the shape of Ollama's /api/show, from what the server tells of it."""
        probe = await self._checkup.run()
        known = next((each for each in probe.models if each.name == model), None)
        if known is None:
            message = f"{self._server.who} holds no model {model!r}"
            raise ProxyError(ErrorKind.UPSTREAM_REJECTED, message, status=404)
        return describe(known, self._flavor.label, self._spec.endpoint, await self._template())

    async def _template(self) -> str | None:
        if self._flavor.template is None:
            return None
        told = await settled(self._server.fetch(self._flavor.template))
        return None if isinstance(told, ProxyError) else text(told, "chat_template")

    async def _ask(self) -> Probe:
        probe = await self._ask_as_known()
        if self._is_recognised:
            return probe
        self._is_recognised = True
        found = await identify(self._client, URL(self._spec.endpoint).origin(), self._server.who)
        if found is None or found.kind is not Api.OPENAI or flavor_of(found.flavor) is GENERIC:
            return probe
        self._speak(found.flavor)
        return replace(await self._ask_as_known(), flavor=found.flavor)

    async def _ask_as_known(self) -> Probe:
        flavor = self._flavor
        health, listed, *extras = await asyncio.gather(
            settled(self._health()),
            settled(self._findings(flavor.model_list)),
            *(settled(self._findings(question)) for question in flavor.extras),
        )
        for required in (health, listed):
            if isinstance(required, ProxyError):
                raise required
        found = [each for each in (*extras, listed) if isinstance(each, Findings)]
        probe = combine(found)
        if probe.loaded is None and flavor.resident:
            return replace(probe, loaded=tuple(LoadedModel(model.name) for model in probe.models))
        return probe

    async def _health(self) -> None:
        if self._flavor.health is not None:
            await self._server.knock(self._flavor.health)

    async def _findings(self, question: Question) -> Findings:
        return question.read(await self._server.fetch(question.path))


def _is_near(spec: BackendSpec) -> bool:
    """Whether the server is on this machine, where a few questions about what it is disturb nobody."""
    host = URL(spec.endpoint).host or ""
    return host in {"localhost", "127.0.0.1", "::1"}
