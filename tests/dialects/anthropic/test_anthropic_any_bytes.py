"""Whatever a client or a backend sends, the Anthropic dialect reads it or refuses it, and never fails otherwise."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Event
from ollama_proxyd.core.requests import Hints
from ollama_proxyd.dialects.anthropic.decode import EventDecoder, decode_answer
from ollama_proxyd.dialects.anthropic.dialect import Anthropic
from ollama_proxyd.dialects.anthropic.encode import MessageEncoder
from ollama_proxyd.dialects.anthropic.ending import peek_answer, peek_usage
from ollama_proxyd.dialects.anthropic.parse import parse_count, parse_message
from ollama_proxyd.dialects.anthropic.passing import EVENTS, MESSAGE
from ollama_proxyd.dialects.base import Dialect
from ollama_proxyd.dialects.ollama.dialect import Ollama
from ollama_proxyd.dialects.openai.dialect import OpenAI
from tests.any_json import nearly_bytes
from tests.dialects.anthropic.test_anthropic_parse import BY_ADDRESS, IMAGE, TOOL, TURNS

SEEN = {"role": "user", "content": [IMAGE, BY_ADDRESS, {"type": "text", "text": "x"}]}
BODY = {
    "model": "x",
    "max_tokens": 5,
    "messages": [*TURNS, SEEN],
    "system": [{"type": "text", "text": "x"}],
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 3,
    "stop_sequences": ["a"],
    "stream": True,
    "tools": [TOOL],
    "tool_choice": {"type": "auto"},
    "thinking": {"type": "enabled", "budget_tokens": 9},
    "metadata": {"user_id": "u"},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
}
SAID = {"type": "text_delta", "text": "x", "thinking": "t", "partial_json": "{", "stop_reason": "end_turn"}
BLOCK = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}, "text": "x"}
USAGE = {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 3}
ANSWER = {"type": "message", "role": "assistant", "content": [BLOCK], "stop_reason": "end_turn", "usage": USAGE}
FRAME = {"type": "content_block_delta", "index": 0, "delta": SAID, "content_block": BLOCK, "message": ANSWER}
DIALECTS: tuple[Dialect, ...] = (OpenAI(), Ollama(), Anthropic())


@given(nearly_bytes(BODY) | st.binary(max_size=40))
def test_a_request_is_read_or_refused(body: bytes) -> None:
    with suppress(ProxyError):
        parse_count(body, Hints())
    with suppress(ProxyError):
        request = parse_message(body, Hints())
        Anthropic(ignores_disabled=True).takes(request)
        for dialect in DIALECTS:
            with suppress(ProxyError):
                dialect.render(request, "own")


@given(nearly_bytes(FRAME) | nearly_bytes(ANSWER) | st.binary(max_size=40))
def test_an_answer_is_read_skipped_or_refused(said: bytes) -> None:
    block = b"event: content_block_delta\ndata: " + said.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n\n"
    decoder, told = EventDecoder(), list[Event]()
    with suppress(ProxyError):
        told += decoder.feed(block)
        told.append(decoder.finish())
    with suppress(ProxyError):
        told += decode_answer(said)
    peek_usage(block, 1)
    peek_answer(said)
    Anthropic().rename(block, "other")
    Anthropic.end_of_answer(block)
    for form in (EVENTS, MESSAGE):
        form.plain_frames(block)
        form.is_strict(said)
        form.mended(said, {"model": "x"})
    encoder = MessageEncoder(parse_message(b'{"model":"x","max_tokens":5,"messages":[{"role":"user"}]}', Hints()), "1")
    with suppress(ProxyError):
        encoder.follow(block)
        assert b"".join(encoder.encode(each) for each in told).count(b"message_start") <= 1
        encoder.whole(told)


@pytest.mark.parametrize("index", [-1, 10**30, "0", None, True])
def test_a_block_at_no_place_begins_none(index: object) -> None:
    encoder = MessageEncoder(parse_message(b'{"model":"x","max_tokens":5,"messages":[{"role":"user"}]}', Hints()), "1")
    encoder.follow(f'data: {{"type":"content_block_stop","index":{str(index).lower()}}}\n\n'.encode())
