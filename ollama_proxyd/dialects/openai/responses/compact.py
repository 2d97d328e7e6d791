"""Compaction of the Responses API: the model sums a conversation up, and the summary stands for it in later calls."""

from collections.abc import Iterable

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Event, Finished, FinishReason
from ollama_proxyd.core.requests import Hints, Json, Request
from ollama_proxyd.dialects.base import Stamps
from ollama_proxyd.dialects.framing.jsonbody import decode_object
from ollama_proxyd.dialects.openai.responses.dialect import PATH, Responses, by_id, user_message
from ollama_proxyd.dialects.openai.responses.encode import Ids, ResponseEncoder, usage_of
from ollama_proxyd.dialects.openai.responses.sealing import sealed

COMPACT_PATH = f"{PATH}/compact"

_ASK = (
    "Sum this conversation up for whoever goes on with it and cannot read it: the goals, decisions, facts, names, "
    "numbers, results of tools, and what is still to do. Give the summary alone."
)

_NOT_OF_A_SUMMARY = ("tools", "tool_choice", "parallel_tool_calls", "text")
"""With them the model might call a tool, or write JSON."""


class Compaction(Responses):
    """A call that answers with the user's messages and one item for all the rest."""

    def parse(self, body: bytes, hints: Hints) -> Request:
        """The conversation with the wish for a summary at its end; raises ProxyError."""
        fields = {name: value for name, value in decode_object(body).items() if name not in _NOT_OF_A_SUMMARY}
        given = fields.get("input")
        items = [user_message(given)] if isinstance(given, str) else given if given is not None else []
        if (items or fields.get("previous_response_id") is not None) and isinstance(items, list):
            items = [*items, user_message(_ASK)]
        return self.read({**fields, "input": items, "store": False, "stream": False}, hints)

    def encoder(self, request: Request, stamps: Stamps, begun_ns: int) -> ResponseEncoder:  # noqa: ARG002 - see base
        """The encoder of the answer."""
        key = stamps.new_id()
        users = [{"type": "message", **item} for item in self.items[:-1] if item.get("role") == "user"]
        told = by_id(users, f"in_{key}")
        return _Encoder(
            request, Ids(key, stamps.unix_s(), stamps.unix_s), [msgspec.Raw(each) for each in told.values()]
        )


class _Encoder(ResponseEncoder):
    """Writes one answer, in one piece: this call has no stream."""

    def __init__(self, request: Request, ids: Ids, told: list[Json]) -> None:
        super().__init__(request, {}, ids, None)
        self._ids, self._told = ids, told

    def whole(self, events: Iterable[Event]) -> bytes:
        """The answer as one JSON object; ProxyError where the model gave no whole summary."""
        said, finished = [], Finished()
        for event in events:
            if isinstance(event, Delta):
                said.append(event.text)
            elif isinstance(event, Finished):
                finished = event
        summary = "".join(said).strip()
        if not summary:
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, "the model gave no summary; ask again, or ask another model")
        if finished.reason is FinishReason.LENGTH:
            message = "the summary was cut before its end: allow more max_output_tokens, or sum less up at once"
            raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="max_output_tokens")
        item = {"type": "compaction", "id": f"cmp_{self._ids.key}", "encrypted_content": sealed(summary)}
        answer = {
            "id": f"resp_{self._ids.key}",
            "object": "response.compaction",
            "created_at": self._ids.created,
            "output": [*self._told, item],
            "usage": usage_of(finished.usage),
        }
        return msgspec.json.encode(answer)
