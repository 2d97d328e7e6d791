"""What clients of the Responses API read of an answer, as strictly as the strictest of them."""

from typing import ClassVar

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.passing import Count, Form, Passed


class _Item(Passed):
    type: str
    id: str | None = None
    status: str | None = None
    role: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None


class _Usage(Passed):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    total_tokens: Count | None = None


class _Response(Passed):
    id: str
    output: list[_Item]
    error: None = None
    object: str = "response"
    model: str = ""
    status: str | None = None
    usage: _Usage | None = None
    stand_ins: ClassVar = {"id": "", "object": "response", "model": ""}


class _Event(Passed):
    type: str
    error: None = None
    sequence_number: Count | None = None
    output_index: Count | None = None
    content_index: Count | None = None
    item_id: str | None = None
    delta: str | None = None
    text: str | None = None
    item: _Item | None = None
    response: _Response | None = None

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """A response that starts holds nothing yet."""
        response = told.get("response")
        return {**told, "response": {"output": [], **response}} if isinstance(response, dict) else told


EVENTS = Form(_Event, ("type",), (b"event: response.output_text.delta\ndata: ", b"\n\n"))
RESPONSE = Form(_Response, ("output", "status"))
