"""Engines that use other words, or other places for them, than the API that they imitate."""

import json
from typing import Any

import pytest

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Delta, Event, Finished, FinishReason, ToolCallDelta
from ollama_proxyd.core.requests import Hints
from ollama_proxyd.dialects.anthropic.decode import decode_answer as decode_anthropic
from ollama_proxyd.dialects.anthropic.passing import EVENTS, MESSAGE
from ollama_proxyd.dialects.framing.arguments import object_of
from ollama_proxyd.dialects.framing.gathering import joined, whole_calls
from ollama_proxyd.dialects.framing.ndjson import lines
from ollama_proxyd.dialects.ollama.decode import LineDecoder
from ollama_proxyd.dialects.ollama.encode import LineEncoder
from ollama_proxyd.dialects.ollama.errors import render_error as ollama_error
from ollama_proxyd.dialects.ollama.parse import parse_chat
from ollama_proxyd.dialects.ollama.passing import FORMS
from ollama_proxyd.dialects.openai.decode import ChunkDecoder, decode_answer
from ollama_proxyd.dialects.openai.encode import ChatEncoder
from ollama_proxyd.dialects.openai.errors import error_in_answer
from ollama_proxyd.dialects.openai.passing import CHAT, CHUNKS, TEXTS
from tests.dialects.openai.openai_samples import openai_chat

WORDS = "CUDA out of memory"
OLLAMA_CHAT = parse_chat(b'{"model":"x","messages":[{"role":"user","content":"x"}]}', Hints())


def chunk(delta: object, reason: str | None = None) -> dict[str, Any]:
    return {"id": "x", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def sse(*frames: object) -> bytes:
    return b"".join(b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames)


def openai_of(delta: object, reason: str = "stop") -> tuple[Delta, Finished]:
    decoder = ChunkDecoder()
    events = decoder.feed(sse(chunk(delta), chunk({}, reason)) + b"data: [DONE]\n\n")
    return joined(events), decoder.finish()


def mended(form: Any, frame: object) -> Any:
    payload = json.dumps(frame).encode()
    assert not form.is_strict(payload)
    return json.loads(form.mended(payload, {"model": "m"}) or b"null")


REASONS = [
    ("model_length", "length"),
    ("max_tokens", "length"),
    ("MAX_TOKENS", "length"),
    ("LENGTH", "length"),
    ("STOP", "stop"),
    ("end_turn", "stop"),
    ("eos_token", "stop"),
    ("TOOL_CALLS", "tool_calls"),
    ("tool_use", "tool_calls"),
    ("SAFETY", "content_filter"),
]


@pytest.mark.parametrize(("word", "reason"), REASONS)
def test_a_reason_in_another_apis_words_is_known_and_told_in_openais(word: str, reason: str) -> None:
    assert openai_of({"content": "x"}, word)[1].reason.value == reason
    assert mended(CHUNKS, chunk({}, word))["choices"][0]["finish_reason"] == reason
    whole = {"model": "m", "choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": word}]}
    assert mended(CHAT, whole)["choices"][0]["finish_reason"] == reason
    text = {"model": "m", "choices": [{"index": 0, "text": "x", "finish_reason": word}]}
    assert mended(TEXTS, text)["choices"][0]["finish_reason"] == reason


@pytest.mark.parametrize(
    ("word", "reason"), [("stop", "end_turn"), ("length", "max_tokens"), ("tool_calls", "tool_use")]
)
def test_openais_reasons_are_told_in_anthropics_words(word: str, reason: str) -> None:
    frame = {"type": "message_delta", "delta": {"stop_reason": word}, "usage": {"output_tokens": 1}}
    assert mended(EVENTS, frame)["delta"]["stop_reason"] == reason


def test_arguments_that_the_limit_cut_end_as_length_whatever_the_limit_is_called() -> None:
    calls = [{"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":"lon'}}]
    delta, finished = openai_of({"content": "Hello", "tool_calls": calls}, "model_length")
    line = json.loads(LineEncoder(OLLAMA_CHAT, lambda: "now", lambda: 5).whole([delta, finished]))
    assert (line["message"]["content"], line["done_reason"]) == ("Hello", "length")


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hmm"}]},
        {"reasoning": {"content": "Hmm"}},
        {"reasoning_content": [{"type": "text", "text": "Hmm"}]},
        {"thinking": "Hmm"},
    ],
)
def test_a_thought_is_read_under_every_name(delta: object) -> None:
    assert openai_of(delta)[0].thinking == "Hmm"


@pytest.mark.parametrize("said", [{"reasoning": "Hmm"}, {"reasoning_content": "Hmm"}, {"thinking": [{"text": "Hmm"}]}])
def test_a_thought_of_an_imitator_of_ollama_is_read(said: dict[str, object]) -> None:
    line = {"model": "m", "message": {"content": "", **said}, "done": False}
    assert joined(LineDecoder().feed(json.dumps(line).encode())).thinking == "Hmm"


FLAT = {"id": "c", "name": "f", "arguments": '{"a":1}'}


def test_a_call_without_its_function_object_is_one() -> None:
    assert openai_of({"tool_calls": [{"index": 0, **FLAT}]})[0].tool_calls[0].name == "f"
    frame = mended(CHUNKS, chunk({"tool_calls": [{"index": 0, **FLAT}]}))
    assert frame["choices"][0]["delta"]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}
    line = {"model": "m", "message": {"role": "assistant", "content": "", "tool_calls": [FLAT]}, "done": False}
    assert joined(LineDecoder().feed(json.dumps(line).encode())).tool_calls[0].name == "f"
    assert mended(FORMS["chat"], line)["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": {"a": 1}}


@pytest.mark.parametrize("arguments", [None, "", [], "[]", "null", {}])
def test_a_call_without_arguments_has_an_empty_object_for_every_client(arguments: object) -> None:
    call = {"function": {"name": "f", **({} if arguments is None else {"arguments": arguments})}}
    line = {"model": "m", "message": {"role": "assistant", "content": "", "tool_calls": [call]}, "done": False}
    payload = json.dumps(line).encode()
    told = json.loads(FORMS["chat"].kept(payload, {}))
    assert told["message"]["tool_calls"][0]["function"]["arguments"] == {}
    assert joined(LineDecoder().feed(payload)).tool_calls[0].arguments == "{}"


@pytest.mark.parametrize("mark", ["}", "]", '"', "`", "</tool_call>", "<|eot|>\n", "}}\n```", ";"])
def test_a_mark_behind_the_arguments_costs_no_call(mark: str) -> None:
    assert object_of('{"a":1}' + mark) == b'{"a":1}'


@pytest.mark.parametrize("more", ['{"b":2}', ', "b": 2}', " and then", "[1]", "1"])
def test_words_behind_the_arguments_may_be_their_rest_so_they_are_none(more: str) -> None:
    assert object_of('{"a":1}' + more) is None


def test_an_ollama_client_gets_no_call_whose_arguments_were_cut() -> None:
    calls = [{"function": {"name": "f", "arguments": {"a": 1}}}, {"function": {"name": "g", "arguments": '{"b'}}]
    line = {"model": "m", "message": {"role": "assistant", "content": "", "tool_calls": calls}, "done": False}
    assert [each["function"]["name"] for each in mended(FORMS["chat"], line)["message"]["tool_calls"]] == ["f"]


def test_arguments_that_are_encoded_twice_are_an_object_in_a_whole_answer() -> None:
    events: list[Event] = [
        Delta(tool_calls=(ToolCallDelta(0, "c", "f", json.dumps(json.dumps({"a": 1}))),)),
        Finished(),
    ]
    whole = json.loads(ChatEncoder(openai_chat(), 1, "id").whole(events))
    assert json.loads(whole["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]) == {"a": 1}


def test_an_entry_among_the_calls_that_says_nothing_cuts_nothing() -> None:
    encoder = LineEncoder(OLLAMA_CHAT, lambda: "now", lambda: 5)
    line = json.loads(encoder.whole([Delta(text="x", tool_calls=(ToolCallDelta(0, "c"),)), Finished()]))
    assert line["done_reason"] == "stop"


@pytest.mark.parametrize(
    "report",
    [
        {"error_msg": WORDS, "error_code": 17},
        {"fault": {"faultstring": WORDS}},
        {"code": 500, "reason": WORDS},
        {"error": {"metadata": {"raw": WORDS}, "code": 502}},
        {"errmsg": WORDS},
    ],
)
def test_an_engines_words_are_found_under_further_names(report: object) -> None:
    for decode in (decode_answer, decode_anthropic):
        with pytest.raises(ProxyError, match=WORDS):
            decode(json.dumps(report).encode())


def test_a_failure_without_words_is_told_in_ours() -> None:
    assert json.loads(ollama_error(error_in_answer(True))[1]) == {"error": "the backend reported an error"}


@pytest.mark.parametrize("line", [f"error: {WORDS}", f'error: {{"message":"{WORDS}"}}'])
def test_an_error_line_among_ollamas_lines_is_an_error(line: str) -> None:
    decoder = LineDecoder()
    with pytest.raises(ProxyError, match=WORDS):
        decoder.feed(b"".join(lines(line.encode())))


def test_a_whole_answer_of_anthropics_may_be_its_text_and_say_no_reason() -> None:
    whole = {"type": "message", "role": "assistant", "model": "m", "id": "x", "content": "Hello", "stop_reason": None}
    delta, finished = decode_anthropic(json.dumps(whole).encode())
    assert (delta, finished) == (Delta(text="Hello"), Finished(reason=FinishReason.STOP))
    told = mended(MESSAGE, whole)
    assert (told["content"], told["stop_reason"]) == ([{"type": "text", "text": "Hello"}], "end_turn")


def test_a_piece_of_a_call_without_a_name_goes_on_with_the_one_before() -> None:
    pieces = [{"name": "f", "arguments": ""}, {"arguments": '{"a":1}'}]
    said = [{"model": "m", "message": {"content": "", "tool_calls": [{"function": each}]}} for each in pieces]
    events = LineDecoder().feed(b"\n".join(json.dumps({**each, "done": False}).encode() for each in said))
    ((call, arguments),) = whole_calls(joined(events).tool_calls, is_cut=False)
    assert (call.name, arguments) == ("f", b'{"a":1}')


def test_the_text_of_a_completion_may_come_in_parts() -> None:
    parts = [{"type": "text", "text": "Hello"}]
    choice = {"index": 0, "text": parts, "finish_reason": "stop"}
    assert joined(decode_answer(json.dumps({"choices": [choice]}).encode())).text == "Hello"
    line = {"model": "m", "response": parts, "done": True}
    assert joined(LineDecoder().feed(json.dumps(line).encode())).text == "Hello"


def test_every_line_of_ollama_says_whether_it_is_the_last() -> None:
    line = {"model": "m", "created_at": "now", "message": {"role": "assistant", "content": "x"}}
    assert mended(FORMS["chat"], line)["done"] is False
