"""An answer that was paid for is not thrown away for one frame: what can be read of it survives what cannot."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Delta, Event, Finished, FinishReason
from ollama_proxyd.core.requests import Api
from ollama_proxyd.dialects.anthropic.decode import EventDecoder
from ollama_proxyd.dialects.base import BlockDecoder
from ollama_proxyd.dialects.framing.lenient import without_half_letters
from ollama_proxyd.dialects.ollama.decode import LineDecoder
from ollama_proxyd.dialects.ollama.decode import decode_answer as decode_ollama
from ollama_proxyd.dialects.openai.decode import ChunkDecoder
from ollama_proxyd.dialects.openai.decode import decode_answer as decode_openai
from tests.any_json import ANY_JSON

WORDS = ("one ", "two ", "three ", "four ")
DECODERS: dict[Api, Callable[[], BlockDecoder]] = {
    Api.OPENAI: ChunkDecoder,
    Api.OLLAMA: LineDecoder,
    Api.ANTHROPIC: EventDecoder,
}
MARKS = ("message_stop", "error")
"""Types of Anthropic's events that end an answer."""
END = {Api.OPENAI: b"data: [DONE]\n\n", Api.OLLAMA: b"", Api.ANTHROPIC: b'data: {"type":"message_stop"}\n\n'}
ALL = pytest.mark.parametrize("api", list(DECODERS))
BOTH = pytest.mark.parametrize("api", [Api.OPENAI, Api.OLLAMA])


def openai_frame(text: str, **choice: Any) -> dict[str, Any]:
    token = {"token": text, "logprob": -0.5, "bytes": [1], "top_logprobs": [{"token": "x", "logprob": -1.0}]}
    delta = {"role": "assistant", "content": text, "reasoning_content": None, "tool_calls": None, "function_call": None}
    whole = {"index": 0, "delta": delta, "finish_reason": None, "logprobs": {"content": [token]}, **choice}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 0}}
    clock = {"prompt_n": 1, "prompt_ms": 1.0, "predicted_n": 1, "predicted_ms": 1.0, "cache_n": 0}
    return {"id": "x", "object": "chunk", "choices": [whole], "usage": usage, "timings": clock, "error": None}


def ollama_frame(text: str, **line: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "thinking": None, "tool_calls": None}
    token = {"token": text, "logprob": -0.5, "bytes": [1], "top_logprobs": None}
    counts = {"eval_count": 1, "eval_duration": 1, "total_duration": 1, "prompt_eval_count": 1, "load_duration": 1}
    return {"model": "m", "message": message, "done": False, "logprobs": [token], **counts, "error": None, **line}


def anthropic_frame(text: str) -> dict[str, Any]:
    delta = {"type": "text_delta", "text": text, "thinking": None, "partial_json": None}
    return {"type": "content_block_delta", "index": 0, "delta": delta, "usage": {"output_tokens": 1}, "error": None}


def good(api: Api) -> list[dict[str, Any]]:
    if api is Api.ANTHROPIC:
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}}
        return [*map(anthropic_frame, WORDS), end]
    if api is Api.OPENAI:
        return [*map(openai_frame, WORDS), openai_frame("", finish_reason="stop")]
    return [*map(ollama_frame, WORDS), ollama_frame("", done=True, done_reason="stop")]


def framed(api: Api, frames: list[Any]) -> bytes:
    payloads = [frame if isinstance(frame, bytes) else json.dumps(frame).encode() for frame in frames]
    if api is Api.OLLAMA:
        return b"".join(payload + b"\n" for payload in payloads)
    return b"".join(b"data: " + payload + b"\n\n" for payload in payloads) + END[api]


def told(api: Api, stream: bytes) -> list[Event]:
    decoder = DECODERS[api]()
    return [*decoder.feed(stream), decoder.finish()]


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every member of a value, at any depth."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield (*path, key)
        yield from places(member, (*path, key))


def put(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


def matters(path: tuple[Any, ...]) -> bool:
    """Whether a member decides that its frame is an error, or which of several answers it belongs to."""
    return path[-1] in {"error", "object", "done"} or (path[-1] == "index" and "choices" in path)


@ALL
@given(st.data())
def test_any_field_of_any_type_costs_at_most_its_own_frames_text(api: Api, data: st.DataObject) -> None:
    frames = good(api)
    at = data.draw(st.integers(0, len(WORDS) - 1))
    path = data.draw(st.sampled_from([each for each in places(frames[at]) if not matters(each)]))
    odd = data.draw(ANY_JSON.filter(lambda value: value not in MARKS))
    assume('"error"' not in json.dumps(odd))  # an answer that reports one has failed, wherever it stands
    put(frames[at], path, odd)
    events = told(api, framed(api, frames))
    got = text(events)
    before, after = "".join(WORDS[:at]), "".join(WORDS[at + 1 :])
    assert got.startswith(before)
    assert got.endswith(after)
    if not {*path} & {"content", "text"} and not {path[-1]} & {"choices", "message", "delta", 0, "type"}:
        assert got == "".join(WORDS)
    assert isinstance(events[-1], Finished)


@ALL
@given(st.integers(0, len(WORDS) - 1), st.binary(max_size=30), st.data())
def test_any_corrupted_frame_costs_at_most_its_own_text_or_ends_the_answer_before_it(
    api: Api, at: int, noise: bytes, data: st.DataObject
) -> None:
    frames: list[Any] = good(api)
    whole = json.dumps(frames[at]).encode()
    begin, end = sorted(data.draw(st.lists(st.integers(0, len(whole)), min_size=2, max_size=2)))
    frames[at] = (whole[:begin] + noise.replace(b"\n", b"").replace(b"\r", b"") + whole[end:]).replace(b'"done', b'"x')
    if b"message_stop" in frames[at] or b'"type":"error' in frames[at]:
        return  # no noise: they end an answer
    decoder = DECODERS[api]()
    got = text(decoder.feed(framed(api, [*good(api)[:1], *frames]))).removeprefix(WORDS[0])
    before, after = "".join(WORDS[:at]), "".join(WORDS[at + 1 :])
    assert got.startswith(before)
    try:
        decoder.finish()
    except ProxyError:
        assert len(got) <= len(before) + len(WORDS[at])
    else:
        assert got.endswith(after)


@ALL
@pytest.mark.parametrize("cut", [1, 4, 9, 30, -1, -8, -30])
def test_a_torn_frame_costs_its_own_words_alone_and_is_counted(api: Api, cut: int) -> None:
    for at in range(1, len(WORDS)):
        frames: list[Any] = good(api)
        decoder = DECODERS[api]()
        frames[at] = json.dumps(frames[at]).encode()[:cut]
        assert text(decoder.feed(framed(api, frames))) == "".join((*WORDS[:at], *WORDS[at + 1 :]))
        assert isinstance(decoder.finish(), Finished)
        assert decoder.skipped_frames == 1


@ALL
def test_a_stream_that_ends_with_a_torn_frame_broke_off(api: Api) -> None:
    frames: list[Any] = good(api)
    decoder = DECODERS[api]()
    decoder.feed(framed(api, [*frames[:2], json.dumps(frames[2]).encode()[:-8]]).removesuffix(END[api]))
    with pytest.raises(ProxyError, match="before it was complete"):
        decoder.finish()


@ALL
@pytest.mark.parametrize(
    "noise", [b"<html>", b"oops", b"{oops", b"null", b"[1,2]", b"17", b'"x"', b"\xff\xfe", b": ping"]
)
def test_what_was_never_a_frame_is_skipped_and_counted(api: Api, noise: bytes) -> None:
    decoder = DECODERS[api]()
    frames: list[Any] = good(api)
    assert text(decoder.feed(framed(api, [*frames[:2], noise, *frames[2:]]))) == "".join(WORDS)
    assert isinstance(decoder.finish(), Finished)
    assert decoder.skipped_frames == (noise != b": ping" or api is Api.OLLAMA)


@ALL
@pytest.mark.parametrize("before", [b"data: ", b"data:", b"", b" ", b"\xef\xbb\xbf"])
def test_a_frame_with_or_without_the_name_that_events_have_is_read(api: Api, before: bytes) -> None:
    frames = good(api)
    payload = before + json.dumps(frames[1]).encode()
    odd = payload + (b"\n" if api is Api.OLLAMA else b"\n\n")
    decoder = DECODERS[api]()
    events = decoder.feed(framed(api, frames[:1]).removesuffix(END[api]) + odd + framed(api, frames[2:]))
    assert text(events) == "".join(WORDS)
    assert isinstance(decoder.finish(), Finished)
    assert decoder.skipped_frames == 0


ODD = {
    "half a letter": lambda frame: frame.replace(b"two", b"two\\ud83d"),
    "the other half": lambda frame: frame.replace(b"two", b"two\\uDE00"),
    "half a letter in bytes": lambda frame: frame.replace(b"two", b"two\xed\xa0\xbd"),
    "not UTF-8": lambda frame: frame.replace(b"two", b"two\xff"),
    "a control character": lambda frame: frame.replace(b"two", b"two\x01"),
    "NaN": lambda frame: frame.replace(b"-0.5", b"NaN"),
    "infinity": lambda frame: frame.replace(b"-0.5", b"-Infinity"),
    "beyond double": lambda frame: frame.replace(b"-0.5", b"-1e999"),
    "a million digits": lambda frame: frame.replace(b"-0.5", b"9" * 1_000_000),
    "unasked NaN": lambda frame: frame[:-1] + b', "x": NaN}',
    "no error": lambda frame: frame.replace(b'"error": null', b'"error": ""'),
    "false error": lambda frame: frame.replace(b'"error": null', b'"error": false'),
    "empty error": lambda frame: frame.replace(b'"error": null', b'"error": {"message": "", "code": null}'),
}


@BOTH
@pytest.mark.parametrize("kind", ODD)
def test_what_others_read_is_read_here(api: Api, kind: str) -> None:
    frames: list[Any] = good(api)
    frames[1] = ODD[kind](json.dumps(frames[1]).encode())
    got = text(told(api, framed(api, frames)))
    assert got.replace("\ufffd", "").replace("\x01", "") == "".join(WORDS)
    assert len(got) <= len("".join(WORDS)) + 3


@BOTH
@pytest.mark.parametrize(
    ("content", "said", "thought"),
    [
        ([{"type": "text", "text": "two "}], "two ", ""),
        (
            [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "two "}],
            "two ",
            "hm",
        ),
        ([{"type": "reasoning", "text": "hm"}, "two "], "two ", "hm"),
        ([{"type": "output_text", "text": "tw"}, {"type": "output_text", "text": "o "}], "two ", ""),
        ({"type": "text", "text": "two "}, "two ", ""),
        ([{"type": "new", "x": 1}, None, 5, {"type": "text", "text": None}], "", ""),
        ([[[[[[["deep"]]]]]]], "", ""),
    ],
)
def test_content_in_parts_is_read_as_text_and_thinking(api: Api, content: Any, said: str, thought: str) -> None:
    frames = good(api)
    put(frames[1], ("choices", 0, "delta", "content") if api is Api.OPENAI else ("message", "content"), content)
    events = told(api, framed(api, frames))
    assert text(events) == WORDS[0] + said + "".join(WORDS[2:])
    assert "".join(event.thinking for event in events if isinstance(event, Delta)) == thought


@BOTH
def test_skipped_frames_are_counted(api: Api) -> None:
    decoder = DECODERS[api]()
    decoder.feed(framed(api, [b"{oops", *good(api)[:2], b"[1]", b"null", *good(api)[2:]]))
    assert decoder.skipped_frames == 3
    assert decoder.finish().reason is FinishReason.STOP


@BOTH
def test_a_stream_in_the_place_of_a_whole_answer_is_one(api: Api) -> None:
    body = framed(api, [b"{oops", *good(api)][api is Api.OLLAMA :])
    events = decode_openai(body) if api is Api.OPENAI else decode_ollama(body)
    assert text(events) == "".join(WORDS)


@ALL
@given(ANY_JSON)
def test_whatever_an_error_holds_it_is_shown_in_one_bounded_line(api: Api, error: Any) -> None:
    for said in (
        ["x", error],
        {"message": error, "code": 5},
        {"error": {"message": "\x1b[2J" + "x" * 5000, "more": error}},
    ):
        decoder = DECODERS[api]()
        assert text(list(decoder.feed(framed(api, [good(api)[0], {"error": said}])))) == WORDS[0]
        with pytest.raises(ProxyError) as caught:
            decoder.finish()
        assert caught.value.message.isprintable()
        assert len(caught.value.message) < 600
        assert "\x1b" not in str(json.loads(caught.value.detail or "{}"))


EVENT_STREAMS = (
    b"data:\n\n",
    b"data: : keepalive\n\n",
    b"data: \n\n",
    b": ping\n\n",
    b"event: ping\ndata: {}\n\n",
    b"retry: 5\nid: 7\n\n",
    b"data: # comment\n\n",
)


@pytest.mark.parametrize("between", EVENT_STREAMS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("done", [b"data: [DONE]", b"data: [DONE] ", b"data:[DONE]", b" data : [DONE]\t", b""])
def test_keepalives_line_ends_and_marks_in_any_form_are_read(between: bytes, end: bytes, done: bytes) -> None:
    frames = [b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in good(Api.OPENAI)]
    stream = between + between.join(frames) + between + done + b"\n\n"
    assert text(told(Api.OPENAI, stream.replace(b"\n", end))) == "".join(WORDS)


def test_events_without_blank_lines_between_them_are_read() -> None:
    frames = b"".join(b"data: " + json.dumps(frame).encode() + b"\n" for frame in good(Api.OPENAI))
    assert text(told(Api.OPENAI, frames + b"data: [DONE]\n")) == "".join(WORDS)


@pytest.mark.parametrize(
    "last",
    [
        b'event: error\ndata: {"message": "CUDA out of memory"}\n\n',
        b'event: error\ndata: {"error": {"message": "CUDA out of memory"}}\n\n',
        b"event: error\ndata: CUDA out of memory\n\n",
        b'error: {"code": 500, "message": "CUDA out of memory"}\n\n',
        b"error: CUDA out of memory\n\n",
        b'event: exception\ndata: {"message": "CUDA out of memory"}\n\n',
        b"event: Generation_Failed\ndata: CUDA out of memory\n\n",
        b'event: response.failed\ndata: {"response": {"error": {"message": "CUDA out of memory"}}}\n\n',
        b'data: {"type": "response.failed", "response": {"error": {"message": "CUDA out of memory"}}}\n\n',
        b'data: {"type": "exception", "message": "CUDA out of memory"}\n\n',
        b'data: {"exception": "CUDA out of memory"}\n\n',
        b'data: {"status": "FAILED", "detail": "CUDA out of memory"}\n\n',
        b'data: {"error": "CUDA out of memory"}\n\n',
        b'data: {"error": {"error": {"detail": "CUDA out of memory"}}}\n\n',
        b'data: {"object": "error", "message": "CUDA out of memory", "code": 500}\n\n',
    ],
)
def test_an_engines_words_are_read_whichever_way_it_reports_an_error(last: bytes) -> None:
    decoder = ChunkDecoder()
    decoder.feed(b"data: " + json.dumps(good(Api.OPENAI)[0]).encode() + b"\n\n" + last)
    with pytest.raises(ProxyError, match="CUDA out of memory"):
        decoder.finish()


@given(st.text(st.characters(exclude_categories=())))
def test_half_a_letter_becomes_one_replacement_and_nothing_else_changes(given: str) -> None:
    whole = "".join(
        "\ufffd" if "\ud800" <= each <= "\udfff" else each
        for each in given.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    )
    written = json.dumps({"text": given, "back": "\\" + given}).encode()
    assert json.loads(without_half_letters(written)) == {"text": whole, "back": "\\" + whole}
    assert without_half_letters(json.dumps(whole).encode()) == json.dumps(whole).encode()
