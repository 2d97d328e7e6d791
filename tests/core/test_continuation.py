"""What a client has of an answer, and whether another backend can go on exactly from there."""

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.continuation import (
    MOST_PACKED_BYTES,
    MOST_PLAIN_BYTES,
    Failover,
    Held,
    Obstacle,
    Transcript,
    are_same_weights,
    obstacle,
    with_former,
)
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Event, Finished, FinishReason, Timings, ToolCallDelta, Usage
from ollama_proxyd.core.fleet import BackendView, Model
from ollama_proxyd.core.requests import (
    Api,
    Chat,
    Completion,
    Content,
    Embedding,
    JsonObject,
    Message,
    Operation,
    Options,
    Request,
    ToolChoice,
    ToolMode,
)
from ollama_proxyd.core.spoken import Spoken
from tests.fakes import RESUME, spec_of

ASKED = Chat((Message("user", ()),))
WORDS = Spoken("Hel", tokens=1)
ECHO = Options({"echo": True})


def read(block: bytes) -> Sequence[Event]:
    """Each frame is a word."""
    return [Delta(text=word.decode()) for word in block.split(b"|") if word]


def asked(content: Content | ProxyError = ASKED, **changes: Any) -> Request:
    def whole() -> Content:
        if isinstance(content, ProxyError):
            raise content
        return content

    resume = {"resume": RESUME}
    facts = {"operation": Operation.CHAT, "api": Api.OPENAI, "endpoint": "chat", "model": "tiny", "stream": True}
    return Request(**{**facts, "body": b"{}", "content": whole, **resume, **changes})


def test_words_and_thoughts_are_kept_in_their_order() -> None:
    transcript = Transcript()
    for delta in (Delta(thinking="Let "), Delta(thinking="me"), Delta(text="He"), Delta(text="llo")):
        transcript.add(delta)
    assert transcript.spoken() == Spoken("Hello", "Let me", 5)


def test_the_mark_that_ends_thoughts_is_a_token_unless_the_engine_told_of_it() -> None:
    for told, tokens in ((1, 3), (2, 3)):
        transcript = Transcript()
        transcript.add(Delta(thinking="hm"))
        transcript.add(Delta(text="He", tokens=told))
        assert transcript.tokens() == tokens
    transcript.add(Delta(text="llo"))
    assert transcript.tokens() == tokens + 1


def test_frames_are_read_by_the_engines_own_reader_and_words_follow_them() -> None:
    transcript = Transcript()
    transcript.read_by(read)
    transcript.add(Delta(frame=b"He|"))
    transcript.add(Delta(frame=b"l|l|"))
    transcript.read_by(None)
    transcript.add(Delta(text="o"))
    assert transcript.spoken() == Spoken("Hello", tokens=4, passed=True)


def test_frames_of_an_answer_that_does_not_break_are_never_read() -> None:
    blocks: list[bytes] = []

    def note(block: bytes) -> Sequence[Event]:
        blocks.append(block)
        return [Delta(text=block[:1].decode())]

    transcript = Transcript()
    transcript.read_by(note)
    letters = "abcdefghijkl"
    for each in letters:
        transcript.add(Delta(frame=each.encode() * (MOST_PLAIN_BYTES + 1)))
    transcript.add(Delta(frame=b"m"))
    assert not blocks
    assert transcript.spoken() == Spoken(letters + "m", tokens=13, passed=True)
    assert list(map(len, blocks)) == [MOST_PLAIN_BYTES + 1] * 12 + [1]
    assert transcript.tokens() == 13, "none is read twice"


def test_frames_wait_in_a_small_part_of_their_size_since_many_answers_do_so_at_once() -> None:
    """Of all its bytes a quarter lies in memory at most, with all that holds it and what else the process allocates."""
    begin = 'data: {"id":"chatcmpl-7QyqpwdfhqwajicIEznoc6Q47XAyW","delta":'
    frames = [f'{begin}{{"content":" {n}"}}}}\n\n' for n in range(3000)]
    transcript, most_bytes = Transcript(), 0
    transcript.read_by(lambda _: ())
    tracemalloc.start()
    try:
        for each in frames:
            transcript.add_frame(each.encode())
            most_bytes = max(most_bytes, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert most_bytes < sum(map(len, frames)) / 4


def test_of_a_very_long_answer_the_first_frames_are_read_so_that_few_wait_for_that() -> None:
    read_bytes = 0

    def weigh(block: bytes) -> Sequence[Event]:
        nonlocal read_bytes
        read_bytes += len(block)
        return ()

    transcript, frame, added_bytes = Transcript(), b"x" * 1000, 0
    transcript.read_by(weigh)
    while added_bytes < 3 * MOST_PACKED_BYTES:
        transcript.add(Delta(frame=frame))
        added_bytes += len(frame)
        assert added_bytes - read_bytes <= MOST_PACKED_BYTES + MOST_PLAIN_BYTES + len(frame)
    transcript.spoken()
    assert read_bytes == added_bytes


def test_the_tokens_of_many_frames_are_reckoned_from_the_first_since_many_clients_may_leave_at_once() -> None:
    blocks: list[bytes] = []

    def note(block: bytes) -> Sequence[Event]:
        blocks.append(block)
        return [Delta(text="x")] * block.count(b"|")

    transcript = Transcript()
    transcript.read_by(note)
    for _ in range(500):
        transcript.add(Delta(frame=b"x" * 99 + b"|"))
    assert transcript.tokens() == pytest.approx(500, abs=1)
    assert transcript.tokens() == pytest.approx(500, abs=1)
    assert len(blocks) == 1
    assert transcript.spoken() == Spoken("x" * 500, tokens=500, passed=True)


def test_what_cannot_be_read_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_block: bytes) -> Sequence[Event]:
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, "of another form")

    for reader in (refuse, None):
        transcript = Transcript()
        transcript.read_by(reader)
        transcript.add(Delta(frame=b"?"))
        assert transcript.spoken() is None
    monkeypatch.setattr("ollama_proxyd.core.continuation.MOST_CHARACTERS", 3)
    transcript = Transcript()
    transcript.add(Delta(text="long"))
    assert transcript.spoken() is None


@pytest.mark.parametrize(
    ("request_", "spoken", "failover", "why"),
    [
        (asked(), WORDS, Failover.SAME_MODEL, None),
        (asked(), WORDS, Failover.ANY_CANDIDATE, None),
        (asked(), WORDS, Failover.NEVER, Obstacle.SWITCHED_OFF),
        (asked(), None, Failover.SAME_MODEL, Obstacle.UNREADABLE),
        (asked(), replace(WORDS, has_calls=True), Failover.SAME_MODEL, Obstacle.TOOL_CALL),
        (asked(calls_come_whole=True), replace(WORDS, has_calls=True), Failover.SAME_MODEL, None),
        (asked(resume=RESUME._replace(only_own=True)), WORDS, Failover.SAME_MODEL, Obstacle.FIELDS),
        (asked(resume=RESUME._replace(only_own=True)), replace(WORDS, passed=True), Failover.SAME_MODEL, None),
        (asked(resume=None), WORDS, Failover.SAME_MODEL, Obstacle.FIELDS),
        (asked(ProxyError(ErrorKind.UNSUPPORTED, "a grammar")), WORDS, Failover.SAME_MODEL, Obstacle.FIELDS),
        (asked(replace(ASKED, logprobs=True)), WORDS, Failover.SAME_MODEL, Obstacle.LOGPROBS),
        (asked(replace(ASKED, format=JsonObject())), WORDS, Failover.SAME_MODEL, Obstacle.FORMAT),
        (
            asked(replace(ASKED, tool_choice=ToolChoice(ToolMode.REQUIRED))),
            WORDS,
            Failover.SAME_MODEL,
            Obstacle.FORMAT,
        ),
        (asked(replace(ASKED, tool_choice=ToolChoice(ToolMode.AUTO))), WORDS, Failover.SAME_MODEL, None),
        (asked(replace(ASKED, options=Options({"n": 2}))), WORDS, Failover.SAME_MODEL, Obstacle.SEVERAL),
        (asked(replace(ASKED, options=Options({"n": 1}))), WORDS, Failover.SAME_MODEL, None),
        (asked(Chat((Message("assistant", ()),))), WORDS, Failover.SAME_MODEL, Obstacle.FIELDS),
        (asked(Completion("hi", raw=True)), WORDS, Failover.SAME_MODEL, None),
        (asked(Completion("hi", raw=True, suffix="x")), WORDS, Failover.SAME_MODEL, Obstacle.FIELDS),
        (asked(Completion("hi", raw=False, template="x")), WORDS, Failover.SAME_MODEL, Obstacle.FIELDS),
        (
            asked(Completion("hi", raw=True, options=Options({"echo": True}))),
            WORDS,
            Failover.SAME_MODEL,
            Obstacle.FIELDS,
        ),
        (asked(Embedding(("a",), single=True)), WORDS, Failover.SAME_MODEL, Obstacle.FIELDS),
    ],
)
def test_an_answer_goes_on_only_where_it_can_exactly(
    request_: Request, spoken: Spoken | None, failover: Failover, why: Obstacle | None
) -> None:
    assert obstacle(request_, spoken, failover) is why


def test_a_called_tool_is_seen() -> None:
    transcript = Transcript()
    transcript.add(Delta(tool_calls=(ToolCallDelta(0, "a", "f"),)))
    spoken = transcript.spoken()
    assert spoken is not None
    assert spoken.has_calls


@pytest.mark.parametrize(
    ("ours", "theirs", "same_engine", "alike"),
    [
        (Model("m"), Model("m"), True, True),
        (Model("m", digest="a"), Model("m", digest="b"), True, False),
        (Model("m", digest="a"), Model("m"), True, True),
        (Model("m", quantization="Q8_0"), Model("m", quantization="q8_0"), False, True),
        (Model("m", quantization="Q8_0"), Model("m", quantization="Q4_K_M"), False, False),
        (Model("m", size_bytes=1), Model("m", size_bytes=2), True, False),
        (Model("m", size_bytes=1), Model("m", size_bytes=2), False, True),
    ],
)
def test_weights_are_other_ones_where_digest_or_quantisation_differ(
    ours: Model, theirs: Model, same_engine: bool, alike: bool
) -> None:
    one = BackendView(spec_of("npu", Api.OLLAMA))
    other = one if same_engine else BackendView(spec_of("igpu", Api.OPENAI))
    assert are_same_weights(Held(one, ours), Held(other, theirs)) is alike


def test_the_end_speaks_of_the_whole_answer() -> None:
    told = Finished(FinishReason.STOP, Usage(30, 20), Timings(prompt_s=0.1, decode_s=2.0))
    end = with_former(told, Spoken("x", tokens=7), Timings(prompt_s=0.5, decode_s=1.0))
    assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (23, 27)
    assert end.timings == Timings(prompt_s=0.5, decode_s=3.0)


def test_tokens_are_what_the_engine_told_of_each_piece() -> None:
    transcript = Transcript()
    for tokens in (1, 3, 2):
        transcript.add(Delta(text="x", tokens=tokens))
    spoken = transcript.spoken()
    assert spoken is not None
    assert (spoken.tokens, transcript.tokens()) == (6, 6)
