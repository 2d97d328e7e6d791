"""An engine behind the Backend port; what is special about it is its row in the table of engines."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from math import ceil
from typing import TypeVar

from yarl import URL

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Event
from ollama_proxyd.core.features import EngineWishes
from ollama_proxyd.core.fleet import BackendSpec, LoadedModel, Probe
from ollama_proxyd.core.management import Managed, Management
from ollama_proxyd.core.requests import Api, Json, Operation, Request
from ollama_proxyd.core.slots import Slots, SlotsFrom
from ollama_proxyd.dialects.anthropic.dialect import Anthropic
from ollama_proxyd.dialects.framing.jsonbody import decode_fields
from ollama_proxyd.dialects.ollama.models import describe
from ollama_proxyd.edges.backends.details import Details
from ollama_proxyd.edges.backends.detect import identify
from ollama_proxyd.edges.backends.engine import Engine, Question
from ollama_proxyd.edges.backends.engines import GENERIC, engine_of
from ollama_proxyd.edges.backends.exchange import Exchange, Keeping
from ollama_proxyd.edges.backends.file_facts import facts_of_file
from ollama_proxyd.edges.backends.findings import Findings, combine
from ollama_proxyd.edges.backends.managing import manage
from ollama_proxyd.edges.backends.passing_on import PASSED, pass_on
from ollama_proxyd.edges.backends.readiness import health, is_down, settle
from ollama_proxyd.edges.backends.request_options import RequestOptions
from ollama_proxyd.edges.backends.server import Server, is_loading
from ollama_proxyd.edges.backends.truncation import answer_truncated
from ollama_proxyd.edges.backends.unloading import load_only, unload, works
from ollama_proxyd.edges.backends.untrusted_json import text, whole
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.edges.plumbing.port_owner import command_line_at
from ollama_proxyd.edges.plumbing.way import Way, is_here
from ollama_proxyd.services.cell import Cell

T = TypeVar("T")

_NO_SUCH_ROUTE = frozenset({404, 405, 501})
_NOT_LOOKED = "not looked"
_RECOGNITIONS = 3
"""How often a server is asked what it is: an answer that decides may come too late."""


class EngineBackend:
    """Any engine of the table."""

    _options = RequestOptions

    def __init__(
        self,
        spec: BackendSpec,
        client: HttpClient,
        api_key: str | None = None,
        wishes: Cell[EngineWishes] | None = None,
        way: Way | None = None,
    ) -> None:
        self._spec = spec
        self._wishes = wishes or Cell(EngineWishes())
        self._client = client
        self._api_key = api_key
        self._way = way
        self._recognitions_left = _RECOGNITIONS if _is_unknown(spec) else 0
        self._recognised: str | None = None
        self._keep_s: dict[str, int] = {}
        """How long each model is to stay after requests that do not say."""
        self._exchanges: list[Exchange] = []
        self._last: Probe | None = None
        self._was_healthy = False
        """Whether the engine's own health route has ever answered well."""
        self._use(engine_of(spec.api, spec.flavor))
        self._details = Details()

    def _use(self, engine: Engine) -> None:
        """Talk to the server as to this engine."""
        self._started: int | str | None = _NOT_LOOKED
        self._was_healthy = False
        self._engine = engine
        self._server = Server(self._client, self._spec, engine.speaks[0].base, self._api_key, self._way)
        resuming = engine.continues.fields if engine.continues else {}
        options = self._options(self._wishes, self._spec) if engine.takes_options else None
        keeping = Keeping(engine.keeps, self._keep_s)
        self._exchange = Exchange(self._server, engine.speaks, resuming, keeping, options)
        self._exchanges.append(self._exchange)  # answers of the one before may still be under way

    @property
    def spec(self) -> BackendSpec:
        """What this backend is."""
        return self._spec

    @property
    def can_unload(self) -> bool:
        """Whether the engine can be had to let go of a model."""
        is_able = self._last is None or self._last.unloads is not False
        return self._engine.unloading is not None and is_able

    @property
    def can_manage(self) -> bool:
        """Whether the engine changes the files of its models on request."""
        return self._engine.manages

    @property
    def can_keep(self) -> bool:
        """Whether requests can tell the engine how long a model stays in memory after them."""
        return self._engine.keeps is not None

    def keep(self, model: str, seconds: float | None) -> None:
        """Have requests that say nothing of it ask for a model to stay that long; None leaves it to the engine."""
        if seconds is None:
            self._keep_s.pop(model, None)
        else:
            self._keep_s[model] = ceil(seconds)

    async def unload(self, model: str) -> None:
        """Have the engine let go of a model now."""
        if not self.can_unload or self._engine.unloading is None:
            raise ProxyError(ErrorKind.UNSUPPORTED, f"{self._engine.label} unloads nothing on request")
        await unload(self._server, self._engine.unloading, model)

    async def is_working(self) -> bool:
        """Whether it works for anyone, as far as it tells."""
        unloading = self._engine.unloading
        return unloading is not None and await works(self._server, unloading, "")

    def manage(self, asked: Management) -> AsyncGenerator[Managed | bytes, None]:
        """Have the engine change the files of its models: how it begins to answer, then the pieces of its answer."""
        return manage(self._server, asked)

    def answer(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
        """Send the request under the backend's own model name: Accepted, deltas, Finished."""
        engine = self._engine
        if request.operation in PASSED:
            return pass_on(self._exchange, self._server, engine.openai_base, request, model)
        dialect = self._exchange.dialect_for(request)
        action = request.load_action
        if action is not None and not dialect.answers_loads:
            how = self._engine.unloading if self.can_unload else None
            return load_only(self._server, how, request, model)
        if dialect is not engine.speaks[0]:
            return self._exchange.answer_or_translate(request, model)
        if request.operation is Operation.EMBEDDING and engine.counts_tokens and request.api is not engine.api:
            return answer_truncated(self._exchange, self._server, request, model)
        return self._exchange.answer(request, model, dialect)

    def can_resume(self, request: Request) -> bool:
        """Whether the engine goes on exactly from what was spoken; a plain prompt every engine goes on from."""
        spoken, continues = request.spoken, self._engine.continues
        if spoken is None or not self._exchange.can_say(request):
            return False
        if request.operation is Operation.COMPLETION:
            return True
        return continues is not None and (continues.thinking or not spoken.thinking)

    async def probe(self) -> Probe:
        """Health and models from the paths in the engine's row; while it is too busy to say, what it said last."""
        try:
            self._last = await self._ask()
        except ProxyError as error:
            if self._last is None or not self._is_busy(error):
                self._started = _NOT_LOOKED
                raise
        return self._last

    async def settle(self, model: str) -> None:
        """Wait until a model is in memory."""
        await settle(self._server, self._engine, model)

    def _is_busy(self, error: ProxyError) -> bool:
        """A server that works for us may be slow to say so; one that is full says so in an error."""
        slow = error.kind is ErrorKind.UPSTREAM_TIMEOUT and any(each.in_flight for each in self._exchanges)
        full = error.status == 429 or (error.status == 503 and "no slot" in (error.detail or "").lower())
        return slow or full

    async def show(self, model: str, body: Mapping[str, Json]) -> Mapping[str, Json]:
        """A model's details in the shape of Ollama's /api/show: the engine's own, or from what it tells of the model.

        In the engine's own question `model` and the older `name` both become its name for the model.
        """
        details = self._engine.details
        if details is not None:
            asked = {key: value for key, value in body.items() if key != "name"}
            shown = await self._server.fetch(details.path, {**asked, "model": model})
            if not isinstance(shown, Mapping):
                message = f"{self._server.who} answered {details.path} with no JSON object"
                raise ProxyError(ErrorKind.UPSTREAM_FAILED, message)
            return shown
        probe = await self.probe()
        known = next((each for each in probe.models if each.name == model), None)
        if known is None:
            message = f"{self._server.who} holds no model {model!r}"
            raise ProxyError(ErrorKind.UPSTREAM_REJECTED, message, status=404)
        template, path = await self._of_template()
        info = await facts_of_file(path) if path and self._spec.is_local else {}
        return describe(known, self._engine.label, self._spec.endpoint, template, info)

    async def count_tokens(self, request: Request, model: str) -> int | None:
        """By the engine's own count of a request in Anthropic's words; None where it has none, or fails at it."""
        dialect = next((each for each in self._engine.speaks if isinstance(each, Anthropic) and each.counts), None)
        if dialect is None:
            return None
        question = {**decode_fields(request.body), "model": model}
        counted = await _outcome_of(partial(self._server.fetch, f"{dialect.base}/messages/count_tokens", question))
        return None if isinstance(counted, ProxyError) else whole(counted, "input_tokens")

    async def _of_template(self) -> tuple[str | None, str | None]:
        """The chat template, and the model's file where the engine names it beside."""
        if self._engine.template is None:
            return None, None
        answer = await _outcome_of(partial(self._server.fetch, self._engine.template))
        if isinstance(answer, ProxyError):
            return None, None
        return text(answer, "chat_template"), text(answer, "model_path")

    async def _ask(self) -> Probe:
        probe = await self._ask_by_some_list()
        if not self._recognitions_left:
            return replace(probe, flavor=self._recognised)
        found = await identify(self._client, URL(self._spec.endpoint).origin(), self._server.who)
        left, self._recognitions_left = self._recognitions_left, 0 if found else self._recognitions_left - 1
        if found is None or found[0].api is not Api.OPENAI or found[0] is GENERIC:
            return probe
        self._recognised = found[0].name
        self._use(found[0])
        try:
            probe = await self._ask_as_known()
        except ProxyError as error:
            if is_loading(error):
                raise
            if error.kind is ErrorKind.UPSTREAM_TIMEOUT:
                self._recognitions_left = left - 1  # what is late is perhaps the engine all the same
            self._recognised = None  # its model list was found before, which is worth more than this guess
            self._use(GENERIC)
        return replace(probe, flavor=self._recognised)

    async def _ask_by_some_list(self) -> Probe:
        """What the engine says; one that lacks the list of its kind, perhaps by its age, may have that of all."""
        try:
            return await self._ask_as_known()
        except ProxyError as error:
            if self._engine.models is None or self._engine.api is not Api.OPENAI or error.status not in _NO_SUCH_ROUTE:
                raise
            return combine([await self._findings(GENERIC.model_list)])

    async def _ask_as_known(self) -> Probe:
        engine = self._engine
        well, listed, *extras = await asyncio.gather(
            _outcome_of(partial(health, self._server, engine)),
            _outcome_of(self._listed),
            *(_outcome_of(partial(self._findings, question)) for question in engine.extras),
        )
        if isinstance(listed, ProxyError):
            raise listed
        if isinstance(well, ProxyError) and is_down(well, engine, was_healthy=self._was_healthy):
            raise well  # any other server may lack the route (kserve#4250); its model list is a finding
        self._was_healthy |= not isinstance(well, ProxyError)
        found = [each for each in (*extras, listed) if isinstance(each, Findings)]
        probe = combine([*found, Findings(slots=engine.slots)])
        if probe.slots is None:
            probe = replace(probe, slots=await self._slots_read())
        if probe.loaded is None and engine.resident:
            return replace(probe, loaded=tuple(LoadedModel(model.name) for model in probe.models))
        return probe

    async def _slots_read(self) -> Slots | None:
        """Its slots from how its process was started, looked for again after it was down."""
        if self._started is _NOT_LOOKED and self._engine.slots_read is not None and self._spec.is_local:
            command = await asyncio.to_thread(command_line_at, URL(self._spec.endpoint).port or 0)
            self._started = None if command is None else self._engine.slots_read(command)
        return Slots(self._started, SlotsFrom.READ) if isinstance(self._started, int) else None

    async def _findings(self, question: Question) -> Findings:
        return question.read(await self._server.fetch(question.path))

    async def _listed(self) -> Findings:
        """The models with their details, asked beside the extras: an engine that only lists models is up in time."""
        listed, details = await self._findings(self._engine.model_list), self._engine.details
        if details is None:
            return listed
        return replace(listed, models=await self._details.added(listed.models, details, self._server))


def _is_unknown(spec: BackendSpec) -> bool:
    """Whether the server's make is unknown and can be asked: it is on this machine."""
    is_generic = spec.api is Api.OPENAI and spec.flavor == GENERIC.name
    return is_generic and is_here(URL(spec.endpoint).host or "")


async def _outcome_of(ask: Callable[[], Awaitable[T]]) -> T | ProxyError:
    """The outcome, an error as a value, so that several questions at once all come to their end."""
    try:
        return await ask()
    except ProxyError as error:
        return error
