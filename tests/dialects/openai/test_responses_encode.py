"""What a client of the Responses API is told when an answer goes on from an engine's own events."""

import json
from typing import Any

from ollama_proxyd.core.events import Delta
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


def test_an_item_that_has_no_id_is_gone_on_with_under_one() -> None:
    encoder = following(
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "role": "assistant"}},
        {"type": "response.output_text.delta", "delta": "Hel"},
    )
    (told,) = [json.loads(each) for each in sse.events(encoder.encode(Delta("lo")))]
    assert (told["type"], told["delta"], told["sequence_number"]) == ("response.output_text.delta", "lo", 3)
    assert told["item_id"]
