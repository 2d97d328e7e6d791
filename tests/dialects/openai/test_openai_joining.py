"""A stream of llama-server's becomes the whole answer that it would have written, where its pieces are just that."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.requests import Hints, Request
from ollama_proxyd.dialects.openai.joining import Joiner
from ollama_proxyd.dialects.openai.parse import parse_chat, parse_completion
from ollama_proxyd.dialects.openai.quirks import Quirks
from ollama_proxyd.dialects.openai.render import render

HEAD = {"created": 1795933726, "id": "chatcmpl-7Vf", "model": "tiny", "system_fingerprint": "b11669-Debian"}
COUNTS: dict[str, Any] = {
    "usage": {
        "completion_tokens": 3,
        "prompt_tokens": 25,
        "total_tokens": 28,
        "prompt_tokens_details": {"cached_tokens": 24},
    },
    "timings": {"cache_n": 24, "prompt_n": 1, "prompt_ms": 0.248, "predicted_n": 3, "predicted_ms": 2.011},
}
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "stream": False, "temperature": 0}
JOINS = Quirks(joins=True)


def chunk(delta: dict[str, Any] | None, reason: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"finish_reason": reason, "index": 0, "delta": delta}]
    return (
        b"data: %s\n\n" % json.dumps({"choices": choices, **HEAD, "object": "chat.completion.chunk", **more}).encode()
    )


STREAM = (
    chunk({"role": "assistant", "content": None}),
    chunk({"reasoning_content": "Let"}),
    chunk({"reasoning_content": " me"}),
    chunk({"content": 'Grüß "usage"'}),
    chunk({"content": " Gott"}),
    chunk({}, "length"),
    chunk(None, **COUNTS),
    b"data: [DONE]\n\n",
)


def asked(**fields: Any) -> Request:
    return parse_chat(json.dumps({**CHAT, **fields}).encode(), Hints())


def joined(name: str | None = None, *frames: bytes) -> Any:
    joiner = Joiner(name, "asked")
    for frame in frames or STREAM:
        joiner.feed(frame)
    joiner.finish()
    return json.loads(joiner.closing)


def test_every_field_is_that_of_the_whole_answer() -> None:
    message = {"role": "assistant", "content": 'Grüß "usage" Gott', "reasoning_content": "Let me"}
    choice = {"finish_reason": "length", "index": 0, "message": message}
    assert joined() == {"choices": [choice], **HEAD, "object": "chat.completion", **COUNTS}
    assert joined("nick")["model"] == "nick"


def test_without_thinking_there_is_no_field_for_it_and_without_words_an_empty_content() -> None:
    frames = STREAM[0], *STREAM[5:]
    assert joined(None, *frames)["choices"][0]["message"] == {"role": "assistant", "content": ""}


@pytest.mark.parametrize("name", [b"null", b"7", b"{}"])
def test_where_the_engine_does_not_name_the_model_it_is_called_as_it_was_asked(name: bytes) -> None:
    model = re.search(rb'"model":\s?("[^"]*")', STREAM[0])
    assert model is not None
    frames = tuple(frame.replace(model[1], name) for frame in STREAM)
    assert joined(None, *frames)["model"] == "asked"


def test_control_characters_in_a_chunk_cost_no_answer() -> None:
    raw = b'data: {"choices":[{"index":0,"delta":{"content":"a\x01b"}}]}\n\n'
    assert joined(None, raw, *STREAM[-3:])["choices"][0]["message"]["content"] == "a\x01b"


@pytest.mark.parametrize("kept", range(len(STREAM) - 2))
def test_one_that_breaks_off_is_no_answer(kept: int) -> None:
    with pytest.raises(ProxyError):
        joined(None, *(STREAM[:kept] or (b": nothing\n\n",)))


def test_a_whole_chat_is_asked_for_as_a_stream_under_the_engines_name_of_the_model() -> None:
    rendered = render(asked(seed=1), "gguf", quirks=JOINS)
    assert isinstance(rendered.joiner and rendered.joiner(None), Joiner)
    wanted = {**CHAT, "seed": 1, "model": "gguf", "stream": True, "stream_options": {"include_usage": True}}
    assert json.loads(rendered.body) == wanted


TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
OWN_FORMS: dict[str, dict[str, Any]] = {
    "a stream": {"stream": True},
    "several answers": {"n": 2},
    "log probabilities": {"logprobs": True},
    "the engine's own": {"timings_per_token": True},
    "one that is not known": {"new": 1},
}


@pytest.mark.parametrize("case", OWN_FORMS)
def test_what_could_differ_is_asked_for_as_the_client_asked(case: str) -> None:
    request = asked(**OWN_FORMS[case])
    rendered = render(request, "tiny", quirks=JOINS)
    assert (rendered.joiner, rendered.body) == (None, request.body)


def test_another_engine_and_several_prompts_are_asked_for_the_whole() -> None:
    several = parse_completion(b'{"model":"tiny","prompt":["Hi","Ho"]}', Hints())
    assert render(several, "tiny", quirks=JOINS).joiner is None
    assert render(replace(asked()), "tiny").joiner is None


@pytest.mark.parametrize("more", [{}, {"tools": TOOLS, "tool_choice": "required"}, {"n": 1}, {"n": None}])
def test_a_chat_with_tools_is_asked_for_as_a_stream(more: dict[str, Any]) -> None:
    assert render(asked(**more), "tiny", quirks=JOINS).joiner is not None


def called(**call: Any) -> bytes:
    return chunk({"tool_calls": [call]})


def test_the_pieces_of_tool_calls_are_whole_calls() -> None:
    frames = (
        STREAM[0],
        called(index=0, id="a", type="function", function={"name": "f", "arguments": "{"}),
        called(index=0, function={"arguments": '"x":1}'}),
        called(index=1, id="b", type="function", function={"name": "g", "arguments": "{}"}),
        chunk({}, "tool_calls"),
        *STREAM[-2:],
    )
    (choice,) = joined(None, *frames)["choices"]
    calls = [
        {"type": "function", "function": {"name": "f", "arguments": '{"x":1}'}, "id": "a"},
        {"type": "function", "function": {"name": "g", "arguments": "{}"}, "id": "b"},
    ]
    message = {"role": "assistant", "content": "", "tool_calls": calls}
    assert choice == {"finish_reason": "tool_calls", "index": 0, "message": message}


def test_a_plain_completion_is_joined_in_its_own_form() -> None:
    request = parse_completion(b'{"model":"tiny","prompt":"Hi"}', Hints())
    made = render(request, "tiny", quirks=JOINS).joiner
    assert made is not None
    joiner = made(None)
    for text, reason in (("He", None), ("llo", None), ("", "length")):
        choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}
        joiner.feed(b"data: %s\n\n" % json.dumps({"choices": [choice], **HEAD, "object": "text_completion"}).encode())
    joiner.feed(STREAM[-1])
    choice = {"text": "Hello", "index": 0, "logprobs": None, "finish_reason": "length"}
    assert json.loads(joiner.closing) == {"choices": [choice], **HEAD, "object": "text_completion"}
