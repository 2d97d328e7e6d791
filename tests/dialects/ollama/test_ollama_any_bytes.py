"""Whatever a client or a backend sends, the Ollama dialect reads it or refuses it, and never fails otherwise."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Event, ToolCallDelta
from ollama_proxyd.core.requests import Hints, Request
from ollama_proxyd.dialects.framing.gathering import ToolCalls
from ollama_proxyd.dialects.framing.limits import MOST_ARGUMENTS_CHARACTERS, MOST_CALLS
from ollama_proxyd.dialects.ollama.decode import LineDecoder, decode_answer, decode_vectors, peek_answer, peek_usage
from ollama_proxyd.dialects.ollama.encode import LineEncoder
from ollama_proxyd.dialects.ollama.models import parse_show
from ollama_proxyd.dialects.ollama.parse import parse_chat, parse_embed, parse_embeddings, parse_generate
from ollama_proxyd.dialects.ollama.render import render as render_ollama
from ollama_proxyd.dialects.openai.encode import ChatEncoder
from ollama_proxyd.dialects.openai.render import render as render_openai
from tests.any_json import HUGE, nearly_bytes
from tests.dialects.openai.openai_samples import openai_chat

OPTIONS = {"num_predict": 5, "temperature": 0.5, "top_k": 1, "seed": 1, "stop": ["a"], "num_ctx": 100, "mirostat": 1}
SETTINGS = {"model": "x", "stream": True, "keep_alive": "5m", "truncate": True, "shift": True, "options": OPTIONS}
TEXT = {**SETTINGS, "format": {"type": "object"}, "think": "low", "logprobs": True, "top_logprobs": 2}
CALL = {"id": "a", "function": {"name": "f", "arguments": {"x": "x"}}}
MESSAGES = [
    {"role": "user", "content": "x", "images": ["/9j/AAAA"]},
    {"role": "assistant", "content": "x", "thinking": "t", "tool_calls": [CALL]},
    {"role": "tool", "content": "x", "tool_name": "f", "tool_call_id": "a"},
]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
CALLS: list[tuple[Any, Any]] = [
    (parse_chat, {**TEXT, "messages": MESSAGES, "tools": TOOLS}),
    (parse_generate, {**TEXT, "prompt": "x", "suffix": "x", "system": "x", "context": [1], "images": ["/9j/AAAA"]}),
    (parse_embed, {**SETTINGS, "input": ["x", "y"], "dimensions": 4}),
    (parse_embeddings, {**SETTINGS, "prompt": "x"}),
]
BODIES = st.sampled_from(CALLS).flatmap(lambda call: st.tuples(st.just(call[0]), nearly_bytes(call[1])))
LOGPROB = {"token": "x", "logprob": -1, "bytes": [1], "top_logprobs": [{"token": "x", "logprob": -2}]}
LINE = {
    "message": {"role": "assistant", "content": "x", "thinking": "t", "tool_calls": [CALL]},
    "response": "x",
    "thinking": "t",
    "done": True,
    "done_reason": "stop",
    "total_duration": 1,
    "load_duration": 1,
    "prompt_eval_count": 1,
    "prompt_eval_duration": 1,
    "eval_count": 1,
    "eval_duration": 1,
    "logprobs": [LOGPROB],
    "error": None,
}
VECTORS = {"embeddings": [[0.1, 0.2]], "embedding": [0.1], "prompt_eval_count": 1, "total_duration": 1}


def told_to_others(request: Request, model: str = "other") -> None:
    """Have the whole of a request read and written for every kind of backend."""
    with suppress(ProxyError):
        request.content()
    with suppress(ProxyError):
        render_ollama(request, model)
    for flavor in ("generic", "llamacpp", "vllm", "openai"):
        with suppress(ProxyError):
            render_openai(request, model, flavor)


@given(BODIES | st.tuples(st.sampled_from(CALLS).map(lambda call: call[0]), st.binary(max_size=40)))
def test_any_body_is_read_and_translated_or_refused(call: tuple[Any, bytes]) -> None:
    parse, body = call
    with suppress(ProxyError):
        told_to_others(parse(body, Hints()))


@given(nearly_bytes({"model": "x", "name": "x", "verbose": True, "options": OPTIONS, "system": "x"}))
def test_any_question_about_a_model_is_read_or_refused(body: bytes) -> None:
    with suppress(ProxyError):
        parse_show(body)


@pytest.mark.parametrize(("parse", "sample"), CALLS)
@pytest.mark.parametrize("depth", [*range(950, 1001, 10), 100_000])
@pytest.mark.parametrize("field", ["think", "format", "options", "keep_alive", "tools", "x"])
def test_a_body_of_any_depth_is_translated_or_refused(parse: Any, sample: Any, depth: int, field: str) -> None:
    nest = b"[" * depth + b"]" * depth
    nest = {"options": b'{"x":' + nest + b"}", "tools": b'[{"x":' + nest + b"}]", "format": b'{"x":' + nest + b"}"}.get(
        field, nest
    )
    head = b'{"model":"x","messages":[{"role":"user"}],"prompt":"x","input":"x","' + field.encode() + b'":'
    with suppress(ProxyError):
        told_to_others(parse(head + nest + b"}", Hints()))


@pytest.mark.parametrize("parse", [call[0] for call in CALLS])
@pytest.mark.parametrize("value", [b"1e999", b'"\xff"', b'{"x":-1e999}'])
@pytest.mark.parametrize("field", [b"seed", b"keep_alive"])
def test_a_field_whose_value_cannot_be_held_is_refused(parse: Any, value: bytes, field: bytes) -> None:
    body = b'{"model":"x","messages":[{"role":"user"}],"prompt":"x","input":"x","%b":%b}' % (field, value)
    with pytest.raises(ProxyError) as caught:
        parse(body, Hints()).content()
    assert caught.value.kind is ErrorKind.INVALID_REQUEST


@given(st.lists(nearly_bytes(LINE), min_size=1, max_size=3), st.booleans())
def test_any_stream_is_read_and_encoded_or_fails_as_an_answer(lines: list[bytes], legacy: bool) -> None:
    block = b"\n".join(lines) + b"\n"
    assert peek_usage(block, 3) is not None
    assert peek_answer(block) is not None
    decoder = LineDecoder()
    events: list[Event] = []
    with suppress(ProxyError):
        events += decoder.feed(block)
        events.append(decoder.finish())
    encoder = ChatEncoder(openai_chat(), 1, "id")
    for event in events:
        encoder.encode(event)
    ChatEncoder(openai_chat(), 1, "id").whole(events)


@given(nearly_bytes(LINE) | nearly_bytes(VECTORS))
def test_any_whole_answer_is_read_or_fails_as_one(body: bytes) -> None:
    for decode in (decode_answer, decode_vectors):
        with suppress(ProxyError):
            decode(body)


@given(nearly_bytes(LINE))
def test_any_answer_that_was_read_can_be_told_to_an_ollama_client(body: bytes) -> None:
    request = parse_chat(b'{"model":"x","messages":[{"role":"user","content":"x"}]}', Hints())
    with suppress(ProxyError):
        LineEncoder(request, lambda: "now", lambda: 5).whole(decode_answer(body))


@pytest.mark.parametrize("parse", [call[0] for call in CALLS])
def test_a_model_is_kept_for_ever_when_no_number_holds_how_long(parse: Any) -> None:
    body = b'{"model":"x","prompt":"x","input":"x","messages":[{"role":"user"}],"keep_alive":%d}'
    assert parse(body % HUGE, Hints()).load_action is None
    assert parse(body % -HUGE, Hints()).load_action is None


def test_arguments_that_are_not_utf8_are_the_clients_fault() -> None:
    body = b'{"model":"x","messages":[{"role":"a","tool_calls":[{"function":{"name":"f","arguments":{"a":"\xff"}}}]}]}'
    with pytest.raises(ProxyError, match="UTF-8") as caught:
        parse_chat(body, Hints()).content()
    assert caught.value.param == "messages.tool_calls.function.arguments"


def test_in_arguments_that_are_not_utf8_one_letter_is_lost() -> None:
    line = b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"a":"\xff"}}}]},"done":true}'
    (delta,) = LineDecoder().feed(line + b"\n")
    assert isinstance(delta, Delta)
    assert delta.tool_calls[0].arguments == '{"a":"\ufffd"}'


def test_an_embedding_of_nothing_can_be_written_for_any_server() -> None:
    told_to_others(parse_embeddings(b'{"model":"x","prompt":""}', Hints()))


def test_an_answer_of_endless_tool_calls_fails() -> None:
    line = b'{"message":{"tool_calls":[{"function":{"name":"f"}}]},"done":false}\n'
    decoder = LineDecoder()
    assert len(decoder.feed(line * MOST_CALLS)) == MOST_CALLS
    with pytest.raises(ProxyError, match="tool calls"):
        decoder.feed(line)


def test_endless_arguments_are_not_gathered() -> None:
    calls = ToolCalls()
    calls.add([ToolCallDelta(0, arguments="x" * MOST_ARGUMENTS_CHARACTERS)])
    with pytest.raises(ProxyError, match="characters of arguments"):
        calls.add([ToolCallDelta(1, arguments="x")])
