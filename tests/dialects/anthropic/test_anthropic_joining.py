"""A stream of Anthropic's events becomes the whole message that the engine would have written."""

import json
from typing import Any

import pytest

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.requests import Hints
from ollama_proxyd.dialects.anthropic.dialect import Anthropic
from ollama_proxyd.dialects.anthropic.joining import Joiner
from ollama_proxyd.dialects.anthropic.parse import parse_message
from ollama_proxyd.dialects.anthropic.passing import MESSAGE

ASKED = {"model": "tiny", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
HEAD: dict[str, Any] = {
    "id": "m1",
    "type": "message",
    "role": "assistant",
    "content": [],
    "model": "gguf",
    "stop_reason": None,
}


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def begin(at: int, **block: Any) -> bytes:
    return event("content_block_start", index=at, content_block=block)


def piece(at: int, kind: str, **told: Any) -> bytes:
    return event("content_block_delta", index=at, delta={"type": kind, **told})


STREAM = (
    event("message_start", message={**HEAD, "stop_reason": None, "usage": {"input_tokens": 3, "output_tokens": 0}}),
    begin(0, type="thinking", thinking=""),
    piece(0, "thinking_delta", thinking="Let"),
    piece(0, "thinking_delta", thinking=" me"),
    piece(0, "signature_delta", signature="s"),
    event("content_block_stop", index=0),
    begin(1, type="text", text=""),
    piece(1, "text_delta", text="Grüß"),
    piece(1, "text_delta", text=" Gott"),
    event("ping"),
    begin(2, type="tool_use", id="c1", name="look"),
    piece(2, "input_json_delta", partial_json='{"at":'),
    piece(2, "input_json_delta", partial_json="1}"),
    event("message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage={"output_tokens": 7}),
    event("message_stop"),
)


def joined(*frames: bytes, name: str | None = None) -> Any:
    joiner = Joiner(name)
    for frame in frames:
        joiner.feed(frame)
    joiner.finish()
    return json.loads(joiner.closing)


def test_every_block_and_count_is_that_of_the_whole_message() -> None:
    assert joined(*STREAM) == {
        **HEAD,
        "content": [
            {"type": "thinking", "thinking": "Let me", "signature": "s"},
            {"type": "text", "text": "Grüß Gott"},
            {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 7},
    }
    assert joined(*STREAM, name="nick")["model"] == "nick"


def test_a_call_that_the_limit_cuts_has_no_arguments() -> None:
    frames = *STREAM[:12], event("message_delta", delta={"stop_reason": "max_tokens"}), STREAM[-1]
    assert joined(*frames)["content"][-1]["input"] == {}


def test_blocks_that_were_not_begun_and_odd_frames_cost_no_answer() -> None:
    frames = STREAM[0], piece(0, "text_delta", text="Hello"), b"data: <odd>\n\n", b"data: 7\n\n", *STREAM[-2:]
    assert joined(*frames)["content"] == [{"type": "text", "text": "Hello"}]


@pytest.mark.parametrize("odd", [{"error": {}}, {"error": ""}, {"id": 7}, {"usage": "few"}])
def test_odd_fields_of_a_message_are_no_more_in_the_answer_than_in_one_that_passes(odd: dict[str, Any]) -> None:
    frames = event("message_start", message={**HEAD, **odd}), begin(0, type="text", text="Hello"), *STREAM[-2:]
    answer = joined(*frames)
    assert answer["content"] == [{"type": "text", "text": "Hello"}]
    assert MESSAGE.is_strict(json.dumps(answer).encode())
    assert "error" not in answer


@pytest.mark.parametrize("kept", range(1, len(STREAM) - 2))
def test_one_that_breaks_off_is_no_answer(kept: int) -> None:
    with pytest.raises(ProxyError):
        joined(*STREAM[:kept])


@pytest.mark.parametrize(("joins", "stream"), [(True, False), (True, True), (False, False)])
def test_a_whole_message_is_asked_for_as_a_stream_where_the_engine_needs_it(joins: bool, stream: bool) -> None:
    request = parse_message(json.dumps({**ASKED, "stream": stream}).encode(), Hints())
    rendered = Anthropic(joins=joins).render(request, "gguf")
    is_joined = joins and not stream
    assert (rendered.joiner is not None) == is_joined
    assert json.loads(rendered.body) == {**ASKED, "model": "gguf", "stream": is_joined or stream}


def test_one_that_the_client_began_is_asked_for_whole_for_a_stream_does_not_repeat_its_beginning() -> None:
    begun = {**ASKED, "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "I"}]}
    rendered = Anthropic(joins=True).render(parse_message(json.dumps(begun).encode(), Hints()), "gguf")
    assert (rendered.joiner, json.loads(rendered.body)) == (None, {**begun, "model": "gguf"})
