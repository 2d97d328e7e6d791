"""A tool call is complete when it ends: whichever way its pieces come, each call has its name and its arguments."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Event
from ollama_proxyd.core.requests import Hints, Request
from ollama_proxyd.dialects.ollama.encode import LineEncoder
from ollama_proxyd.dialects.ollama.parse import parse_chat
from ollama_proxyd.dialects.openai.decode import ChunkDecoder, decode_answer
from ollama_proxyd.dialects.openai.encode import ChatEncoder
from tests.dialects.openai.openai_samples import chunk, encoded, openai_chat, sse

A, B = {"a": 1}, {"b": [2, "}"]}


def piece(*name_and_arguments: Any, **where: Any) -> dict[str, Any]:
    """A fragment: its name, its arguments, and what tells which call it belongs to."""
    named = dict(zip(("name", "arguments"), name_and_arguments, strict=False))
    return {**where, "function": {key: value for key, value in named.items() if value is not None}}


def asked(**fields: Any) -> Request:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    return parse_chat(json.dumps(body).encode(), Hints())


def last_line(events: list[Event], request: Request | None = None) -> dict[str, Any]:
    """What an Ollama client is told last, the same whether it streams or not."""
    request = request or asked()
    encoder = LineEncoder(request, lambda: "now", lambda: 5)
    *_, streamed = [json.loads(line) for event in events for line in encoder.encode(event).splitlines()]
    whole = json.loads(LineEncoder(request, lambda: "now", lambda: 5).whole(events))
    assert streamed["message"].get("tool_calls") == whole["message"].get("tool_calls")
    assert streamed["done_reason"] == whole["done_reason"]
    return dict(whole)


def called(line: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(call["function"]["name"], call["function"]["arguments"]) for call in line["message"].get("tool_calls", ())]


def streamed(*frames: list[dict[str, Any]], reason: str = "tool_calls", usage: Any = None) -> list[Event]:
    decoder = ChunkDecoder()
    block = sse(*(chunk({"tool_calls": frame}) for frame in frames), chunk({}, reason, usage=usage), "[DONE]")
    return [*decoder.feed(block), decoder.finish()]


def calls(*pieces: dict[str, Any]) -> list[tuple[str, Any]]:
    return called(last_line(streamed(*([each] for each in pieces))))


@pytest.mark.parametrize(
    "pieces",
    [
        [piece("f", "", index=0, id="x"), piece(None, '{"a":', index=0), piece(None, "1}", index=0)],
        [piece("f", index=0, id="x"), piece(None, '{"a":1}', index=0, id="x")],
        [piece(None, "", index=0, id="x"), piece("f", '{"a":1}', index=0)],
        [piece(None, '{"a":', index=0, id="x"), piece(None, "1}", index=0), piece("f", index=0)],
        [piece("f", '{"a":', index=0, id="x"), piece("f", "1}", index=0, id="x")],
        [piece("f", '{"a":', id="x"), piece(None, "1}")],
        [piece("f"), piece(None, '{"a":1'), piece(None, "}")],
        [piece(None, '{"a":1}', index=0), piece("f", "", index=0, id="late")],
        [piece("f", '{"a":', index=0, id="x1"), piece(None, "1", index=0, id="x2"), piece(None, "}", index=0, id="x3")],
        [piece("f", {"a": 1}, index=0, id="x")],
        [piece("f", "{}", index=0, id="x"), piece(None, '{"a":', index=0), piece(None, "1}", index=0)],
        [piece("f", '{"a":1}', index="0", id="x"), piece(None, " ", index="0")],
        [piece("f", '"{\\"a\\":1}"', index=0, id="x")],
        [{"index": 0, "id": "x", "function": {"name": "f", "parameters": {"a": 1}}}],
        [{"index": 0, "id": "x", "function": {"name": "f", "arguments": None, "input": '{"a":1}'}}],
        [piece("f", '{"a":1}', index=3, id=7)],
        [piece("f", '{"a":1}', index=0.0, id=None), piece(None, None, index=0)],
    ],
)
def test_one_call_in_any_pieces_is_one_call(pieces: list[dict[str, Any]]) -> None:
    assert calls(*pieces) == [("f", A)]


def test_a_name_in_pieces_is_put_together() -> None:
    for index in ({"index": 0}, {}):
        assert calls(piece("get_", id="x", **index), piece("weather", **index), piece(None, '{"a":1}', **index)) == [
            ("get_weather", A)
        ]
    assert calls(piece("get_", index=0), piece("get_weather", '{"a":1}', index=0)) == [("get_weather", A)]


@pytest.mark.parametrize(
    "pieces",
    [
        [piece("f", "", index=0, id="x"), piece(None, '{"a":1}', index=0), piece("g", "", index=0, id="y"), "g", 0],
        [piece("f", '{"a":1}', index=0, id="x"), piece("g", "", index=1, id="y"), "g", 1],
        [piece("f", '{"a":1}', id="x"), piece("g", id="y"), "g", None],
        [piece("f", '{"a":1}'), piece("g", ""), "g", None],
        [piece("f", '{"a":1}', index=0), piece("g", "", index=0), "g", 0],
        [piece("f", '{"a":1}', index="0", id="x"), piece("g", "", index="1", id="y"), "g", "1"],
        [piece("f", '{"a":1}', index=0, id="x"), piece(None, "", index=0, id="y"), piece("g", "", index=0), "g", 0],
        [piece("f", '{"a":1}', index=5, id="same"), piece("g", "", index=9, id="same"), "g", 9],
    ],
)
def test_ids_names_and_order_tell_calls_apart_where_indexes_do_not(pieces: list[Any]) -> None:
    *before, _, index = pieces
    where = {} if index is None else {"index": index}
    assert calls(*before, piece(None, '{"b":[2,', **where), piece(None, '"}"]}', **where)) == [("f", A), ("g", B)]


def test_calls_whose_pieces_come_by_turns_are_told_apart_by_index_or_id() -> None:
    for one, two in (
        ({"index": 0}, {"index": 1}),
        ({"id": "x"}, {"id": "y"}),
        ({"index": 0, "id": "x"}, {"index": 0, "id": "y"}),
    ):
        assert calls(
            piece("f", '{"a":', **one),
            piece("g", '{"b":[', **two),
            piece(None, "1}", **one),
            piece(None, '2,"}"]}', **two),
        ) == [("f", A), ("g", B)]


def test_calls_that_come_together_are_told_apart_by_their_order() -> None:
    for more in ({}, {"index": 0}, {"id": "same"}, {"index": 0, "id": "same"}):
        assert called(last_line(streamed([piece("f", '{"a":1}', **more), piece("g", B, **more)]))) == [
            ("f", A),
            ("g", B),
        ]
    by_turns = [piece("f", '{"a":'), piece("g", '{"b":[2,')], [piece(None, "1}"), piece(None, '"}"]}')]
    assert called(last_line(streamed(*by_turns))) == [("f", A), ("g", B)]


@pytest.mark.parametrize("more", [{}, {"index": 0}, {"index": None}, {"index": "0"}, {"id": "same"}, {"id": ""}])
def test_each_call_of_a_whole_answer_is_one(more: dict[str, Any]) -> None:
    message = {
        "content": None,
        "tool_calls": [piece("f", '{"a":1}', **more), piece("f", A, **more), piece("g", None, **more)],
    }
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    assert called(last_line(decode_answer(encoded(answer)))) == [("f", A), ("f", A), ("g", {})]


def test_the_older_word_for_a_single_call_is_read_in_pieces_and_whole() -> None:
    decoder = ChunkDecoder()
    deltas = (
        {"function_call": {"name": "f", "arguments": ""}},
        *({"function_call": {"arguments": a}} for a in ('{"a"', ":1}")),
    )
    block = sse(*(chunk({**delta}) for delta in deltas), chunk({}, "function_call"), "[DONE]")
    assert called(last_line([*decoder.feed(block), decoder.finish()])) == [("f", A)]
    message = {"content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "function_call"}]}
    assert called(last_line(decode_answer(encoded(answer)))) == [("f", A)]


@pytest.mark.parametrize("cut", ['{"b":[2', "", "{", '{"b":"\\ud83d'])
def test_arguments_that_the_token_limit_cut_end_as_length_with_what_was_said_before(cut: str) -> None:
    whole = piece("f", '{"a":1}', index=0, id="x")
    frames = ([whole], [piece("g", cut, index=1, id="y")])
    line = last_line(streamed(*frames, reason="length"))
    assert line["done_reason"] == "length"
    assert called(line)[:1] == [("f", A)]
    assert len(called(line)) == 1 + (cut == "")
    said = {"prompt_tokens": 3, "completion_tokens": 8}
    line = last_line(streamed(*frames, usage=said), asked(options={"num_predict": 8}))
    assert line["done_reason"] == ("length" if cut else "stop")
    assert called(line)[:1] == [("f", A)]


@pytest.mark.parametrize(
    ("bad", "words"), [(piece("f", '{"a":'), "'f' with arguments"), (piece(None, "{}"), "no tool")]
)
def test_a_call_that_nobody_can_make_is_a_failure_of_the_backend(bad: dict[str, Any], words: str) -> None:
    events = streamed([bad])
    with pytest.raises(ProxyError, match=words) as caught:
        LineEncoder(asked(), lambda: "now", lambda: 5).whole(events)
    assert caught.value.kind is ErrorKind.UPSTREAM_FAILED


TEXTS = [json.dumps(value) for value in ({}, {"a": 1}, {"text": 'a "}{" b \\ \u00e9'}, {"deep": [{"x": None}]})]
STYLES = st.sampled_from(["index and id", "index", "id", "id, index 0", "name"])


@given(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=4), STYLES, st.data())
def test_calls_in_any_pieces_come_out_as_they_were(texts: list[str], style: str, data: st.DataObject) -> None:
    frames: list[list[dict[str, Any]]] = []
    for number, text in enumerate(texts):
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
        for begin, end in itertools.pairwise([0, *cuts, len(text)]):
            index = {"index": 0} if style == "id, index 0" else {"index": number} if "index" in style else {}
            is_first = begin == 0 and not any(f"f{number}" in str(frame) for frame in frames)
            call_id = {"id": f"c{number}"} if "id" in style and is_first else {}
            frames.append([piece(f"f{number}" if is_first else None, text[begin:end], **index, **call_id)])
    found = called(last_line(streamed(*frames)))
    assert found == [(f"f{number}", json.loads(text)) for number, text in enumerate(texts)]


def test_an_openai_client_gets_the_pieces_of_a_name_as_they_come() -> None:
    encoder = ChatEncoder(openai_chat(), 1, "id")
    sent = b"".join(
        encoder.encode(event) for event in streamed([piece("get_", index=0, id="x")], [piece("weather", "{}", index=0)])
    )
    functions = [
        call["function"]
        for line in sent.split(b"\n\n")
        if line.startswith(b"data: {")
        for call in json.loads(line[6:])["choices"][0]["delta"].get("tool_calls", ())
    ]
    assert "".join(function.get("name", "") for function in functions) == "get_weather"
    assert "".join(function.get("arguments", "") for function in functions) == "{}"
