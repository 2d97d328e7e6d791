"""Tool calls of an OpenAI engine reach OpenAI's clients as those put them together, in whatever pieces they come."""

import json
from typing import Any

import pytest

from ollama_proxyd.core.errors import BAD_CALL, ProxyError
from ollama_proxyd.core.events import Finished
from ollama_proxyd.core.faults import fault_of
from ollama_proxyd.core.requests import Api, Hints
from ollama_proxyd.dialects.framing.limits import MOST_ANSWERS
from ollama_proxyd.dialects.openai.parse import parse_completion
from ollama_proxyd.dialects.openai.passing_calls import PassedCalls
from tests.edges.backends.test_clean_ends import ROUTE, TYPE
from tests.edges.backends.test_exchange import (  # noqa: F401 - every rule holds for what is poured, too
    answer,
    anthropic_request,
    at_once,
    backend_at,
    frame_by_frame,
    frames,
    ollama_request,
    one_byte_each,
    openai_request,
    pours,
    sevens,
    until_it_fails,
)
from tests.upstreams.fake_engines import FakeEngine, serving, streams

TOOLS = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]
ASKED = openai_request(stream=True, tools=TOOLS)
F, G = ("f", '{"a":1}'), ("g", '{"b":[2]}')


def event(delta: Any, finish: str | None = None, words: str = "delta", index: int = 0) -> bytes:
    choice = {"index": index, words: delta, "finish_reason": finish}
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "tiny", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def piece(name: str | None = None, arguments: Any = None, **where: Any) -> dict[str, Any]:
    named = {"name": name, "arguments": arguments}
    return {**where, "function": {key: value for key, value in named.items() if value is not None}}


def said(*deltas: Any, finish: str = "tool_calls", **more: Any) -> bytes:
    return b"".join(event(each, **more) for each in deltas) + event({}, finish) + b"data: [DONE]\n\n"


def calls(*groups: Any) -> bytes:
    return said(*({"tool_calls": each if isinstance(each, list) else [each]} for each in groups))


async def passed(sent: bytes, request: Any = ASKED, pieces: Any = at_once) -> bytes:
    events = await answer(
        Api.OPENAI, {ROUTE[Api.OPENAI]: streams(*pieces(sent), content_type=TYPE[Api.OPENAI])}, request
    )
    assert isinstance(events[-1], Finished)
    return frames(events)


def put_together(sent: bytes) -> tuple[list[tuple[str, str]], list[str], str | None]:
    """The calls, their ids and the reason as OpenAI's SDK accumulates them: by index, each text appended."""
    found: dict[int, dict[str, str]] = {}
    reason = None
    for payload in sent.split(b"\n\n")[:-2]:
        for choice in json.loads(payload.removeprefix(b"data: "))["choices"]:
            reason = choice["finish_reason"] or reason
            for each in choice["delta"].get("tool_calls") or ():
                call = found.setdefault(each["index"], {"id": "", "name": "", "arguments": ""})
                for name, text in {"id": each.get("id"), **each["function"]}.items():
                    call[name] += text or ""
    return (
        [(each["name"], each["arguments"]) for each in found.values()],
        [each["id"] for each in found.values()],
        reason,
    )


RIGHT = {
    "in pieces": [
        piece("f", "", index=0, id="x", type="function"),
        piece(None, '{"a":', index=0),
        piece(None, "1}", index=0),
    ],
    "whole": [piece("f", '{"a":1}', index=0, id="x", type="function")],
    "two": [
        piece(*F, index=0, id="x", type="function"),
        piece(*G, index=1, id="y", type="function", extra_content={"a": 1}),
    ],
    "by turns": [piece(*F, index=0, id="x"), piece("g", "", index=1, id="y"), piece(None, G[1], index=1)],
    "without arguments": [piece("f", "{}", index=0, id="x", type="function")],
    "no arguments": [{"index": 0, "id": "x", "type": "function", "function": {"name": "f", "arguments": None}}],
    "of another type": [{"index": 0, "id": "x", "type": "custom", "custom": {"name": "c", "input": "1"}}],
}


@pytest.mark.parametrize("kind", RIGHT)
@pytest.mark.parametrize("pieces", [at_once, sevens])
async def test_calls_that_are_right_pass_byte_for_byte(kind: str, pieces: Any) -> None:
    sent = calls(*RIGHT[kind])
    assert await passed(sent, pieces=pieces) == sent
    assert await passed(calls(RIGHT[kind])) == calls(RIGHT[kind])


ONE = {
    "a name late": [piece(None, '{"a":', index=0, id="x"), piece("f", "1}", index=0)],
    "a name in each": [piece("f", '{"a":', index=0, id="x"), piece("f", "1}", index=0, id="x")],
    "an id in each": [
        piece("f", "", index=0, id="x"),
        piece(None, '{"a":', index=0, id="x"),
        piece(None, "1}", index=0, id="x"),
    ],
    "another id in each": [piece("f", '{"a":', index=0, id="x"), piece(None, "1}", index=0, id="y")],
    "no index": [piece("f", '{"a":', id="x"), piece(None, "1}")],
    "neither index nor id": [piece("f"), piece(None, '{"a":1'), piece(None, "}")],
    "an id late": [piece("f", '{"a":', index=0), piece(None, "1}", index=0, id="late")],
    "an object": [piece("f", {"a": 1}, index=0, id="x")],
    "texts for numbers": [piece("f", {"a": 1}, index="0", id=7)],
    "another first index": [piece("f", '{"a":', index=3, id="x"), piece(None, "1}", index=3)],
    "encoded twice": [piece("f", json.dumps('{"a":1}'), index=0, id="x")],
    "encoded twice, in pieces": [
        piece("f", "", index=0, id="x"),
        piece(None, '"{\\"a', index=0),
        piece(None, '\\":1}"', index=0),
    ],
    "a blank piece": [piece("f", '{"a":1}', index=0, id="x"), {"index": 0, "function": {}}, {"index": 0}],
}


@pytest.mark.parametrize("kind", ONE)
@pytest.mark.parametrize("pieces", [at_once, one_byte_each, frame_by_frame])
async def test_one_call_in_any_pieces_is_one_call_for_clients(kind: str, pieces: Any) -> None:
    sent = event({"content": "Words come first."}) + calls(*ONE[kind])
    called, ids, reason = put_together(await passed(sent, pieces=pieces))
    assert (called, reason) == ([F], "tool_calls")
    assert ids[0]
    assert all(len(each) > 2 or each in {"x", "7"} for each in ids)


TWO: dict[str, list[Any]] = {
    "one index and two ids": [piece(*F, index=0, id="x"), piece(*G, index=0, id="y")],
    "one index and no ids": [piece(*F, index=0), piece(*G, index=0)],
    "neither": [piece(*F), piece(*G)],
    "ids alone, by turns": [
        piece("f", '{"a":', id="x"),
        piece("g", '{"b":', id="y"),
        piece(None, "1}", id="x"),
        piece(None, "[2]}", id="y"),
    ],
    "together": [[piece(*F), piece(*G)]],
    "together under one index": [[piece(*F, index=0), piece(*G, index=0)]],
    "an object where a list belongs": [[piece(*F)], [piece(*G)]],
}


@pytest.mark.parametrize("kind", TWO)
async def test_calls_are_told_apart_for_clients_where_the_engine_does_not_number_them(kind: str) -> None:

    sent = event({"content": "Words come first."}) + calls(*TWO[kind])
    called, ids, _ = put_together(await passed(sent, pieces=frame_by_frame))
    assert called == [F, G]
    assert len({*ids}) == 2


async def test_calls_in_other_places_reach_clients_where_they_look() -> None:
    call = piece(*F, id="x")
    for sent in (
        said({"role": "assistant", "tool_calls": [call]}, words="message"),
        said({"tool_calls": call}),
        said(
            {"function_call": {"name": "f", "arguments": '{"a":'}},
            {"function_call": {"arguments": "1}"}},
            finish="function_call",
        ),
    ):
        called, _, reason = put_together(await passed(sent))
        assert (called, reason) == ([F], "tool_calls")


async def test_a_client_of_the_old_form_gets_the_old_form() -> None:
    sent = said({"function_call": {"name": "f", "arguments": '{"a":1}'}}, finish="function_call")
    assert await passed(sent, openai_request(stream=True, functions=[{"name": "f"}])) == sent


async def test_arguments_that_stay_unfinished_reach_clients_with_the_last_frame() -> None:
    sent = said({"tool_calls": [piece("f", '"{\\"a', index=0, id="x")]}, finish="length")
    assert put_together(await passed(sent)) == ([("f", '"{\\"a')], ["x"], "length")


async def test_each_of_several_answers_has_calls_of_its_own() -> None:
    sent = said({"tool_calls": [piece(*F, id="x")]}, {"content": "no"}) + b""
    both = event({"tool_calls": [piece(*F, id="x")]}) + event({"tool_calls": [piece(*G, id="y")]}, index=1) + sent[-14:]
    told = [json.loads(each[6:])["choices"][0] for each in (await passed(both)).split(b"\n\n")[:2]]
    assert [(each["index"], each["delta"]["tool_calls"][0]["index"]) for each in told] == [(0, 0), (1, 0)]


def test_more_answers_than_anybody_asks_for_are_not_kept() -> None:
    kept = PassedCalls("x", has_tools=True)
    *first, last = (event({"tool_calls": [piece(*F, id="x")]}, index=at)[6:-2] for at in range(MOST_ANSWERS + 1))
    for payload in first:
        kept.mended(payload)
    with pytest.raises(ProxyError, match="answers at once"):
        kept.mended(last)


async def test_arguments_of_a_whole_answer_that_are_encoded_twice_are_read_once() -> None:
    for written in (json.dumps('{"a":1}'), {"a": 1}):
        message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "x", "type": "function", **piece("f", written)}],
        }
        body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}).encode()
        events = await answer(
            Api.OPENAI,
            {ROUTE[Api.OPENAI]: streams(body, content_type="application/json")},
            openai_request(stream=False, tools=TOOLS),
        )
        assert json.loads(frames(events))["choices"][0]["message"]["tool_calls"][0]["function"] == {
            "name": "f",
            "arguments": '{"a":1}',
        }


@pytest.mark.parametrize("words", ["a", "a tool_calls"])
async def test_a_completion_has_words_alone_even_where_its_end_comes_with_them(words: str) -> None:
    request = parse_completion(json.dumps({"model": "tiny", "prompt": "Hi", "stream": True}).encode(), Hints())
    sent = event(words, words="text") + event("", "stop", words="text") + b"data: [DONE]\n\n"
    served = {"POST /v1/completions": streams(sent, content_type=TYPE[Api.OPENAI])}
    assert frames(await answer(Api.OPENAI, served, request)) == sent


@pytest.mark.parametrize("asked", [ollama_request, anthropic_request])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("bad", [piece("f", "[1]", index=0, id="x"), piece(None, '{"a":1}', index=0, id="x")])
async def test_a_call_that_a_client_cannot_be_told_fails_the_attempt_and_blames_no_backend(
    asked: Any, stream: bool, bad: dict[str, Any]
) -> None:
    sent = said({"content": "Hello"}, {"tool_calls": [bad]})
    routes = {ROUTE[Api.OPENAI]: streams(*frame_by_frame(sent), content_type=TYPE[Api.OPENAI])}
    async with serving(FakeEngine(routes)) as server, backend_at(server.url, Api.OPENAI) as backend:
        got, error = await until_it_fails(backend, asked(stream=stream))
    assert error.code == BAD_CALL
    assert fault_of(error) is None
    assert not any(isinstance(each, Finished) for each in got)


@pytest.mark.parametrize("asked", [ollama_request, anthropic_request])
async def test_a_call_that_the_token_limit_cut_fails_nothing(asked: Any) -> None:
    sent = said({"content": "Hello"}, {"tool_calls": [piece("f", '{"a":', index=0, id="x")]}, finish="length")
    routes = {ROUTE[Api.OPENAI]: streams(sent, content_type=TYPE[Api.OPENAI])}
    assert isinstance((await answer(Api.OPENAI, routes, asked(stream=True)))[-1], Finished)


WHOLE_CALL = {"type": "function", "function": {"name": "f", "arguments": "{}"}}


async def whole(*calls: dict[str, Any], finish: str = "tool_calls") -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": None, "tool_calls": calls},
        "finish_reason": finish,
    }
    sent = {"id": "x", "object": "chat.completion", "created": 1, "model": "tiny", "choices": [choice]}
    events = await answer(
        Api.OPENAI,
        {ROUTE[Api.OPENAI]: streams(json.dumps(sent).encode(), content_type="application/json")},
        openai_request(stream=False, tools=TOOLS),
    )
    told: dict[str, Any] = json.loads(frames(events))["choices"][0]
    return told


@pytest.mark.parametrize("told", [{}, {"id": None}, {"id": ""}, {"id": 7}, {"id": "same"}, {"id": []}])
async def test_each_call_has_an_id_of_its_own_since_results_are_told_apart_by_it(told: dict[str, Any]) -> None:
    message = (await whole({**WHOLE_CALL, **told}, {**WHOLE_CALL, **told}))["message"]
    ids = [call["id"] for call in message["tool_calls"]]
    assert all(isinstance(each, str) and each for each in ids)
    assert len(set(ids)) == 2
    pieces = [{"index": at, **WHOLE_CALL, **({} if told == {"id": []} else told)} for at in range(2)]
    _, streamed, _ = put_together(await passed(calls(*pieces)))
    assert len(set(streamed)) == 2
    assert all(streamed)


async def test_a_whole_answer_without_an_id_gets_one_and_so_do_its_calls() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "tool_calls": [WHOLE_CALL]}, "finish_reason": "tool_calls"}
    sent = {"id": None, "object": "chat.completion", "created": None, "model": None, "choices": [choice]}
    answers = {ROUTE[Api.OPENAI]: streams(json.dumps(sent).encode(), content_type="application/json")}
    told = json.loads(frames(await answer(Api.OPENAI, answers, openai_request(stream=False, tools=TOOLS))))
    (call,) = told["choices"][0]["message"]["tool_calls"]
    assert all([told["id"], told["created"], told["model"]])
    assert told["id"] in call["id"]


async def test_an_answer_with_calls_ends_by_them_whatever_the_engine_says_since_clients_act_on_that() -> None:
    assert (await whole({**WHOLE_CALL, "id": "c"}, finish="stop"))["finish_reason"] == "tool_calls"
    assert (await whole({**WHOLE_CALL, "id": "c"}, finish="length"))["finish_reason"] == "length"
    sent = said({"tool_calls": [{"index": 0, "id": "c", **WHOLE_CALL}]}, finish="stop")
    assert put_together(await passed(sent))[2] == "tool_calls"
    without = said({"content": "stop"}, {"content": "a"}, finish="stop")
    assert await passed(without) == without
