"""Answers of OpenAI-style engines, in all their variants, become the same events."""

import json
import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import (
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
from ollama_proxyd.core.requests import Chat, Completion, Embedding, Options
from ollama_proxyd.dialects.framing.splitter import FrameSplitter
from ollama_proxyd.dialects.framing.sse import ENDS
from ollama_proxyd.dialects.openai.decode import ChunkDecoder, TextDecoder, decode_answer, top_logprobs_of
from ollama_proxyd.dialects.openai.ending import peek_usage
from ollama_proxyd.dialects.openai.vectors import decode_embeddings, pack, unpack
from tests.dialects.openai.openai_samples import chunk, encoded, said, sse

USAGE = {"prompt_tokens": 23, "completion_tokens": 14, "prompt_tokens_details": {"cached_tokens": 22}}
TIMINGS = {"cache_n": 22, "prompt_n": 1, "prompt_ms": 250.0, "predicted_n": 14, "predicted_ms": 1500.0}


def decoded(block: bytes, top_logprobs: int | None = None) -> list[Event]:
    decoder = TextDecoder(top_logprobs)
    return [*decoder.feed(block), decoder.finish()]


def deltas(block: bytes) -> list[Delta]:
    return [event for event in TextDecoder().feed(block) if isinstance(event, Delta)]


def calls(*pieces: dict[str, Any]) -> list[ToolCallDelta]:
    block = sse(*(chunk({"tool_calls": [piece]}) for piece in pieces))
    return [call for delta in deltas(block) for call in delta.tool_calls]


def test_a_chat_of_llama_server_becomes_thinking_text_and_an_end_with_usage_and_timings() -> None:
    block = sse(
        chunk({"role": "assistant", "content": None}),
        chunk({"reasoning_content": "Let"}),
        chunk({"content": "Hello!"}),
        chunk({}, "length"),
        {"choices": [], "usage": USAGE, "timings": TIMINGS},
        "[DONE]",
    )
    assert decoded(block) == [
        Delta(thinking="Let"),
        Delta(text="Hello!"),
        Finished(FinishReason.LENGTH, Usage(23, 14, 22), Timings(prompt_s=0.25, decode_s=1.5)),
    ]


@given(st.integers(min_value=1, max_value=40), st.randoms(use_true_random=False))
def test_however_the_transport_cuts_a_stream_its_events_are_the_same(pieces: int, chance: random.Random) -> None:
    stream = b": keepalive\n\n" + sse(
        chunk({"content": "a\u20ac"}), chunk({"content": "b"}), chunk({}, "stop"), "[DONE]"
    )
    places = sorted(chance.randrange(len(stream)) for _ in range(pieces))
    splitter, decoder, found = FrameSplitter(ENDS), TextDecoder(), list[Event]()
    for start, end in zip([0, *places], [*places, len(stream)], strict=True):
        found += decoder.feed(splitter.feed(stream[start:end]))
    assert [*found, decoder.finish()] == decoded(stream)


@pytest.mark.parametrize(
    ("delta", "event"),
    [
        ({"reasoning": "x"}, Delta(thinking="x")),
        ({"content": "", "reasoning_content": "x"}, Delta(thinking="x")),
        ({"content": None, "reasoning": None, "tool_calls": None}, None),
        ({"role": "assistant", "content": ""}, None),
        ({"content": "x", "unheard_of": {"a": 1}}, Delta(text="x")),
        ({"content": None, "refusal": "x"}, Delta(text="x")),
    ],
)
def test_deltas_are_read_in_every_spelling(delta: dict[str, Any], event: Delta | None) -> None:
    assert deltas(sse(chunk(delta))) == ([] if event is None else [event])


def test_odd_chunks_say_nothing_and_break_nothing() -> None:
    block = sse(
        {"choices": None},
        {"choices": [], "usage": None},
        {"object": "ping"},
        {"choices": [{"index": 0, "delta": None, "finish_reason": None}]},
        {"choices": [{"index": 1, "delta": {"content": "the second answer"}}]},
        chunk({"content": "x"}, usage=None),
        chunk(None, "eos_token"),
    )
    assert decoded(block) == [Delta(text="x"), Finished(usage=Usage(completion_tokens=1, estimated=True))]


def test_the_only_answer_of_a_stream_is_read_whatever_its_number() -> None:
    block = sse(*({"choices": [{"index": 1, "delta": {"content": word}}]} for word in "ab"), chunk(None, "stop"))
    assert deltas(block) == [Delta(text="a"), Delta(text="b")]


def test_a_completion_of_llama_server_has_text_and_usage_in_its_last_chunk() -> None:
    block = sse(
        {"choices": [{"text": " about", "index": 0, "logprobs": None, "finish_reason": None}]},
        {"choices": [{"text": "", "index": 0, "finish_reason": "length"}], "usage": USAGE},
        "[DONE]",
    )
    assert decoded(block) == [Delta(text=" about"), Finished(FinishReason.LENGTH, Usage(23, 14, 22))]


def test_usage_that_came_before_the_last_chunk_is_kept() -> None:
    block = sse(chunk({"content": "a"}, usage=USAGE), chunk({}, "stop"), "[DONE]")
    assert decoded(block) == [Delta(text="a"), Finished(usage=Usage(23, 14, 22))]


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": "23", "completion_tokens": "14", "prompt_tokens_details": {"cached_tokens": "22"}},
        {"input_tokens": 23, "output_tokens": 14, "prompt_tokens_details": {"cached_tokens": 22}},
    ],
)
def test_usage_may_be_written_as_text_or_by_the_names_of_the_newer_api(usage: dict[str, Any]) -> None:
    assert decoded(sse(chunk({}, "stop", usage=usage), "[DONE]")) == [Finished(usage=Usage(23, 14, 22))]


@pytest.mark.parametrize("usage", [{"prompt_tokens": 23}, {"input_tokens": 23, "completion_tokens": None}])
def test_tokens_of_the_answer_that_the_usage_leaves_out_are_estimated(usage: dict[str, Any]) -> None:
    block = sse(chunk({"content": "a"}), chunk({"content": "b"}), chunk({}, "stop", usage=usage), "[DONE]")
    estimated = Usage(23, 2, estimated=True)
    assert decoded(block) == [Delta(text="a"), Delta(text="b"), Finished(usage=estimated)]
    assert peek_usage(block, 4).finished == Finished(usage=estimated)
    assert peek_usage(sse(chunk({}, "stop", usage=USAGE)), 5).finished == Finished(usage=Usage(23, 14, 22))


def test_usage_comes_from_the_timings_where_there_is_none() -> None:
    block = sse(chunk({}, "stop", timings=TIMINGS), "[DONE]")
    assert decoded(block) == [Finished(usage=Usage(23, 14, 22), timings=Timings(prompt_s=0.25, decode_s=1.5))]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("tool_calls", FinishReason.TOOL_CALLS),
        ("function_call", FinishReason.TOOL_CALLS),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("eos", FinishReason.STOP),
    ],
)
def test_finish_reasons_are_translated(word: str, reason: FinishReason) -> None:
    finished = decoded(sse(chunk({}, word)))[-1]
    assert isinstance(finished, Finished)
    assert finished.reason is reason


@pytest.mark.parametrize("word", ["None", "null", ""])
def test_a_word_for_no_reason_is_no_end(word: str) -> None:
    with pytest.raises(ProxyError, match="before it was complete"):
        decoded(sse(chunk({"content": "a"}, word)))
    assert isinstance(decoded(sse(chunk({"content": "a"}, word), chunk({}, "stop")))[-1], Finished)


def test_done_is_a_proper_end_without_a_reason_but_not_of_nothing() -> None:
    assert decoded(sse(chunk({"content": "a"}), "[DONE]"))[-1] == Finished(usage=Usage(None, 1, estimated=True))
    nothing: dict[str, Any] = {"choices": []}
    for block in (sse("[DONE]"), sse(nothing, "[DONE]")):
        with pytest.raises(ProxyError, match="before it was complete"):
            decoded(block)


@pytest.mark.parametrize("block", [b"", sse(chunk({"content": "half"})), sse({"choices": [], "usage": USAGE})])
def test_a_stream_that_ends_without_reason_or_done_broke_off(block: bytes) -> None:
    decoder = TextDecoder()
    decoder.feed(block)
    with pytest.raises(ProxyError, match="before it was complete") as caught:
        decoder.finish()
    assert caught.value.kind is ErrorKind.UPSTREAM_FAILED


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ({"message": "out of memory", "code": 500}, "out of memory"),
        ("out of memory", "out of memory"),
        ({"error": {"detail": "out of memory"}}, "out of memory"),
        ({"code": 7}, "the backend reported an error"),
    ],
)
def test_an_error_in_the_stream_is_raised_after_what_came_before_it(error: object, message: str) -> None:
    decoder = TextDecoder()
    block = sse(chunk({"content": "a"})) + b"event: error\n" + sse({"error": error})
    assert decoder.feed(block) == [Delta(text="a")]
    for more in (lambda: decoder.feed(sse(chunk({"content": "b"}))), decoder.finish):
        with pytest.raises(ProxyError, match=message) as caught:
            more()
        assert caught.value.kind is ErrorKind.UPSTREAM_FAILED


def test_an_error_that_comes_alone_is_raised_at_once() -> None:
    with pytest.raises(ProxyError, match="boom"):
        TextDecoder().feed(sse({"error": {"message": "boom"}}))


@pytest.mark.parametrize("data", ["<html>", "[1]", '{"choices":[{"delta":{"content":"my secret'])
def test_a_stream_of_which_nothing_can_be_read_is_the_backends_failure_and_is_not_quoted(data: str) -> None:
    with pytest.raises(ProxyError, match=r"can(not)? be read") as caught:
        decoded(sse(data, "[DONE]"))
    assert caught.value.kind is ErrorKind.UPSTREAM_FAILED
    assert "secret" not in f"{caught.value.message}{caught.value.detail}"


def test_a_tool_call_in_pieces_keeps_its_index_and_names_itself_once() -> None:
    assert calls(
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}},
        {"index": 0, "function": {"arguments": "}"}},
        {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}},
    ) == [
        ToolCallDelta(0, "a", "f", "{"),
        ToolCallDelta(0, arguments="}"),
        ToolCallDelta(1, "b", "g", "{}"),
    ]


def test_tool_calls_without_an_index_are_numbered_by_id_and_name() -> None:
    assert calls(
        {"id": "a", "function": {"name": "f", "arguments": "{"}},
        {"function": {"arguments": "}"}},
        {"id": "b", "function": {"name": "g", "arguments": "{"}},
        {"id": "a", "function": {"arguments": " "}},
        {"id": "b", "function": {"arguments": "}"}},
        {"function": {"name": "h"}},
    ) == [
        ToolCallDelta(0, "a", "f", "{"),
        ToolCallDelta(0, arguments="}"),
        ToolCallDelta(1, "b", "g", "{"),
        ToolCallDelta(0, arguments=" "),
        ToolCallDelta(1, arguments="}"),
        ToolCallDelta(2, name="h"),
    ]


def test_two_calls_under_one_index_are_told_apart_by_their_ids() -> None:
    pieces = ({"index": 0, "id": call, "function": {"name": "f", "arguments": {"x": 1}}} for call in "ab")
    assert calls(*pieces) == [ToolCallDelta(0, "a", "f", '{"x":1}'), ToolCallDelta(1, "b", "f", '{"x":1}')]


TOKEN = {
    "token": "a",
    "logprob": -0.5,
    "bytes": [97],
    "top_logprobs": [{"token": "a", "logprob": -0.5, "bytes": [97]}, {"token": "b", "logprob": -2.0}],
}
FIRST, SECOND = TokenLogprob("a", -0.5, (97,)), TokenLogprob("b", -2.0)


@pytest.mark.parametrize(("top", "likeliest"), [(None, (FIRST, SECOND)), (2, (FIRST, SECOND)), (1, (FIRST,)), (0, ())])
def test_log_probabilities_have_as_many_alternatives_as_were_asked_for(
    top: int | None, likeliest: tuple[TokenLogprob, ...]
) -> None:
    frame = {"choices": [{"delta": {"content": "a"}, "logprobs": {"content": [TOKEN]}}]}
    (delta,) = TextDecoder(top).feed(sse(frame))
    assert delta == Delta(text="a", logprobs=(TokenLogprob("a", -0.5, (97,), likeliest),))


def test_log_probabilities_in_parallel_lists_are_read_and_unknown_ones_left_out() -> None:
    logprobs = {"tokens": ["x", "a"], "token_logprobs": [None, -0.5], "top_logprobs": [None, {"a": -0.5, "b": -2.0}]}
    answer = {"choices": [{"text": "xa", "logprobs": logprobs, "finish_reason": "stop"}]}
    likeliest = (TokenLogprob("a", -0.5), TokenLogprob("b", -2.0))
    assert decode_answer(encoded(answer))[0] == Delta(text="xa", logprobs=(TokenLogprob("a", -0.5, None, likeliest),))


def test_as_many_alternatives_are_kept_as_the_content_asked_for() -> None:
    assert top_logprobs_of(Chat((said("hi"),), logprobs=True)) == 0
    assert top_logprobs_of(Completion("hi", raw=True, logprobs=True, top_logprobs=3)) == 3
    assert top_logprobs_of(Embedding(("a",), single=True)) is None


def test_a_whole_chat_becomes_one_delta_and_the_end() -> None:
    message = {
        "role": "assistant",
        "content": "",
        "reasoning_content": "hm",
        "tool_calls": [{"type": "function", "id": "a", "function": {"name": "f", "arguments": "{}"}}],
    }
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}], "usage": USAGE}
    assert decode_answer(encoded(answer)) == [
        Delta(thinking="hm", tool_calls=(ToolCallDelta(0, "a", "f", "{}"),)),
        Finished(FinishReason.TOOL_CALLS, Usage(23, 14, 22)),
    ]


def test_a_whole_answer_without_text_is_only_an_end() -> None:
    assert decode_answer(b'{"choices":[{"message":{"content":null},"finish_reason":null}]}') == [Finished()]


def test_a_whole_answer_is_the_first_one_whatever_its_number() -> None:
    assert decode_answer(b'{"choices":[{"index":7,"message":{"content":"x"}}]}') == [Delta(text="x"), Finished()]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":{"message":"boom"}}', "boom"),
        (b'{"choices":[]}', "no message"),
        (b'{"choices":[{"index":0,"finish_reason":"stop"}]}', "no message"),
        (b"<html>", "not in OpenAI's form"),
        (b"", "not in OpenAI's form"),
    ],
)
def test_a_whole_answer_that_is_none_is_the_backends_failure(body: bytes, message: str) -> None:
    with pytest.raises(ProxyError, match=message) as caught:
        decode_answer(body)
    assert caught.value.kind is ErrorKind.UPSTREAM_FAILED


# Embeddings.

TWO = Embedding(("a", "b"), single=False)


def vectors(*found: tuple[int, object], **fields: object) -> bytes:
    data = [{"embedding": vector, "index": index} for index, vector in found]
    return encoded({"data": data, **fields})


def test_vectors_come_in_the_order_of_the_inputs_whatever_their_form() -> None:
    body = vectors((1, [0.0, 1.0]), (0, pack((1.0, 0.0))), usage={"prompt_tokens": 3, "total_tokens": 3})
    assert decode_embeddings(body, TWO) == [Embedded(((1.0, 0.0), (0.0, 1.0))), Finished(usage=Usage(3))]


def test_vectors_are_cut_to_the_dimensions_asked_for_and_scaled_to_unit_length() -> None:
    wanted = Embedding(("a",), single=True, options=Options(known={"dimensions": 2}))
    (embedded, _) = decode_embeddings(vectors((0, [3.0, 4.0, 12.0])), wanted)
    assert embedded == Embedded(((0.6, 0.8),))


def test_vectors_that_are_wanted_raw_keep_their_length() -> None:
    wanted = Embedding(("a",), single=True, normalized=False)
    assert decode_embeddings(vectors((0, [3, 4])), wanted)[0] == Embedded(((3.0, 4.0),))


def test_a_vector_of_unit_length_keeps_every_digit_and_one_of_zeros_stays() -> None:
    exact = (0.6000001, 0.8)
    assert decode_embeddings(vectors((0, exact), (1, [0, 0])), TWO)[0] == Embedded((exact, (0.0, 0.0)))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (vectors((0, [1.0])), "1 vectors for 2 inputs"),
        (b'{"error":"boom"}', "boom"),
        (vectors((0, "!!"), (1, [1.0])), "not base64"),
        (vectors((0, "AAA="), (1, [1.0])), "not base64"),
        (vectors((0, [[1.0], [2.0]]), (1, [1.0])), "no list of numbers"),
        (vectors((0, [1.0, None]), (1, [1.0])), "no list of numbers"),
        (vectors((0, []), (1, [1.0])), "no list of numbers"),
        (b"[1]", "not in OpenAI's form"),
    ],
)
def test_vectors_that_cannot_be_used_are_the_backends_failure(body: bytes, message: str) -> None:
    with pytest.raises(ProxyError, match=message) as caught:
        decode_embeddings(body, TWO)
    assert caught.value.kind is ErrorKind.UPSTREAM_FAILED


@given(st.lists(st.floats(width=32, allow_nan=False)))
def test_packing_a_vector_loses_nothing(vector: list[float]) -> None:
    assert unpack(pack(vector)) == tuple(vector)


def tokens_of(*chunks: Any) -> list[int]:
    return [event.tokens for event in TextDecoder().feed(sse(*chunks)) if isinstance(event, Delta)]


def test_a_piece_is_as_many_tokens_as_the_engine_has_counted_since_the_last_one() -> None:
    timed = [{**chunk({"content": word}), "timings": {"predicted_n": n}} for word, n in (("a", 1), ("🙂", 4), ("b", 5))]
    assert tokens_of(*timed) == [1, 3, 1]
    told = [{**chunk({"content": word}), "usage": {"completion_tokens": n}} for word, n in (("a", 2), ("🙂", 4))]
    assert tokens_of(*told) == [2, 2]


def test_pieces_that_wait_for_the_rest_of_a_letter_count_with_it() -> None:
    role, empty = chunk({"role": "assistant", "content": ""}), chunk({"content": ""})
    words = [role, chunk({"content": "a"}), empty, empty, chunk({"content": "🙂"}), chunk({"content": "b"}), chunk({})]
    assert tokens_of(*words) == [1, 3, 1]


@pytest.mark.parametrize("choices", ['[{"index":0,"delta":{"content":"Hel"}}]', '{"delta":{"content":"Hel"}}'])
@pytest.mark.parametrize(("begin", "between", "end"), [("", "\n", ""), ("", "\r\n", "\n"), ("[", ",\n", "]")])
def test_chunks_without_events_are_read_as_well(choices: str, begin: str, between: str, end: str) -> None:
    last = (
        '{"choices":[{"index":0,"delta":{"content":[{"type":"text","text":{"value":"lo"}}]},"finish_reason":"stop"}]}'
    )
    body = begin + between.join((f'{{"choices":{choices}}}', last)) + end
    events = decode_answer(body.encode())
    assert "".join(each.text for each in events if isinstance(each, Delta)) == "Hello"


PLAIN = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "usage": None}
ODD_CHOICES = [
    {"index": 0, "delta": {"content": "Hi"}, "finish_reason": None},
    {"index": 0, "delta": {"content": "Hi", "role": "assistant", "reasoning_content": None}, "logprobs": None},
    {"index": 1, "delta": {"content": "other"}},
    {"index": 0, "delta": {"content": ""}},
    {"index": 0, "delta": {"content": "cut \ud83d"}},
    {"index": 0, "delta": {"content": None, "reasoning": "Hm"}},
    {"index": 0, "delta": {"content": "x", "tool_calls": [{"index": 0, "function": {"name": "f"}}]}},
    {"index": 0, "delta": {"content": "end"}, "finish_reason": "length"},
    {"index": 0, "delta": {"content": "x"}, "error": "no memory"},
    {"index": 0, "text": "plain"},
]


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(ODD_CHOICES), max_size=2), st.sampled_from([{}, {"object": "error"}, {"x": 1}])
        ),
        max_size=6,
    ),
    st.sampled_from(["\n\n", "\r\n\r\n"]),
)
@example([([ODD_CHOICES[2]], {}), ([ODD_CHOICES[0]], {})], "\n\n")
def test_the_commonest_frame_is_read_as_every_other(frames: list[Any], end: str) -> None:
    said = [f"data: {json.dumps({**PLAIN, 'choices': choices, **more})}{end}".encode() for choices, more in frames]
    told = []
    for decoder, blocks in (
        (ChunkDecoder(), said),
        (TextDecoder(), said),
        (ChunkDecoder(), [b"".join(said)]),
        (TextDecoder(), [b"".join(said)]),
    ):
        events: list[Any] = []
        try:
            for each in blocks:
                events += decoder.feed(each)
            events.append(decoder.finish())
        except ProxyError as error:
            events.append(str(error))
        told.append([(each, each.tokens) if isinstance(each, Delta) else each for each in events])
    assert told[0] == told[1]
    assert told[2] == told[3]
