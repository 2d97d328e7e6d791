"""What passes to a client of the engine's own API is what its strictest client reads; odd frames are mended."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.requests import Api, Hints, Request
from ollama_proxyd.dialects.framing.passing import Form
from ollama_proxyd.dialects.ollama.dialect import Ollama
from ollama_proxyd.dialects.ollama.passing import FORMS as OLLAMA_FORMS
from ollama_proxyd.dialects.openai.dialect import OpenAI
from tests.any_json import ANY_JSON
from tests.dialects.test_lenient_answers import places, put

DIALECTS = {Api.OPENAI: OpenAI(), Api.OLLAMA: Ollama()}
NAMES = {"id": "chat-1", "model": "m"}
BASE = {"id": "chat-1", "object": "chunk", "created": 1, "model": "m", "system_fingerprint": "f"}
CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
DELTA = {"role": "assistant", "content": "one", "reasoning_content": None, "tool_calls": [CALL]}
COUNTS = {"eval_count": 1, "eval_duration": 1, "total_duration": 1, "prompt_eval_count": 1, "load_duration": 1}
LINE = {"model": "m", "created_at": "2026-11-20T11:58:25Z", "done": False, **COUNTS}
NATIVE = {
    "role": "assistant",
    "content": "one",
    "thinking": "hm",
    "tool_calls": [{"function": {"name": "f", "arguments": {}}}],
}


def choice(**words: Any) -> list[Any]:
    return [{"index": 0, "finish_reason": None, "logprobs": None, **words}]


def request(path: str, stream: bool) -> tuple[Form, Request]:
    api = Api.OPENAI if path.startswith("/v1") else Api.OLLAMA
    body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}], "prompt": "hi"}
    asked = DIALECTS[api].calls[path](json.dumps(body).encode(), Hints())
    return DIALECTS[api].form(asked), asked


ANSWERS: list[tuple[str, bool, dict[str, Any]]] = [
    ("/v1/chat/completions", True, {**BASE, "choices": choice(delta=DELTA), "usage": USAGE}),
    ("/v1/chat/completions", False, {**BASE, "choices": choice(message=DELTA), "usage": USAGE}),
    ("/v1/completions", True, {**BASE, "choices": choice(text="one"), "usage": USAGE}),
    ("/v1/completions", False, {**BASE, "choices": choice(text="one"), "usage": USAGE}),
    ("/api/chat", True, {**LINE, "message": NATIVE}),
    ("/api/chat", False, {**LINE, "message": NATIVE, "done": True, "done_reason": "stop"}),
    ("/api/generate", True, {**LINE, "response": "one"}),
    ("/api/generate", False, {**LINE, "response": "one", "done": True, "done_reason": "stop"}),
]
EACH = pytest.mark.parametrize(("path", "stream", "answer"), ANSWERS)


@EACH
def test_what_engines_send_passes_as_it_is(path: str, stream: bool, answer: dict[str, Any]) -> None:
    form, _ = request(path, stream)
    assert form.is_strict(json.dumps(answer).encode())
    assert form.is_strict(json.dumps({**answer, "x": [1, {"y": None}], "error": None}).encode())


@pytest.mark.parametrize(
    ("path", "before"), [("/api/chat", b"\n"), ("/api/chat", b"  \r\n"), ("/v1/chat/completions", b"data: \n")]
)
def test_a_frame_of_several_lines_is_looked_at_since_clients_read_each_line(path: str, before: bytes) -> None:
    form, _ = request(path, stream=True)
    frame = next(json.dumps(answer).encode() for each, stream, answer in ANSWERS if (each, stream) == (path, True))
    start, blank = (b"data: ", b"\n\n") if path.startswith("/v1") else (b"", b"\n")
    plain = start + frame + blank
    assert form.plain_frames(plain) == 1
    assert form.plain_frames(plain * 3) == 3
    assert not form.plain_frames(before + plain)
    assert not form.plain_frames(plain + before + plain)
    assert not form.plain_frames(plain + start + frame)
    assert not form.plain_frames(plain + start + b"{}" + blank)


@EACH
@given(data=st.data())
def test_any_field_of_any_type_is_mended_or_its_frame_says_nothing(
    path: str, stream: bool, answer: dict[str, Any], data: st.DataObject
) -> None:
    form, _ = request(path, stream)
    frame = json.loads(json.dumps(answer))
    put(frame, data.draw(st.sampled_from(list(places(frame)))), data.draw(ANY_JSON))
    mended = form.mended(json.dumps(frame).encode(), NAMES)
    if mended is not None:
        assert form.is_strict(mended)
        assert json.loads(mended).get("model") == "m" or isinstance(frame["model"], str)


@EACH
def test_a_field_of_another_type_is_absent_and_all_others_stay(path: str, stream: bool, answer: dict[str, Any]) -> None:
    form, _ = request(path, stream)
    odd: dict[str, Any] = {"system_fingerprint": 5, "error": {}}
    gone = {"usage": "x", "created": {}} if "choices" in answer else {"eval_count": "many", "done_reason": 5}
    mended = form.mended(json.dumps({**answer, **odd, **gone}).encode(), NAMES)
    assert mended is not None
    left = {name: value for name, value in (answer | odd).items() if name not in {*gone, "error"}}
    told = json.loads(mended)
    if not stream and "choices" in told:
        told["choices"][0]["finish_reason"] = left["choices"][0]["finish_reason"]
    assert told == left


@EACH
@pytest.mark.parametrize(
    "nothing", [{"a": 1}, {"model": "m"}, {}, {"choices": None}, {"choices": "x"}, {"message": None}, {"message": "x"}]
)
def test_an_object_that_is_no_frame_says_nothing(
    path: str, stream: bool, answer: dict[str, Any], nothing: dict[str, Any]
) -> None:
    form, _ = request(path, stream)
    assert not form.is_strict(json.dumps(nothing).encode())
    assert form.mended(json.dumps(nothing).encode(), NAMES) is None


MENDED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("numbers as text", {"created": "5", "choices": choice(delta={}, index="0")}, {"created": 5}),
    ("an id as number", {"id": 5}, {"id": "5"}),
    ("another model", {"model": 5}, {"model": "m"}),
    ("no created", {"created": "soon"}, {"created": 9}),
    ("a word for no reason", {"choices": choice(delta={}, finish_reason="None")}, {"choices": choice(delta={})}),
    ("no delta", {"choices": choice(delta=None)}, {"choices": choice(delta={})}),
    ("a delta of another type", {"choices": choice(delta=5)}, {"choices": choice(delta={})}),
    ("a text as delta", {"choices": choice(delta="a")}, {"choices": choice(delta={"content": "a"})}),
    ("a text in a chat", {"choices": choice(text="a")}, {"choices": choice(text="a", delta={"content": "a"})}),
    ("a content that is none", {"choices": choice(delta={"content": 5})}, {"choices": choice(delta={})}),
    ("usage alone", {"choices": None, "usage": USAGE}, {"choices": [], "usage": USAGE}),
    (
        "a content in parts",
        {"choices": choice(delta={"content": [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "b"}]})},
        {"choices": choice(delta={"content": "a", "reasoning_content": "b"})},
    ),
    (
        "arguments as an object",
        {"choices": choice(delta={"tool_calls": [{"function": {"arguments": {"a": 1}}}, 5]})},
        {"choices": choice(delta={"tool_calls": [{"function": {"arguments": '{"a":1}'}}]})},
    ),
]


@pytest.mark.parametrize(("name", "odd", "expected"), MENDED, ids=[name for name, *_ in MENDED])
def test_words_are_put_where_clients_look_for_them(name: str, odd: dict[str, Any], expected: dict[str, Any]) -> None:
    form, _ = request("/v1/chat/completions", stream=True)
    frame = {**BASE, "choices": choice(delta={}), **odd}
    mended = form.mended(json.dumps(frame).encode(), {**NAMES, "created": 9})
    assert mended is not None
    assert json.loads(mended) == {**BASE, "choices": choice(delta={}), **expected}


def test_ollamas_lines_are_mended_likewise() -> None:
    form, _ = request("/api/chat", stream=True)
    call = {"function": {"name": "f", "arguments": '{"a":1}'}}
    for odd, expected in (
        ({"message": {"content": ["a"], "role": 5}}, {"content": "a", "role": "assistant"}),
        ({"message": None, "done": "true"}, {"role": "assistant", "content": ""}),
        ({"response": "a"}, {"role": "assistant", "content": "a"}),
        (
            {"message": {"role": "assistant", "content": "", "tool_calls": [call, "x"]}},
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
        ),
    ):
        mended = form.mended(json.dumps({**LINE, **odd}).encode(), NAMES)
        assert mended is not None
        told = json.loads(mended)
        assert {name: value for name, value in told["message"].items() if value is not None} == expected
        assert told["done"] is ("done" in odd)


@pytest.mark.parametrize(
    "function",
    [
        {"name": "f", "arguments": ""},
        {"name": "f", "arguments": " "},
        {"name": "f", "arguments": None},
        {"name": "f"},
        {"name": "f", "parameters": {}},
    ],
)
def test_each_call_of_a_whole_answer_has_what_clients_answer_it_by(function: dict[str, Any]) -> None:
    form, _ = request("/v1/chat/completions", stream=False)
    message = {"role": "assistant", "content": None, "tool_calls": [{"function": function}, {"function": function}]}
    frame = {**BASE, "choices": choice(message=message)}
    told = json.loads(form.kept(json.dumps(frame).encode(), NAMES))
    calls = told["choices"][0]["message"]["tool_calls"]
    assert [(call["id"], call["type"]) for call in calls] == [(f"call_chat-1_0_{at}", "function") for at in range(2)]
    assert all(call["function"]["arguments"] == "{}" for call in calls)


def test_thoughts_and_arguments_under_other_names_reach_ollamas_clients() -> None:
    form, _ = request("/api/chat", stream=True)
    called = [{"function": {"name": "f", "parameters": {"a": 1}}}]
    message = {"role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": called}
    told = json.loads(form.kept(json.dumps({**LINE, "message": message}).encode(), NAMES))["message"]
    assert told["thinking"] == "hm"
    assert told["tool_calls"][0]["function"]["arguments"] == {"a": 1}


@pytest.mark.parametrize("line", [b'{"done":true}', b'{"message":{"content":""},"done":true}'])
def test_every_line_of_ollama_has_what_its_strictest_client_asks_for(line: bytes) -> None:
    form = OLLAMA_FORMS["chat"]
    assert not form.is_strict(line)
    mended = form.mended(line, {"model": "m"})
    assert mended is not None
    assert json.loads(mended)["message"] == {"role": "assistant", "content": ""}
    assert form.is_strict(mended)
