"""What a client of the Responses API is told when an answer goes on from an engine's own events."""

import json
from typing import Any

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Delta, Finished, FinishReason, ToolCallDelta
from ollama_proxyd.core.requests import Hints
from ollama_proxyd.dialects.framing import sse
from ollama_proxyd.dialects.openai.parse import parse_chat
from ollama_proxyd.dialects.openai.responses.encode import Ids, ResponseEncoder

ASKED = parse_chat(b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}', Hints())


def following(*told: dict[str, Any]) -> ResponseEncoder:
    encoder = ResponseEncoder(ASKED, {}, Ids("key", 1, lambda: 2), None)
    encoder.follow(
        b"".join(sse.framed(json.dumps({"sequence_number": at, **each}).encode()) for at, each in enumerate(told))
    )
    return encoder


def finished_with(name: str, arguments: str) -> list[dict[str, Any]]:
    encoder = ResponseEncoder(ASKED, {}, Ids("key", 1, lambda: 2), None)
    sent = encoder.encode(Delta(tool_calls=(ToolCallDelta(0, "c1", name, arguments),)))
    try:
        sent += encoder.encode(Finished(FinishReason.TOOL_CALLS))
    except ProxyError as error:
        sent += encoder.failed(error)
    return [json.loads(each.removeprefix(b"data: ")) for each in sent.splitlines() if each.startswith(b"data: ")]


def test_arguments_are_told_as_the_model_wrote_them_also_where_they_are_no_object() -> None:
    for arguments in ("[1]", "oops", '{"a":'):
        *_, told = finished_with("f", arguments)
        assert told["type"] == "response.completed"
        assert told["response"]["output"][0]["arguments"] == arguments


def test_a_response_that_fails_at_its_end_has_all_its_events_in_order() -> None:
    told = finished_with("", '{"a":1}')
    assert [each["type"] for each in told] == ["response.created", "response.in_progress", "response.failed", "error"]
    assert [each["sequence_number"] for each in told] == [0, 1, 2, 3]


def test_an_item_that_has_no_id_is_gone_on_with_under_one() -> None:
    encoder = following(
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "role": "assistant"}},
        {"type": "response.output_text.delta", "delta": "Hel"},
    )
    (told,) = [json.loads(each) for each in sse.events(encoder.encode(Delta("lo")))]
    assert (told["type"], told["delta"], told["sequence_number"]) == ("response.output_text.delta", "lo", 3)
    assert told["item_id"]
