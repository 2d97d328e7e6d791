"""One backend's address: how it is asked, and what its refusals mean."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from typing import NamedTuple, Protocol

import msgspec
from yarl import URL

from ollama_proxyd.core.errors import TOO_LONG, ErrorKind, ProxyError
from ollama_proxyd.core.faults import REFUSALS, Fault, fault_in
from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.management import Management
from ollama_proxyd.core.requests import Hints, Json
from ollama_proxyd.core.text import sanitize_line
from ollama_proxyd.dialects.framing.jsonbody import UNREADABLE, readable
from ollama_proxyd.dialects.framing.lenient import loosely
from ollama_proxyd.dialects.framing.reported import MOST_ERROR_BYTES, bounded, is_reported, sentence
from ollama_proxyd.edges.backends.rate_limits import patience_s, rest_s
from ollama_proxyd.edges.plumbing.call import Call
from ollama_proxyd.edges.plumbing.hint_headers import TRACEPARENT, TRACESTATE
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.edges.plumbing.http_reply import Reply
from ollama_proxyd.edges.plumbing.way import Way, is_near, root_of, way_to
from ollama_proxyd.services.large import off_loop

JSON_TYPE = "application/json"
_LONGEST_S = 24 * 3600.0
"""How long a model may take to arrive whole, for a client that wants no progress."""
_LONGEST_SILENCE_S = 1800.0
"""How long a file may be verified, of which nothing is told meanwhile."""
_LOADING = re.compile(r"load|start|initiali|warm|not ready", re.IGNORECASE)
_KEY_REFUSED = frozenset({401, 403, 407})
_JSON = msgspec.json.Decoder()
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Request ids that are only names: some servers have taken others for addresses to connect to."""


class Pieces(Protocol):
    """A body in pieces, of a known size; it can be sent again."""

    def __len__(self) -> int:
        """Its size in bytes."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Its pieces, from the first one."""


class Posted(NamedTuple):
    """What is sent with a request, and what is borne within its answer."""

    body: bytes | Pieces
    accept: str
    content_type: str = JSON_TYPE
    pause_s: float | None = None


class Server:
    """Asks one backend over HTTP; every failure names it."""

    __slots__ = ("_authorization", "_client", "_hears_traces", "_is_service", "_root", "_way", "who")

    def __init__(
        self,
        client: HttpClient,
        spec: BackendSpec,
        base: str = "",
        api_key: str | None = None,
        way: Way | None = None,
    ) -> None:
        address = URL(spec.endpoint)
        root = root_of(address)
        self.who = f"backend {spec.id} at {address.with_user(None) if root is address else address}"
        self._client = client
        self._is_service = not spec.is_local or spec.tariff is not None
        self._hears_traces = _hears_traces(spec, address)
        self._way = way or way_to(address, spec.proxy, spec.ca_file)
        self._root = str(root).rstrip("/").removesuffix(base)
        self._authorization = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    async def post(self, path: str, posted: Posted, hints: Hints) -> Reply:
        """Send a request that is answered at length; a status of 400 or more raises what it means.

        Who has the reply calls its `end`.
        """
        body = posted.body
        headers = {"Content-Type": posted.content_type, "Accept": posted.accept, **self._authorization}
        if not isinstance(body, bytes):
            headers["Content-Length"] = str(len(body))
        if _PLAIN_ID.fullmatch(hints.request_id):
            headers["X-Request-ID"] = hints.request_id
        if (trace := hints.trace).traceparent and self._hears_traces:
            headers[TRACEPARENT] = trace.traceparent
            if trace.tracestate:
                headers[TRACESTATE] = trace.tracestate
        call = Call("POST", self._url(path), self.who, headers, body, pause_s=posted.pause_s, way=self._way)
        reply = await self._client.send(call)
        if reply.status >= 400:
            try:
                raise refusal(reply, await reply.error_text())
            finally:
                reply.end()
        return reply

    @asynccontextmanager
    async def manage(self, asked: Management) -> AsyncGenerator[Reply, None]:
        """Send a call that changes files, for which any time is enough; every status but a refused key is an answer."""
        headers = {"Content-Type": JSON_TYPE, "Accept": "*/*", **self._authorization}
        call = Call(
            asked.method,
            self._url(asked.path),
            self.who,
            headers,
            asked.body or None,
            first_byte_s=_LONGEST_S,
            idle_s=_LONGEST_SILENCE_S,
            way=self._way,
            keeps=False,  # it is asked once, since a body that comes as it arrives cannot be sent again
        )
        async with self._client.ask(call) as reply:
            if self._authorization and reply.status in _KEY_REFUSED:
                raise refusal(reply, await reply.error_text())
            yield reply

    def rest_s(self, reply: Reply) -> float | None:
        """For how long a service is to be left alone after a good answer, None where it does not say so."""
        return rest_s(reply.headers) if self._is_service else None

    async def fetch(self, path: str, question: Mapping[str, Json] | None = None, *, is_patient: bool = False) -> Json:
        """A short answer that must be JSON, read kindly; one as late as an answer's first word may be is waited for."""
        within_s = self._client.timeouts.first_byte_s if is_patient else None
        reply, body = await self.ask(path, question, within_s=within_s)
        return await off_loop(len(body), partial(_decoded, reply, body))

    async def ask(
        self, path: str, question: Mapping[str, Json] | None = None, *, within_s: float | None = None
    ) -> tuple[Reply, bytes]:
        """A short answer, with a POST if there is a question; a status of 400 or more raises what it means.

        It begins `within_s`; None: within the time of each request of a health check.
        """
        headers = {"Accept": JSON_TYPE, **self._authorization}
        method, body = "GET", None
        if question is not None:
            method, body = "POST", msgspec.json.encode(question)
            headers["Content-Type"] = JSON_TYPE
        call = Call(
            method,
            self._url(path),
            self.who,
            headers,
            body,
            first_byte_s=self._client.timeouts.probe_s if within_s is None else within_s,
            way=self._way,
            keeps=question is not None,  # until the next health check none would be kept
        )
        async with self._client.ask(call) as reply:
            if reply.status >= 400:
                raise refusal(reply, await reply.error_text())
            return reply, await reply.body()

    def _url(self, path: str) -> URL:
        return _url(self._root + path)


def _hears_traces(spec: BackendSpec, address: URL) -> bool:
    """Whether a backend is told where its clients are in a trace: as configured, else no service of the internet."""
    if spec.trace_context is not None:
        return spec.trace_context
    return spec.tariff is None and (spec.is_local or spec.machine is not None or is_near(address.host or ""))


@lru_cache(maxsize=256)
def _url(address: str) -> URL:
    """One object for each address: it remembers its parts."""
    return URL(address, encoded=True)


def refusal(reply: Reply, body: str) -> ProxyError:
    """What an error status of a backend means.

    Of a refused key the backend's own words are not passed on: some repeat a part of it.
    """
    retry_after_s = patience_s(reply.headers)
    fault = fault_in(reply.status, body, asks_for_patience=retry_after_s is not None)
    if fault is Fault.KEY_REJECTED:
        message = f"{reply.who} refused our credentials ({reply.status}); check its api_key_env or api_key_file"
        return ProxyError(ErrorKind.UPSTREAM_FAILED, message, status=reply.status)
    said = said_in(body)
    of_the_request = fault is None or fault in REFUSALS
    is_sentence = readable(_JSON, body) is not None  # other texts are a server's, such as of a route
    return ProxyError(
        ErrorKind.UPSTREAM_REJECTED if of_the_request else ErrorKind.UPSTREAM_FAILED,
        said
        if of_the_request and said and is_sentence
        else f"{reply.who} answered {status_and_words(reply.status, body)}",
        status=reply.status,
        detail=_bounded(body),
        retry_after_s=retry_after_s,
        code=TOO_LONG if fault is Fault.CONTEXT_TOO_SMALL else None,
    )


def is_loading(error: ProxyError) -> bool:
    """Whether an engine says that it loads a model; without such words a route that is only guessed says nothing."""
    return error.status == 503 and _LOADING.search(error.detail or "") is not None


def status_and_words(status: int, body: str) -> str:
    """A status with the words of its body, where it has any; some repeat the status."""
    said = said_in(body)
    return str(status) if said is None else f"{status}: {said.removeprefix(str(status)).lstrip(': ') or said}"


def said_in(body: str) -> str | None:
    """The words of an error body in one line, whichever dialect wraps them; an unknown form is words itself."""
    try:
        wrapped = _JSON.decode(body)
    except UNREADABLE:
        return sanitize_line(body) or None
    return sentence(wrapped) or (sanitize_line(body) if wrapped else None)


def _bounded(body: str) -> str:
    """An error body as it is where it is short and has only printable lines, else what of it can be shown."""
    try:
        told = _JSON.decode(body)
    except UNREADABLE:
        return body
    seen = bounded(told)
    return body if len(body) <= MOST_ERROR_BYTES and seen == told else msgspec.json.encode(seen).decode()


def _decoded(reply: Reply, body: bytes) -> Json:
    """What a body holds; an error in its place is one also where the status says that all is well."""
    told = _read(reply, body)
    failure = told.get("error") if isinstance(told, dict) else None
    if is_reported(failure):
        message = f"{reply.who} reported an error: {sentence(failure) or 'without a reason'}"
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, message, status=reply.status)
    return told


def _read(reply: Reply, body: bytes) -> Json:
    try:
        return _JSON.decode(body)
    except UNREADABLE as error:
        if (told := loosely(body)) is not None:
            return told
        content_type = sanitize_line(reply.content_type) or "no content type"
        message = f"{reply.who} answered something that is not JSON ({content_type})"
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, message, status=reply.status) from error
