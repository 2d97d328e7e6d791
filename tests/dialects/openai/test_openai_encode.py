"""What OpenAI clients are sent, streamed or whole."""

from typing import Any

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
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from ollama_proxyd.core.requests import Hints, Operation, Request
from ollama_proxyd.dialects.openai.decode import ChunkDecoder, decode_answer
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.dialects.openai.encode import ChatEncoder, CompletionEncoder, EmbeddingEncoder
from ollama_proxyd.dialects.openai.parse import parse_completion, parse_embedding
from ollama_proxyd.dialects.openai.vectors import unpack
from tests.dialects.openai.openai_samples import encoded, frames_in, openai_chat

STREAM = {"stream": True}
WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}
END = Finished(FinishReason.STOP, Usage(26, 61))
LOGPROBS = (TokenLogprob("a", -0.5, (97,), (TokenLogprob("b", -2.0),)),)


def encoder_of(request: Request) -> ChatEncoder | CompletionEncoder | EmbeddingEncoder:
    if request.operation is Operation.EMBEDDING:
        return EmbeddingEncoder(request)
    kind = ChatEncoder if request.operation is Operation.CHAT else CompletionEncoder
    return kind(request, 1_795_176_000, "7")


def completion(**fields: object) -> Request:
    return parse_completion(encoded({"model": "tiny", "prompt": "hi", **fields}), Hints())


def embedding(**fields: object) -> Request:
    return parse_embedding(encoded({"model": "tiny", "input": ["a", "b"], **fields}), Hints())


def streamed(request: Request, *events: Event) -> list[Any]:
    writer = encoder_of(request)
    return frames_in(b"".join(writer.encode(event) for event in events))


def choices(request: Request, *events: Event) -> list[Any]:
    return [frame["choices"][0] for frame in streamed(request, *events) if frame != "[DONE]" and frame["choices"]]


def whole(request: Request, *events: Event) -> Any:
    return msgspec.json.decode(encoder_of(request).whole(events))


# Chats, streamed.


def test_every_chunk_carries_the_same_id_time_and_the_clients_own_name_of_the_model() -> None:
    frames = streamed(openai_chat(**WITH_USAGE), Accepted(), Delta("a"), END)
    assert frames.pop() == "[DONE]"
    for frame in frames:
        assert (frame["id"], frame["object"]) == ("chatcmpl-7", "chat.completion.chunk")
        assert (frame["created"], frame["model"]) == (1_795_176_000, "tiny")


def test_the_role_comes_with_the_first_delta_alone() -> None:
    deltas = [choice["delta"] for choice in choices(openai_chat(**STREAM), Delta("Hello!"), Delta(" I"), END)]
    assert deltas == [{"role": "assistant", "content": "Hello!"}, {"content": " I"}, {}]


def test_an_answer_without_text_still_says_its_role() -> None:
    assert choices(openai_chat(**STREAM), END) == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": "stop"},
    ]


def test_thinking_goes_out_under_both_names_with_empty_content() -> None:
    first, second, _ = choices(openai_chat(**STREAM), Delta(thinking="Let"), Delta(thinking=" me"), END)
    thought = {"content": "", "reasoning_content": "Let", "reasoning": "Let"}
    assert first["delta"] == {"role": "assistant", **thought}
    assert second["delta"] == {"content": "", "reasoning_content": " me", "reasoning": " me"}


def test_a_tool_call_names_itself_once_and_calls_without_an_id_get_one() -> None:
    events = (
        Delta(tool_calls=(ToolCallDelta(0, "a", "f", "{"),)),
        Delta(tool_calls=(ToolCallDelta(0, arguments="}"), ToolCallDelta(1, None, "g", "{}"))),
        END,
    )
    first, second, last = choices(openai_chat(**STREAM), *events)
    assert first["delta"]["tool_calls"] == [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}}
    ]
    assert second["delta"] == {
        "tool_calls": [
            {"index": 0, "function": {"arguments": "}"}},
            {"index": 1, "id": "call_7_1", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ]
    }
    assert last["finish_reason"] == "tool_calls"


def test_the_reason_of_an_answer_cut_short_stays_though_tools_were_called() -> None:
    events = (Delta(tool_calls=(ToolCallDelta(0, "a", "f", "{"),)), Finished(FinishReason.LENGTH))
    assert choices(openai_chat(**STREAM), *events)[-1]["finish_reason"] == "length"


def test_log_probabilities_go_out_in_the_form_of_chats() -> None:
    first, last = choices(openai_chat(**STREAM), Delta("a", logprobs=LOGPROBS), END)
    likeliest = [{"token": "b", "logprob": -2.0, "bytes": None}]
    assert first["logprobs"] == {"content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": likeliest}]}
    assert "logprobs" not in last


def test_usage_is_a_chunk_without_choices_and_only_where_it_was_asked_for() -> None:
    *_, usage, done = streamed(openai_chat(**WITH_USAGE), Delta("a"), END)
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 26, "completion_tokens": 61, "total_tokens": 87}
    assert done == "[DONE]"
    assert all(frame == "[DONE]" or "usage" not in frame for frame in streamed(openai_chat(**STREAM), Delta("a"), END))


@pytest.mark.parametrize("reason", list(FinishReason))
def test_every_reason_has_a_word(reason: FinishReason) -> None:
    for request in (openai_chat(**STREAM), completion(stream=True)):
        assert choices(request, Finished(reason))[-1]["finish_reason"] in {
            "stop",
            "length",
            "tool_calls",
            "content_filter",
        }


def test_an_error_after_the_first_byte_is_the_last_event_and_no_done_follows() -> None:
    error = ProxyError(ErrorKind.UPSTREAM_FAILED, "it broke off")
    (frame,) = frames_in(OpenAI().stream_error(error))
    assert frame["error"]["message"] == "it broke off"


# Whole chats.


def test_a_whole_chat_gathers_its_deltas() -> None:
    answer = whole(openai_chat(), Accepted(), Delta(thinking="Let"), Delta("Hel"), Delta("lo"), END)
    assert answer["object"] == "chat.completion"
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Hello",
                "reasoning_content": "Let",
                "reasoning": "Let",
            },
            "finish_reason": "stop",
        }
    ]
    assert answer["usage"]["total_tokens"] == 87


def test_a_whole_chat_joins_the_pieces_of_each_tool_call_and_has_no_content() -> None:
    events = (
        Delta(tool_calls=(ToolCallDelta(1, None, "g", "{}"), ToolCallDelta(0, "a", "f", "{"))),
        Delta(tool_calls=(ToolCallDelta(0, arguments="}"),), logprobs=LOGPROBS),
        END,
    )
    (choice,) = whole(openai_chat(), *events)["choices"]
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "call_7_1", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }
    assert choice["finish_reason"] == "tool_calls"
    assert len(choice["logprobs"]["content"]) == 1


def test_unknown_usage_is_null_and_cached_tokens_are_told() -> None:
    assert whole(openai_chat(), Delta("a"), Finished())["usage"] is None
    details = whole(openai_chat(), Finished(usage=Usage(5, 2, 4)))["usage"]["prompt_tokens_details"]
    assert details == {"cached_tokens": 4}


@pytest.mark.parametrize("request_", [openai_chat(**WITH_USAGE), completion(**WITH_USAGE)], ids=["chat", "completion"])
def test_what_is_encoded_can_be_decoded_again(request_: Request) -> None:
    events: list[Event] = [Delta("a", logprobs=(TokenLogprob("a", -0.5),)), Delta("b"), END]
    writer, decoder = encoder_of(request_), ChunkDecoder()
    found = decoder.feed(b"".join(writer.encode(event) for event in events))
    assert [*found, decoder.finish()] == events
    together = Delta("ab", logprobs=(TokenLogprob("a", -0.5),))
    assert decode_answer(encoder_of(request_).whole(events)) == [together, END]


# Completions.


def test_a_completion_is_text_with_a_reason_in_its_last_chunk() -> None:
    frames = streamed(completion(**WITH_USAGE), Delta("Let"), Delta(thinking="hidden"), Delta(" me"), END)
    assert [frame["choices"] for frame in frames[:3]] == [
        [{"text": text, "index": 0, "logprobs": None, "finish_reason": reason}]
        for text, reason in (("Let", None), (" me", None), ("", "stop"))
    ]
    assert (frames[0]["id"], frames[0]["object"]) == ("cmpl-7", "text_completion")
    assert frames[3]["usage"]["total_tokens"] == 87
    assert frames[4] == "[DONE]"


def test_a_completions_log_probabilities_are_parallel_lists_with_offsets() -> None:
    second = (TokenLogprob("cd", -1.0),)
    _, chunk, _ = choices(completion(**STREAM), Delta("ab"), Delta("cd", logprobs=second), END)
    assert chunk["logprobs"] == {
        "tokens": ["cd"],
        "token_logprobs": [-1.0],
        "top_logprobs": [{}],
        "text_offset": [2],
    }
    (choice,) = whole(completion(), Delta("a", logprobs=LOGPROBS), Delta("cd", logprobs=second), END)["choices"]
    assert choice["text"] == "acd"
    assert choice["logprobs"]["text_offset"] == [0, 1]
    assert choice["logprobs"]["top_logprobs"] == [{"b": -2.0}, {}]


# Embeddings.


def test_vectors_go_out_as_numbers_or_packed() -> None:
    events = (Embedded(((1.0, 0.0), (0.5, -0.5))), Finished(usage=Usage(4)))
    answer = whole(embedding(), *events)
    assert answer["data"][1] == {"object": "embedding", "embedding": [0.5, -0.5], "index": 1}
    assert (answer["object"], answer["model"]) == ("list", "tiny")
    assert answer["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    packed = whole(embedding(encoding_format="base64"), *events)["data"][1]["embedding"]
    assert unpack(packed) == (0.5, -0.5)


@pytest.mark.parametrize(("told", "shown"), [(None, True), (0, False)])
def test_the_tokens_of_vectors_are_estimated_where_the_engine_tells_none(told: int | None, *, shown: bool) -> None:
    request = embedding()
    usage = whole(request, Embedded(((1.0, 0.0),)), Finished(usage=Usage(told)))["usage"]
    tokens = request.prompt_tokens if shown else told
    assert usage == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert request.prompt_tokens > 0
