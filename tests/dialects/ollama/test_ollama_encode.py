"""Ollama's clients read events as lines of a stream or as one object."""

from collections.abc import Iterable
from dataclasses import replace

import msgspec
import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import (
    Accepted,
    Delta,
    Embedded,
    Event,
    Finished,
    FinishReason,
    Timings,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from ollama_proxyd.core.requests import Hints, Json, Request
from ollama_proxyd.dialects.ollama.dialect import Ollama
from ollama_proxyd.dialects.ollama.encode import LineEncoder
from ollama_proxyd.dialects.ollama.parse import parse_chat, parse_embed, parse_embeddings, parse_generate

CHAT = parse_chat(b'{"model":"Tiny","messages":[{"role":"user","content":"x"}]}', Hints())
GENERATE = parse_generate(b'{"model":"Tiny","prompt":"x"}', Hints())
EMBED_NOTHING = parse_embed(b'{"model":"Tiny"}', Hints())
EMBEDDINGS_NOTHING = parse_embeddings(b'{"model":"Tiny"}', Hints())
EMBED = parse_embed(b'{"model":"Tiny","input":["a","b"]}', Hints())
EMBEDDINGS = parse_embeddings(b'{"model":"Tiny","prompt":"a"}', Hints())
NOW = "2026-11-20T12:00:00.123456789Z"
TIMED = Finished(FinishReason.STOP, Usage(26, 61), Timings(load_s=0.001, prompt_s=0.002, decode_s=0.003))


class Stopwatch:
    """A clock that goes on by a millisecond each time it is read."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        self.ns += 1_000_000
        return self.ns


def encoder(request: Request) -> LineEncoder:
    return LineEncoder(request, created_at=lambda: NOW, elapsed_ns=Stopwatch())


def streamed(request: Request, events: Iterable[Event]) -> list[dict[str, Json]]:
    writer = encoder(request)
    body = b"".join(writer.encode(event) for event in events)
    assert body.endswith(b"\n")
    return [msgspec.json.decode(line) for line in body.splitlines()]


def whole(request: Request, events: Iterable[Event]) -> dict[str, Json]:
    body = encoder(request).whole(events)
    assert not body.endswith(b"\n")
    answer = msgspec.json.decode(body)
    assert isinstance(answer, dict)
    return answer


def test_a_chat_streams_line_by_line_under_the_name_that_the_client_used() -> None:
    lines = streamed(CHAT, [Accepted(), Delta(thinking="hm"), Delta(text="hi"), TIMED])
    start = {"model": "Tiny", "created_at": NOW}
    assert lines == [
        start | {"message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False},
        start | {"message": {"role": "assistant", "content": "hi"}, "done": False},
        start
        | {
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": "stop",
            "total_duration": 2_000_000,
            "load_duration": 1_000_000,
            "prompt_eval_count": 26,
            "prompt_eval_duration": 2_000_000,
            "eval_count": 61,
            "eval_duration": 3_000_000,
        },
    ]


def test_keys_come_in_ollamas_own_order() -> None:
    first, last = streamed(GENERATE, [Delta(text="hi", thinking="hm"), TIMED])
    assert list(first) == ["model", "created_at", "response", "thinking", "done"]
    said, _ = streamed(CHAT, [Delta(text="hi", thinking="hm"), TIMED])
    assert list(said) == ["model", "created_at", "message", "done"]
    assert str(said["message"]) == "{'role': 'assistant', 'content': 'hi', 'thinking': 'hm'}"
    assert list(last)[:5] == ["model", "created_at", "response", "done", "done_reason"]
    assert list(last)[5:] == [
        "total_duration",
        "load_duration",
        "prompt_eval_count",
        "prompt_eval_duration",
        "eval_count",
        "eval_duration",
    ]


def test_a_generate_says_its_text_as_response() -> None:
    assert streamed(GENERATE, [Delta(text="hi")]) == [
        {"model": "Tiny", "created_at": NOW, "response": "hi", "done": False}
    ]


def test_a_whole_answer_holds_everything_once() -> None:
    answer = whole(CHAT, [Delta(thinking="h"), Delta(thinking="m"), Delta(text="h"), Delta(text="i"), TIMED])
    assert answer["message"] == {"role": "assistant", "content": "hi", "thinking": "hm"}
    assert (answer["done"], answer["done_reason"], answer["eval_count"]) == (True, "stop", 61)
    assert whole(GENERATE, [Delta(text="h"), Delta(text="i"), TIMED])["response"] == "hi"


def test_fragments_of_tool_calls_are_gathered_and_come_whole_in_the_last_line() -> None:
    events = [
        Delta(tool_calls=(ToolCallDelta(0, "c1", "f", '{"z"'),)),
        Delta(tool_calls=(ToolCallDelta(0, arguments=": 1.0,"), ToolCallDelta(1, None, "g"))),
        Delta(tool_calls=(ToolCallDelta(0, arguments='"a":2}'),)),
        Finished(FinishReason.TOOL_CALLS),
    ]
    calls = [
        {"id": "c1", "function": {"index": 0, "name": "f", "arguments": {"z": 1.0, "a": 2}}},
        {"function": {"index": 1, "name": "g", "arguments": {}}},
    ]
    (line,) = streamed(CHAT, events)
    assert (line["message"]["tool_calls"], line["done_reason"]) == (calls, "stop")
    assert whole(CHAT, events)["message"]["tool_calls"] == calls


def test_arguments_that_are_no_object_are_a_failure_that_names_the_tool() -> None:
    broken = [Delta(tool_calls=(ToolCallDelta(0, "c1", "f", '{"a'),)), Finished(FinishReason.TOOL_CALLS)]
    with pytest.raises(ProxyError, match="'f'") as caught:
        encoder(CHAT).whole(broken)
    assert caught.value.kind is ErrorKind.UPSTREAM_FAILED


def test_logprobs_are_written_with_the_likeliest_others() -> None:
    token = TokenLogprob("a", -0.5, (97,), (TokenLogprob("b", -1.0),))
    written = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [{"token": "b", "logprob": -1.0}]}
    (line,) = streamed(CHAT, [Delta(text="a", logprobs=(token,))])
    assert line["logprobs"] == [written]
    assert whole(CHAT, [Delta(text="a", logprobs=(token,)), Delta(logprobs=(token,)), TIMED])["logprobs"] == [
        written,
        written,
    ]


@pytest.mark.parametrize("event", [Delta(), Accepted(), Delta(tool_calls=(ToolCallDelta(0, "c", "f"),))])
def test_what_tells_a_client_nothing_is_not_written(event: Event) -> None:
    assert encoder(CHAT).encode(event) == b""


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (FinishReason.STOP, "stop"),
        (FinishReason.LENGTH, "length"),
        (FinishReason.TOOL_CALLS, "stop"),
        (FinishReason.CONTENT_FILTER, "content_filter"),
    ],
)
def test_the_reason_is_said_in_ollamas_words(reason: FinishReason, word: str) -> None:
    assert whole(CHAT, [Finished(reason)])["done_reason"] == word


@pytest.mark.parametrize("reason", [FinishReason.LOAD, FinishReason.UNLOAD])
def test_a_load_tells_no_counters(reason: FinishReason) -> None:
    done = {"model": "Tiny", "created_at": NOW, "done": True, "done_reason": reason.value}
    assert whole(CHAT, [Finished(reason)]) == done | {"message": {"role": "assistant", "content": ""}}
    assert whole(GENERATE, [Finished(reason)]) == done | {"response": ""}


def test_the_load_is_what_the_backends_times_leave_of_the_total() -> None:
    ended = Finished(usage=Usage(1, 1), timings=Timings(prompt_s=0.0002, decode_s=0.0003))
    assert whole(CHAT, [ended])["load_duration"] == 500_000


def test_a_known_zero_is_told_and_the_unknown_is_left_out() -> None:
    answer = whole(CHAT, [Finished(usage=Usage(prompt_tokens=0), timings=Timings(load_s=0.0))])
    assert (answer["load_duration"], answer["prompt_eval_count"]) == (0, 0)
    assert not {"eval_count", "prompt_eval_duration", "eval_duration"} & set(answer)


def test_where_the_backend_timed_nothing_a_stream_is_timed_by_our_own_clock() -> None:
    last = streamed(CHAT, [Delta(text="a"), Delta(text="b"), Finished(usage=Usage(3, 2))])[-1]
    assert (last["prompt_eval_duration"], last["eval_duration"]) == (1_000_000, 1_000_000)
    assert last["total_duration"] == 2_000_000
    assert "load_duration" not in last


def test_an_answer_that_never_ended_is_not_given_an_end() -> None:
    with pytest.raises(ProxyError, match="before it was complete"):
        encoder(CHAT).whole([Delta(text="x")])


def test_a_stream_that_breaks_ends_with_an_error_line() -> None:
    error = ProxyError(ErrorKind.UPSTREAM_FAILED, "the backend broke off")
    assert Ollama().stream_error(error) == b'{"error":"the backend broke off"}\n'


def test_vectors_come_with_what_is_known_of_their_cost() -> None:
    events = [Embedded(((0.5, 1.0), (2.0, 3.0))), Finished(usage=Usage(4), timings=Timings(load_s=0.0))]
    assert whole(EMBED, events) == {
        "model": "Tiny",
        "embeddings": [[0.5, 1.0], [2.0, 3.0]],
        "total_duration": 1_000_000,
        "load_duration": 0,
        "prompt_eval_count": 4,
    }
    assert whole(EMBEDDINGS, [Embedded(((0.5, 1.0),)), Finished()]) == {"embedding": [0.5, 1.0]}


def test_what_no_engine_told_of_vectors_is_our_own_time_and_estimate() -> None:
    asked = replace(EMBED, prompt_tokens=9)
    told = whole(asked, [Embedded(((0.5,), (1.0,))), Finished(timings=Timings(total_s=0.0004))])
    assert (told["total_duration"], told["load_duration"], told["prompt_eval_count"]) == (1_000_000, 600_000, 9)


def test_what_is_unknown_of_vectors_is_left_out() -> None:
    told = whole(replace(EMBED, prompt_tokens=0), [Embedded(((0.5,),)), Finished()])
    assert not {"load_duration", "prompt_eval_count"} & told.keys()


def test_an_embed_that_only_loads_has_no_vectors() -> None:
    assert whole(EMBED_NOTHING, [Finished(FinishReason.LOAD)]) == {"model": "Tiny", "embeddings": []}
    assert whole(EMBEDDINGS_NOTHING, [Finished(FinishReason.LOAD)]) == {"embedding": []}


def test_vectors_that_never_came_are_not_an_empty_answer() -> None:
    with pytest.raises(ProxyError, match="no vectors"):
        encoder(EMBED).whole([Finished()])
