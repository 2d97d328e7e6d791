"""The end of a stream that was passed on untouched is read from its last events alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.events import FinishReason, Timings, Usage
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.dialects.openai.ending import peek_answer, peek_usage
from tests.dialects.openai.openai_samples import chunk, encoded, sse

USAGE = {"prompt_tokens": 2, "completion_tokens": 3}


def test_reason_usage_and_done_are_found_though_each_came_in_a_block_of_its_own() -> None:
    frames = (*[chunk({"content": "x"})] * 50, chunk({}, "length"), {"choices": [], "usage": USAGE}, "[DONE]")
    blocks = [sse(frame) for frame in frames]
    ending = peek_usage(b"".join(blocks[-OpenAI.tail_blocks :]), len(blocks))
    assert ending.finished.reason is FinishReason.LENGTH
    assert ending.finished.usage == Usage(2, 3)
    assert ending.complete


def test_without_usage_the_timings_tell_the_tokens() -> None:
    timings = {"cache_n": 1, "prompt_n": 4, "predicted_n": 9, "predicted_ms": 500}
    ending = peek_usage(sse(chunk({}, "stop", timings=timings), "[DONE]"), 12)
    assert ending.finished.usage == Usage(5, 9, 1)
    assert ending.finished.timings == Timings(decode_s=0.5)


def test_without_either_the_events_are_counted_and_the_number_is_called_an_estimate() -> None:
    tail = sse(*[chunk({"content": "x"})] * 7) + sse(chunk({}, "stop"), "[DONE]")
    assert peek_usage(tail, tail.count(OpenAI.frame_mark)).finished.usage == Usage(completion_tokens=7, estimated=True)


@pytest.mark.parametrize(
    ("frames", "complete"),
    [
        ((chunk({"content": "x"}),), False),
        ((chunk({}, "stop"),), True),
        (("[DONE]",), True),
        ((chunk({}, "stop"), {"error": {"message": "boom"}}), False),
        ((), False),
    ],
)
def test_a_stream_is_complete_when_it_said_so_and_did_not_fail(frames: tuple[object, ...], complete: bool) -> None:
    ending = peek_usage(sse(*frames), len(frames))
    assert ending.complete is complete


def test_an_error_in_the_stream_is_told() -> None:
    ending = peek_usage(sse({"error": {"message": "boom"}}), 1)
    assert ending.error is not None
    assert ending.error.message == "boom"


@given(st.binary(max_size=200), st.integers(min_value=0, max_value=9))
def test_odd_data_says_nothing_and_never_raises(data: bytes, frames: int) -> None:
    assert not peek_usage(b"data: " + data, frames).finished.usage.prompt_tokens
    assert not peek_answer(data).finished.usage.prompt_tokens


def test_data_nested_without_end_never_raises() -> None:
    deep = b'{"error":' + b"[" * 100_000
    assert not peek_usage(b"data: " + deep, 1).complete
    assert not peek_answer(deep).complete


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[1,2]", b"{}", b'"text"', b"this is not json at all", b'{"choices":[]}', b"\x1f\x8b\x08"),
        b'{"choices":[{"message":{"content":"w0 w',
        b'{"choices":[{"message":{"content":"x"}}]}{"choices":[{"message":{"content":"x"}}]}',
    ],
)
def test_a_whole_answer_without_an_answer_in_it_is_not_complete(body: bytes) -> None:
    assert not peek_answer(body).complete


def test_a_whole_answer_tells_its_reason_and_usage() -> None:
    answer = {"choices": [{"message": {"content": "x"}, "finish_reason": "length"}], "usage": USAGE}
    ending = peek_answer(encoded(answer))
    assert (ending.finished.reason, ending.finished.usage, ending.complete) == (FinishReason.LENGTH, Usage(2, 3), True)


def test_a_whole_answer_of_vectors_tells_its_usage() -> None:
    ending = peek_answer(encoded({"data": [{"embedding": [1.0]}], "usage": {"prompt_tokens": 4, "total_tokens": 4}}))
    assert (ending.finished.usage, ending.complete) == (Usage(4), True)


def test_a_whole_answer_that_is_an_error_is_not_complete() -> None:
    assert not peek_answer(b'{"error":{"message":"boom"}}').complete
