"""Answers in Anthropic's form: written from the core's events, and read from engines that write it themselves."""

import json
from typing import Any

import pytest

from ollama_proxyd.core.energy import Energy
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Event, Finished, FinishReason, ToolCallDelta, Usage
from ollama_proxyd.core.requests import Hints, Request
from ollama_proxyd.dialects.anthropic.decode import EventDecoder, decode_answer
from ollama_proxyd.dialects.anthropic.dialect import Anthropic
from ollama_proxyd.dialects.anthropic.encode import MessageEncoder
from ollama_proxyd.dialects.anthropic.errors import TYPES, render_error, stream_error
from ollama_proxyd.dialects.anthropic.models import render_list
from ollama_proxyd.dialects.anthropic.parse import parse_message
from ollama_proxyd.dialects.framing.sse import events
from ollama_proxyd.dialects.framing.statuses import status_of

THOUGHT, SAID = Delta(thinking="hm"), Delta(text="Hello")
CALLS = (
    Delta(tool_calls=(ToolCallDelta(0, "t1", "weather", '{"city"'), ToolCallDelta(1, None, "time"))),
    Delta(tool_calls=(ToolCallDelta(0, arguments=':"Oslo"}'),)),
)
DONE = Finished(FinishReason.STOP, Usage(10, 4, cached_tokens=3))


def request(**fields: Any) -> Request:
    body = {"model": "tiny", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
    return parse_message(json.dumps(body).encode(), Hints())


def streamed(*told: Event, asked: Request | None = None) -> list[dict[str, Any]]:
    encoder = MessageEncoder(asked or request(stream=True), "1")
    block = b"".join(encoder.encode(each) for each in told)
    assert all(f'"type":"{name}"' in data for name, data in named(block)), "each event has its type as its name"
    return [json.loads(payload) for payload in events(block)]


def named(block: bytes) -> list[tuple[str, str]]:
    pairs = [each.split("\n") for each in block.decode().removesuffix("\n\n").split("\n\n")]
    return [(name.removeprefix("event: "), data) for name, data in pairs]


def shape(sent: list[dict[str, Any]]) -> list[str]:
    return [each.get("delta", {}).get("type", each["type"]) for each in sent]


def test_an_answer_without_calls_never_says_that_it_calls_tools() -> None:
    sent = streamed(SAID, Finished(FinishReason.TOOL_CALLS))
    assert sent[-2]["delta"]["stop_reason"] == "end_turn"
    sent = streamed(*CALLS, Finished(FinishReason.TOOL_CALLS))
    assert sent[-2]["delta"]["stop_reason"] == "tool_use"


def test_blocks_come_one_after_another_each_begun_and_ended() -> None:
    sent = streamed(THOUGHT, SAID, *CALLS, DONE)
    assert shape(sent) == [
        "message_start",
        *("content_block_start", "ping", "thinking_delta", "signature_delta", "content_block_stop"),
        *("content_block_start", "text_delta", "content_block_stop"),
        *("content_block_start", "input_json_delta", "content_block_stop") * 2,
        *("message_delta", "message_stop"),
    ]
    starts = [each for each in sent if each["type"] == "content_block_start"]
    assert [each["index"] for each in starts] == [0, 1, 2, 3]
    assert starts[2]["content_block"] == {"type": "tool_use", "id": "t1", "name": "weather", "input": {}}
    assert starts[3]["content_block"]["id"], "a call that the engine gave none has one"
    arguments = [each["delta"]["partial_json"] for each in sent if shape([each]) == ["input_json_delta"]]
    assert [json.loads(each) for each in arguments] == [{"city": "Oslo"}, {}]
    assert sent[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert sent[-2]["usage"] == {"input_tokens": 7, "output_tokens": 4, "cache_read_input_tokens": 3}


def test_an_answer_without_words_still_begins_and_ends() -> None:
    assert shape(streamed(DONE)) == ["message_start", "message_delta", "message_stop"]


def test_a_whole_answer_has_the_same_blocks_as_a_stream() -> None:
    answer = json.loads(MessageEncoder(request(), "1").whole([THOUGHT, SAID, *CALLS, DONE]))
    assert [block["type"] for block in answer["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert answer["content"][0]["signature"]
    assert answer["content"][2]["input"] == {"city": "Oslo"}
    assert (answer["type"], answer["role"], answer["model"]) == ("message", "assistant", "tiny")
    assert answer["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("finished", "reason", "sequence"),
    [
        (Finished(), "end_turn", None),
        (Finished(FinishReason.LENGTH), "max_tokens", None),
        (Finished(FinishReason.CONTENT_FILTER), "refusal", None),
        (Finished(stop_sequence="END"), "stop_sequence", "END"),
        (Finished(stop_sequence="stop"), "end_turn", None),
    ],
)
def test_why_an_answer_ended_and_at_which_of_the_clients_sequences(
    finished: Finished, reason: str, sequence: str | None
) -> None:
    asked = request(stop_sequences=["END"])
    assert streamed(SAID, finished, asked=asked)[-2]["delta"] == {"stop_reason": reason, "stop_sequence": sequence}


def test_energy_is_in_the_usage_of_who_asked_for_it() -> None:
    done = Finished(usage=Usage(1, 2), energy=Energy(decode_j=2.5))
    body = request().body
    for asked, told in ((request(), False), (parse_message(body, Hints(include_energy=True)), True)):
        assert ("energy_j" in streamed(SAID, done, asked=asked)[-2]["usage"]) == told


def test_a_call_that_is_no_object_is_an_error_unless_the_limit_cut_it() -> None:
    torn = Delta(tool_calls=(ToolCallDelta(0, "t1", "weather", '{"city'),))
    with pytest.raises(ProxyError, match="not a JSON object"):
        streamed(torn, DONE)
    assert shape(streamed(torn, Finished(FinishReason.LENGTH))) == ["message_start", "message_delta", "message_stop"]


def test_an_answer_that_lacks_a_call_which_the_limit_cut_is_no_end_of_a_turn() -> None:
    torn = Delta(tool_calls=(ToolCallDelta(0, "t1", "weather", '{"city'),))
    for reason in (FinishReason.STOP, FinishReason.TOOL_CALLS):
        finished = Finished(reason, Usage(10, 9))
        assert streamed(torn, finished)[-2]["delta"]["stop_reason"] == "max_tokens"
        assert json.loads(MessageEncoder(request(), "1").whole([torn, finished]))["stop_reason"] == "max_tokens"


def test_a_stream_of_an_engines_frames_goes_on_in_the_block_that_it_left_open() -> None:
    whole = MessageEncoder(request(stream=True), "1")
    begun = [whole.encode(each) for each in (THOUGHT, SAID)]
    rest = MessageEncoder(request(stream=True), "2")
    rest.follow(b"".join(begun))
    sent = [json.loads(each) for each in events(rest.encode(Delta(text=" world")) + rest.encode(DONE))]
    assert shape(sent) == ["text_delta", "content_block_stop", "message_delta", "message_stop"]
    assert [each["index"] for each in sent[:2]] == [1, 1]
    before = b"".join(begun)
    for part in before.split(b"\n\n"):
        assert (b"content_block_st" in part) == (Anthropic.landmark in part)


def test_what_is_written_is_read_again() -> None:
    told = (THOUGHT, SAID, CALLS[0], CALLS[1], DONE)
    encoder, decoder = MessageEncoder(request(stream=True), "1"), EventDecoder()
    read = decoder.feed(b"".join(encoder.encode(each) for each in told))
    assert [each.text for each in read if isinstance(each, Delta) and each.text] == ["Hello"]
    calls = [call for each in read if isinstance(each, Delta) for call in each.tool_calls]
    assert "".join(call.arguments for call in calls if call.index == 2) == '{"city":"Oslo"}'
    assert decoder.finish() == Finished(FinishReason.TOOL_CALLS, Usage(10, 4, cached_tokens=3))
    *deltas, finished = decode_answer(MessageEncoder(request(), "1").whole(told))
    assert isinstance(finished, Finished)
    assert finished.usage == Usage(10, 4, cached_tokens=3)
    assert "".join(each.text for each in deltas if isinstance(each, Delta)) == "Hello"


def test_an_engine_that_breaks_off_or_reports_an_error_has_not_finished() -> None:
    encoder, decoder = MessageEncoder(request(stream=True), "1"), EventDecoder()
    decoder.feed(encoder.encode(SAID))
    with pytest.raises(ProxyError, match="before it was complete"):
        decoder.finish()
    with pytest.raises(ProxyError, match="too hot"):
        EventDecoder().feed(b'event: error\ndata: {"type":"error","error":{"type":"x","message":"too hot"}}\n\n')


def test_the_name_of_the_model_stands_in_the_first_event() -> None:
    first = MessageEncoder(request(stream=True), "1").encode(SAID)
    renamed = Anthropic().rename(first, "other")
    assert json.loads(events(renamed)[0])["message"]["model"] == "other"
    assert renamed.count(b"tiny") == 0


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_error_has_a_type_that_fits_its_status(kind: ErrorKind) -> None:
    error = ProxyError(kind, "a sentence")
    status, body = render_error(error, "req-1")
    told = json.loads(body)
    assert (status, told["type"], told["request_id"]) == (status_of(error), "error", "req-1")
    assert told["error"]["message"] == "a sentence"
    fallback = "invalid_request_error" if status < 500 else "api_error"
    assert told["error"]["type"] == TYPES.get(status, fallback)
    assert stream_error(error).startswith(b'event: error\ndata: {"type":"error"')


def test_a_list_of_models_comes_in_pages() -> None:
    rows = [(name, 1_700_000_000, ("cpu",)) for name in ("a", "b", "c")]

    def page(*places: str | None) -> tuple[list[str], bool]:
        told = json.loads(render_list(rows, *places))
        assert (told["first_id"], told["last_id"]) == (told["data"][0]["id"], told["data"][-1]["id"])
        return [each["id"] for each in told["data"]], told["has_more"]

    assert page(None, None, None) == (["a", "b", "c"], False)
    assert page("2", None, None) == (["a", "b"], True)
    assert page("2", "b", None) == (["c"], False)
    assert page("1", None, "c") == (["b"], True)
    with pytest.raises(ProxyError):
        page("0", None, None)
