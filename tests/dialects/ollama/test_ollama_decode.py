"""What an Ollama backend says becomes events; what breaks off is a failure."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import (
    Delta,
    Embedded,
    Finished,
    FinishReason,
    Timings,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from ollama_proxyd.dialects.framing import ndjson
from ollama_proxyd.dialects.framing.splitter import FrameSplitter
from ollama_proxyd.dialects.ollama.decode import LineDecoder, decode_answer, decode_vectors, peek_answer, peek_usage

THINKS = b'{"model":"m","message":{"role":"assistant","content":"","thinking":"hm"},"done":false}\n'
SAYS = b'{"model":"m","message":{"role":"assistant","content":"hi \xe2\x98\xba"},"done":false}\n'
GENERATES = b'{"model":"m","response":"hi","done":false}\n'
DONE = (
    b'{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop",'
    b'"total_duration":5000000000,"load_duration":1000000000,"prompt_eval_count":26,'
    b'"prompt_eval_duration":1500000000,"eval_count":61,"eval_duration":2500000000}\n'
)
CALLS = (
    b'{"message":{"content":"","tool_calls":[{"id":"x1","function":{"index":0,"name":"f","arguments":{"b": 1.0}}},'
    b'{"function":{"name":"g"}}]},"done":true,"done_reason":"stop"}\n'
)
USAGE = Usage(prompt_tokens=26, completion_tokens=61)
TIMINGS = Timings(total_s=5.0, load_s=1.0, prompt_s=1.5, decode_s=2.5)


def failure(body: bytes) -> ProxyError:
    decoder = LineDecoder()
    with pytest.raises(ProxyError) as caught:
        decoder.feed(body)
    assert caught.value.kind is ErrorKind.UPSTREAM_FAILED
    return caught.value


def test_text_and_thinking_come_line_by_line() -> None:
    decoder = LineDecoder()
    assert decoder.feed(THINKS + SAYS) == [Delta(thinking="hm"), Delta(text="hi ☺")]
    assert decoder.feed(GENERATES + DONE) == [Delta(text="hi")]


def test_the_end_tells_the_reason_the_tokens_and_the_backends_own_clock() -> None:
    decoder = LineDecoder()
    decoder.feed(DONE)
    assert decoder.finish() == Finished(FinishReason.STOP, USAGE, TIMINGS)


NOTHING_CALLED = (
    '{"id":"x5"}',
    "{}",
    '{"function":{"arguments":null}}',
    '{"function":{"arguments":{}}}',
    '{"function":{"arguments":"{}"}}',
)


@pytest.mark.parametrize("odd", NOTHING_CALLED)
@pytest.mark.parametrize("is_first", [True, False])
def test_what_calls_nothing_adds_nothing_to_the_call_beside_it(odd: str, *, is_first: bool) -> None:
    call = '{"id":"x1","function":{"name":"f","arguments":{"a":1}}}'
    calls = f"{odd},{call}" if is_first else f"{call},{odd}"
    [delta] = LineDecoder().feed(f'{{"message":{{"content":"","tool_calls":[{calls}]}},"done":false}}\n'.encode())
    assert isinstance(delta, Delta)
    assert delta.tool_calls == (ToolCallDelta(0, "x1", "f", '{"a":1}'),)


@pytest.mark.parametrize("told", [2**25 + 1, 10**12])
def test_more_tokens_than_any_answer_has_are_estimated_instead(told: int) -> None:
    decoder = LineDecoder()
    decoder.feed(SAYS + SAYS + DONE.replace(b'"eval_count":61', b'"eval_count":%d' % told))
    assert decoder.finish().usage == Usage(prompt_tokens=26, completion_tokens=2, estimated=True)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("length", FinishReason.LENGTH),
        ("load", FinishReason.LOAD),
        ("unload", FinishReason.UNLOAD),
        ("stop", FinishReason.STOP),
        ("something new", FinishReason.STOP),
    ],
)
def test_ollamas_reasons_have_the_cores_words(word: str, reason: FinishReason) -> None:
    decoder = LineDecoder()
    decoder.feed(b'{"done":true,"done_reason":"%s"}\n' % word.encode())
    assert decoder.finish() == Finished(reason)


def test_tool_calls_come_whole_with_ids_and_end_the_answer_as_such() -> None:
    decoder = LineDecoder(call_id_prefix="call_req1_")
    (delta,) = decoder.feed(CALLS)
    assert delta == Delta(
        tool_calls=(ToolCallDelta(0, "x1", "f", '{"b": 1.0}'), ToolCallDelta(1, "call_req1_1", "g", "{}"))
    )
    assert decoder.finish().reason is FinishReason.TOOL_CALLS


def test_tool_calls_of_several_lines_are_numbered_on() -> None:
    decoder = LineDecoder()
    line = b'{"message":{"tool_calls":[{"function":{"index":0,"name":"f","arguments":null}}]}}\n'
    deltas = [delta for delta in decoder.feed(line + line) if isinstance(delta, Delta)]
    assert [(call.index, call.id, call.arguments) for delta in deltas for call in delta.tool_calls] == [
        (0, "call_0", "{}"),
        (1, "call_1", "{}"),
    ]


def test_logprobs_come_with_the_likeliest_others() -> None:
    line = (
        b'{"message":{"content":"a"},"logprobs":[{"token":"a","logprob":-0.5,"bytes":[97],'
        b'"top_logprobs":[{"token":"b","logprob":-1}]}]}\n'
    )
    want = TokenLogprob("a", -0.5, (97,), (TokenLogprob("b", -1.0),))
    assert LineDecoder().feed(line) == [Delta(text="a", logprobs=(want,))]


def test_an_error_line_is_a_failure_with_the_backends_words() -> None:
    error = failure(b'{"error":"out of memory"}\n')
    assert "out of memory" in error.message
    assert error.detail == '{"error":"out of memory"}'


def test_what_came_before_a_failure_is_handed_out_first() -> None:
    decoder = LineDecoder()
    assert decoder.feed(SAYS + b'{"error":"x"}\n') == [Delta(text="hi ☺")]
    with pytest.raises(ProxyError, match="broke off: x"):
        decoder.feed(b"")
    with pytest.raises(ProxyError, match="broke off: x"):
        decoder.finish()


@pytest.mark.parametrize("line", [b"<html>\n", b"[]\n", b'{"response":"my secret\n'])
def test_a_stream_of_which_nothing_can_be_read_is_a_failure_and_is_not_quoted(line: bytes) -> None:
    decoder = LineDecoder()
    with pytest.raises(ProxyError, match=r"can(not)? be read") as caught:
        _ = [*decoder.feed(line), decoder.finish()]
    assert "secret" not in f"{caught.value.message}{caught.value.detail}"


def test_a_stream_without_its_last_line_broke_off() -> None:
    decoder = LineDecoder()
    decoder.feed(SAYS)
    with pytest.raises(ProxyError, match="before it was complete") as caught:
        decoder.finish()
    assert caught.value.kind is ErrorKind.UPSTREAM_FAILED


@given(st.lists(st.integers(0, len(THINKS + SAYS + DONE)), max_size=9))
def test_the_events_are_the_same_wherever_the_transport_cut(cuts: list[int]) -> None:
    stream = THINKS + SAYS + DONE
    edges = [0, *sorted(cuts), len(stream)]
    splitter, decoder = FrameSplitter(ndjson.ENDS), LineDecoder()
    events = [
        event for start, end in itertools.pairwise(edges) for event in decoder.feed(splitter.feed(stream[start:end]))
    ]
    assert [*events, decoder.finish()] == [
        Delta(thinking="hm"),
        Delta(text="hi ☺"),
        Finished(FinishReason.STOP, USAGE, TIMINGS),
    ]


def test_a_whole_answer_may_be_written_over_several_lines() -> None:
    body = b'{\n "response": "hi",\n "done": true,\n "eval_count": 2\n}'
    assert decode_answer(body) == [
        Delta(text="hi"),
        Finished(usage=Usage(completion_tokens=2)),
    ]


def test_a_whole_answer_that_is_not_done_is_a_failure() -> None:
    with pytest.raises(ProxyError, match="before it was complete"):
        decode_answer(b'{"response":"hi"}')


def test_vectors_come_in_the_order_of_the_texts() -> None:
    body = b'{"model":"m","embeddings":[[1,0.5],[2,-1e-3]],"total_duration":2000000000,"prompt_eval_count":4}'
    assert decode_vectors(body) == [
        Embedded(((1.0, 0.5), (2.0, -0.001))),
        Finished(usage=Usage(prompt_tokens=4), timings=Timings(total_s=2.0)),
    ]


@pytest.mark.parametrize("body", [b"{}", b'{"error":"x"}', b"[[1]]", b'{"embeddings":[["a"]]}'])
def test_an_answer_without_vectors_is_a_failure(body: bytes) -> None:
    with pytest.raises(ProxyError) as caught:
        decode_vectors(body)
    assert caught.value.kind is ErrorKind.UPSTREAM_FAILED


def test_the_end_of_a_passed_on_stream_is_read_from_its_last_block() -> None:
    ending = peek_usage(SAYS + DONE, 4)
    assert ending.finished == Finished(FinishReason.STOP, USAGE, TIMINGS)
    assert (ending.complete, ending.error) == (True, None)


def test_tokens_that_the_end_does_not_tell_are_estimated_from_the_lines() -> None:
    end = b'{"done":true,"done_reason":"length","prompt_eval_count":8}\n'
    ending, decoder = peek_usage(SAYS + end, 4), LineDecoder()
    decoder.feed(THINKS + SAYS + SAYS + end)
    assert ending.complete
    assert ending.finished == decoder.finish() == Finished(FinishReason.LENGTH, Usage(8, 3, estimated=True))


def test_the_tokens_of_an_answer_in_one_piece_are_not_estimated() -> None:
    body = b'{"message":{"content":"of many words"},"done":true,"prompt_eval_count":8}'
    assert decode_answer(body)[-1] == peek_answer(body).finished == Finished(usage=Usage(8))


def test_a_passed_on_stream_that_broke_off_is_not_complete() -> None:
    ending = peek_usage(SAYS, 3)
    assert not ending.complete
    assert ending.finished.usage == Usage(completion_tokens=2, estimated=True)


def test_a_passed_on_failure_is_not_complete_and_says_why() -> None:
    ending = peek_usage(SAYS + b'{"error":"out of memory"}\n', 2)
    assert not ending.complete
    assert ending.error is not None
    assert "out of memory" in ending.error.message


@given(st.binary(max_size=60), st.integers(0, 5))
def test_looking_at_the_end_never_raises(tail: bytes, frames: int) -> None:
    assert isinstance(peek_usage(tail, frames).complete, bool)
    assert isinstance(peek_answer(tail).complete, bool)


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (DONE, USAGE),
        (b'{"model":"m","embeddings":[[1]],"prompt_eval_count":2}', Usage(prompt_tokens=2)),
        (b'{"embedding":[1]}', Usage()),
        (b'{\n"response":"","done":true,"done_reason":"load"}', Usage()),
    ],
)
def test_a_passed_on_whole_answer_tells_what_it_knows(body: bytes, usage: Usage) -> None:
    ending = peek_answer(body)
    assert ending.complete
    assert ending.finished.usage == usage


def test_a_word_in_the_text_is_no_tool_call() -> None:
    said = b'{"message":{"content":"\\"tool_calls\\""},"done":true,"done_reason":"stop"}'
    assert peek_answer(said).finished.reason is FinishReason.STOP
    assert peek_answer(CALLS).finished.reason is FinishReason.TOOL_CALLS


@pytest.mark.parametrize("between", [b"\n", b"\r\n", b"\r", b"", b" ", b"\n\n", b","])
def test_a_stream_in_the_place_of_a_whole_answer_is_read_however_its_lines_end(between: bytes) -> None:
    words = (b'{"message":{"content":"Hel"},"done":false}', b'{\n"message":{"content":"lo"}\n}')
    body = between.join((*words, b'{"done":true}'))
    events = decode_answer(b"[" + body + b"]" if between == b"," else body)
    assert "".join(each.text for each in events if isinstance(each, Delta)) == "Hello"
