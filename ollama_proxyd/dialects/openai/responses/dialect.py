"""The Responses API as its clients use it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import msgspec

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.kept_responses import KeptResponse, KeptResponses
from ollama_proxyd.core.requests import Api, Hints, Json, Request
from ollama_proxyd.dialects.base import ClientDialect, Stamps
from ollama_proxyd.dialects.framing.jsonbody import convert_typed, decode_object, invalid_request
from ollama_proxyd.dialects.framing.limits import MOST_MESSAGES
from ollama_proxyd.dialects.openai.errors import render_error
from ollama_proxyd.dialects.openai.options import PLACES
from ollama_proxyd.dialects.openai.parse import parse_chat
from ollama_proxyd.dialects.openai.responses.convert import chat_of, kept_items
from ollama_proxyd.dialects.openai.responses.decode import response_in
from ollama_proxyd.dialects.openai.responses.encode import Ids, ResponseEncoder, own_error
from ollama_proxyd.dialects.openai.responses.request import Body, Item

PATH = "/v1/responses"

_NAMES = {
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "max_completion_tokens": "max_output_tokens",
}
"""What this API calls a chat's fields."""

_PLACE = re.compile(r"([^.\[]*)(?:\[([0-9]{1,9})\])?(.*)", re.DOTALL)
"""A field, its place in a list, and what is in it."""


class Responses(ClientDialect):
    """Server-sent events with names, for one request.

    kept: where finished responses are kept and earlier ones found.
    """

    api = Api.RESPONSES
    whole_type = "application/json"
    stream_type = "text/event-stream"
    prefix = PATH
    landmark = b"data:"
    option_places = MappingProxyType({**PLACES, "max_tokens": ("max_output_tokens", *PLACES["max_tokens"])})
    render_error = staticmethod(render_error)

    def __init__(self, kept: KeptResponses) -> None:
        self._kept = kept
        self._asked = Body()
        self._fields: Mapping[str, Json] = {}
        self.items: list[Json] = []
        """The conversation, with what went before."""
        self._origins: tuple[int | None, ...] = ()
        self._encoder: ResponseEncoder | None = None

    def parse(self, body: bytes, hints: Hints) -> Request:
        """The request, as a chat that holds what went before; raises ProxyError."""
        fields = decode_object(body)
        return replace(self.read(fields, hints), original=self._original(body, fields))

    def _original(self, body: bytes, fields: Mapping[str, Json]) -> bytes | None:
        """The client's own bytes, what only we keep written out; None where an engine could not read them."""
        if any(item.get("type") == "compaction" for item in self.items):
            return None
        given = fields.get("input")
        if self._asked.previous_response_id is None and (isinstance(given, str) or given == self.items):
            return body
        rest = {name: value for name, value in fields.items() if name != "previous_response_id"}
        return msgspec.json.encode({**rest, "input": self.items})

    def read(self, fields: dict[str, Json], hints: Hints) -> Request:
        """The request of a decoded body; raises ProxyError."""
        self._fields = fields
        self._asked = asked = convert_typed(fields, Body)
        before, given = self._before(asked), self._given(fields.get("input"))
        self.items = items = [*before, *given]
        if not items:
            raise invalid_request("input is required", "input")
        if len(items) > MOST_MESSAGES:
            raise invalid_request(f"'input' holds more than {MOST_MESSAGES} items, the most that are read", "input")
        typed = convert_typed({"input": given}, Body).input
        told = [each for each in typed or () if isinstance(each, Item)]
        chat, self._origins = chat_of(fields, asked, kept_items(before), told)
        try:
            request = parse_chat(msgspec.json.encode(chat), hints)
        except ProxyError as error:
            raise self._renamed(error) from error
        return replace(request, api=self.api, endpoint="responses", calls_come_whole=True)

    def _before(self, asked: Body) -> list[Json]:
        previous = asked.previous_response_id
        return [] if previous is None else [msgspec.json.decode(item) for item in self._kept.before(previous)]

    def _given(self, given: Json) -> list[Json]:
        """The input as items; references become what they name."""
        if isinstance(given, str):
            return [user_message(given)]
        return [self._resolved(item, f"input[{index}]") for index, item in enumerate(given or ())]

    def _resolved(self, item: dict[str, Json], field: str) -> Json:
        if item.get("type") != "item_reference":
            return item
        return msgspec.json.decode(self._kept.item(str(item.get("id")), field))

    def ended_with(self, block: bytes) -> None:
        """Keep a response that an engine wrote."""
        response = response_in(block)
        if response is None or self._asked.store is False:
            return
        response_id, output = response.get("id"), response.get("output")
        if not isinstance(response_id, str) or not response_id or not isinstance(output, list):
            return
        told = {**response, "previous_response_id": self._asked.previous_response_id}
        items = [item for item in output if isinstance(item, dict)]
        self._keep(response_id, response_id, msgspec.json.encode(told), items)

    def encoder(self, request: Request, stamps: Stamps, begun_ns: int) -> ResponseEncoder:  # noqa: ARG002 - see base
        """The encoder of the answer."""
        key = stamps.new_id()
        keep = partial(self._keep, key) if self._asked.store is not False else None
        self._encoder = ResponseEncoder(request, self._settings(), Ids(key, stamps.unix_s(), stamps.unix_s), keep)
        return self._encoder

    def stream_error(self, error: ProxyError) -> bytes:
        """The last events of a stream that broke off."""
        return own_error(error) if self._encoder is None else self._encoder.failed(error)

    def reworded(self, error: ProxyError, request: Request) -> ProxyError:  # noqa: ARG002 - see base
        """The error with the fields as the client wrote them."""
        return self._renamed(error)

    def _renamed(self, error: ProxyError) -> ProxyError:
        if error.param is None:
            return error
        head, place, rest = _PLACE.findall(error.param)[0]
        name = _NAMES.get(head, head)
        if head == "messages" and place and int(place) < len(self._origins):
            origin = self._origins[int(place)]
            name, place = ("instructions", "") if origin is None else ("input", str(origin))
            if origin is not None and origin < 0:
                name, place, rest = "previous_response_id", "", ""
        return error.named({error.param: name + (f"[{place}]" if place else "") + rest})

    def _settings(self) -> dict[str, Json]:
        """What the client asked for, as a response repeats it."""
        asked, fields = self._asked, self._fields
        text = fields.get("text") or {}
        reasoning = fields.get("reasoning") or {}
        return {
            "background": False,
            "frequency_penalty": asked.frequency_penalty or 0,
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "max_tool_calls": asked.max_tool_calls,
            "metadata": asked.metadata or {},
            "parallel_tool_calls": asked.parallel_tool_calls is not False,
            "presence_penalty": asked.presence_penalty or 0,
            "previous_response_id": asked.previous_response_id,
            "prompt_cache_key": asked.prompt_cache_key,
            "reasoning": {"effort": None, "summary": None, **reasoning},
            "safety_identifier": asked.safety_identifier,
            "service_tier": "default",
            "store": asked.store is not False,
            "temperature": asked.temperature,
            "text": {"format": {"type": "text"}, **text},
            "tool_choice": fields.get("tool_choice") or "auto",
            "tools": fields.get("tools") or [],
            "top_logprobs": asked.top_logprobs,
            "top_p": asked.top_p,
            "truncation": asked.truncation or "disabled",
            "user": asked.user,
        }

    def _keep(self, key: str, response_id: str, response: bytes, output: list[Json]) -> None:
        """Keep a finished response with its input, of which every item has an id."""
        entry = KeptResponse(response, by_id(self.items, f"in_{key}"), by_id(output, f"out_{key}"))
        self._kept.keep(response_id, entry)


def user_message(text: str) -> dict[str, Json]:
    """A person's words as an item."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def by_id(items: Sequence[Json], prefix: str) -> dict[str, bytes]:
    """The JSON of items by their ids; one without an id, or with another's, gets one."""
    found: dict[str, bytes] = {}
    for index, item in enumerate(items):
        own = item.get("id")
        item_id = own if own and own not in found else f"{prefix}_{index}"
        found[item_id] = msgspec.json.encode({**item, "id": item_id})
    return found
