"""Reads what a gateway asks: the path and the hints in the headers, the allowed endpoints, and the request's body."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ollama_proxyd.core.hints import read_hint
from ollama_proxyd.core.prefixes import blocks_of
from ollama_proxyd.core.requests import Api, Chat, Hints, Operation, Request
from ollama_proxyd.core.values import value
from ollama_proxyd.dialects.anthropic.dialect import Anthropic
from ollama_proxyd.dialects.base import Dialect, Parse
from ollama_proxyd.dialects.framing.jsonbody import readable
from ollama_proxyd.dialects.framing.received import received
from ollama_proxyd.dialects.ollama.dialect import Ollama
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.dialects.openai.parse import BYTES_PER_TOKEN
from ollama_proxyd.edges.plumbing.hint_headers import FIELD_OF, HEADERS
from ollama_proxyd.services.picker import Errand

OPENAI: Final = OpenAI()
CALLS: Final[Mapping[str, tuple[Dialect, Parse]]] = {
    path: (dialect, parse) for dialect in (OPENAI, Ollama(), Anthropic()) for path, parse in dialect.calls.items()
}
SUBSET_NAMESPACE, SUBSET_KEY = "envoy.lb.subset_hint", "x-gateway-destination-endpoint-subset"
ENDPOINT_NAMESPACE, SERVED_KEY = "envoy.lb", "x-gateway-destination-endpoint-served"
MOST_HEADERS: Final = 1000
_REQUEST_ID: Final = "x-request-id"
_READ: Final = frozenset({":path", ":method", ":status", "content-type", "content-encoding", _REQUEST_ID, *FIELD_OF})
"""The headers that mean something here."""
_PLAIN_ID = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)


class _Beginning(msgspec.Struct):
    """What engines put at the beginning of a prompt, in their order, as the client wrote it."""

    model: msgspec.Raw = msgspec.Raw()
    tools: msgspec.Raw = msgspec.Raw()
    system: msgspec.Raw = msgspec.Raw()
    instructions: msgspec.Raw = msgspec.Raw()
    messages: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()


class _Named(msgspec.Struct):
    """A request of another path, as far as it can be routed."""

    model: str = ""
    stream: bool = False


_BEGINNING = msgspec.json.Decoder(_Beginning)
_NAMED = msgspec.json.Decoder(_Named)
_WRITES: Final = frozenset({"/v1/responses"})
"""Further paths that are answered in words; all others take the time that their input needs."""


@value
class Head:
    """The head of a request; `call` is None where its path is none that engines answer with inference."""

    path: str
    call: tuple[Dialect, Parse] | None
    headers: Mapping[str, str]
    within: frozenset[str] | None

    @property
    def dialect(self) -> Dialect:
        """In whose words errors are told."""
        return OPENAI if self.call is None else self.call[0]

    def hints(self) -> Hints:
        """What its headers say of routing; ProxyError names the one that is wrong."""
        found = {
            FIELD_OF[name]: read_hint(FIELD_OF[name], value.strip(), HEADERS[FIELD_OF[name]])
            for name, value in self.headers.items()
            if name in FIELD_OF
        }
        given = self.headers.get(_REQUEST_ID, "")
        return Hints(request_id=given if _PLAIN_ID.fullmatch(given) else "", **found)

    def without_body(self) -> Errand:
        """What is asked where there is no body, or none that can be read before the endpoint is chosen."""
        return Errand(None, self.hints(), self.within)

    def read(self, body: bytes) -> Errand:
        """What is asked with a body; ProxyError where it is not one of its path."""
        hints = self.hints()
        if self.call is None:
            request = self._named(body, hints)
        else:
            parse = self.call[1]
            request = received(body, lambda whole: parse(whole, hints))
        return Errand(request, hints, self.within, () if request is None else _blocks(body))

    def _named(self, body: bytes, hints: Hints) -> Request | None:
        """A request of another path, where its body names a model."""
        named = readable(_NAMED, body)
        if named is None or not named.model:
            return None
        return Request(
            operation=Operation.CHAT if self.path in _WRITES else Operation.EMBEDDING,
            api=Api.OPENAI,
            endpoint=self.path,
            model=named.model,
            stream=named.stream,
            body=body,
            content=lambda: Chat(()),
            hints=hints,
            prompt_tokens=max(1, len(body) // BYTES_PER_TOKEN),
        )


def read_head(message: Any) -> Head:
    """The head of a request by its message."""
    headers = header_texts(message.request_headers.headers)
    path = headers.get(":path", "").partition("?")[0].rstrip("/")
    call = CALLS.get(path) if headers.get(":method", "POST") == "POST" else None
    return Head(path, call, headers, _subset(message))


def header_texts(headers: Any) -> Mapping[str, str]:
    """Headers that mean something here, by name; of several of one name the first."""
    found: dict[str, str] = {}
    for each in headers.headers[:MOST_HEADERS]:
        name = each.key.lower()
        if name in _READ and name not in found:
            found[name] = each.raw_value.decode("utf-8", "replace") or each.value
    return found


def _subset(message: Any) -> frozenset[str] | None:
    """The endpoints from which is picked, None where the gateway allows all."""
    namespaces = message.metadata_context.filter_metadata
    if SUBSET_NAMESPACE not in namespaces:
        return None
    fields = namespaces[SUBSET_NAMESPACE].fields
    if SUBSET_KEY not in fields:
        return None
    value = fields[SUBSET_KEY]
    if value.WhichOneof("kind") == "string_value":  # some gateways write the list in one text
        return frozenset(each.strip() for each in value.string_value.split(",") if each.strip())
    return frozenset(each.string_value for each in value.list_value.values)


def read_served(message: Any) -> str | None:
    """The endpoint that answered, where the gateway tells it."""
    namespaces = message.metadata_context.filter_metadata
    if ENDPOINT_NAMESPACE not in namespaces:
        return None
    fields = namespaces[ENDPOINT_NAMESPACE].fields
    return fields[SERVED_KEY].string_value or None if SERVED_KEY in fields else None


def _blocks(body: bytes) -> tuple[int, ...]:
    found = readable(_BEGINNING, body)
    if found is None:
        return ()
    start = tuple(map(bytes, (found.model, found.tools, found.system, found.instructions)))
    return blocks_of(start, bytes(found.messages) or bytes(found.prompt) or bytes(found.input))
