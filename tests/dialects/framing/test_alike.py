"""Frames that differ from one that was read in their words alone are told apart from all others without being read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.dialects.anthropic import passing as anthropic
from ollama_proxyd.dialects.framing.alike import Alike
from ollama_proxyd.dialects.framing.passing import Form
from ollama_proxyd.dialects.ollama import passing as ollama
from ollama_proxyd.dialects.openai import passing as openai

CHUNK = {"id": "c", "created": 1, "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": None}]}
CHAT, TEXT, LINE, EVENT = openai.CHUNKS, openai.TEXTS, ollama.FORMS["chat"], anthropic.EVENTS


def chunk(words: str, **other: Any) -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", "content": words}, "finish_reason": None}
    return b"data: %b\n\n" % json.dumps({**CHUNK, "choices": [choice], **other}, separators=(",", ":")).encode()


def thought(words: str) -> bytes:
    choice = {"index": 0, "delta": {"content": None, "reasoning_content": words}}
    return b"data: %b\n\n" % json.dumps({**CHUNK, "choices": [choice]}).encode()


def text(words: str) -> bytes:
    return b"data: %b\n\n" % json.dumps({**CHUNK, "choices": [{"index": 0, "text": words}]}).encode()


def line(words: str) -> bytes:
    told = {"model": "m", "created_at": f"2026-11-30T10:00:00.{len(words):09}Z", "done": False}
    return json.dumps({**told, "message": {"role": "assistant", "content": words}}).encode() + b"\n"


def event(words: str) -> bytes:
    told = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": words}}
    return b"event: content_block_delta\ndata: %b\n\n" % json.dumps(told).encode()


KINDS = [(CHAT, chunk), (CHAT, thought), (TEXT, text), (LINE, line), (EVENT, event)]
EACH = pytest.mark.parametrize(("form", "said"), KINDS, ids=["chat", "thought", "text", "line", "event"])
FIRST = "first words"


def learned(frame: bytes) -> Alike:
    alike = Alike()
    alike.learn(frame, frame)
    return alike


@EACH
@given(words=st.text())
def test_a_frame_with_any_other_words_is_like_the_first_one(form: Form, said: Any, words: str) -> None:
    assert form.plain_frames(said(FIRST)) == 1
    assert learned(said(FIRST)).passed(said(words)) == said(words)


@EACH
@given(words=st.text())
def test_the_words_of_a_frame_are_told_where_it_has_no_others(form: Form, said: Any, words: str) -> None:
    assert learned(said(FIRST)).words(said(words)) == ("" if form is LINE else words)


@EACH
@given(words=st.text())
def test_it_goes_on_under_the_name_that_the_first_one_got(form: Form, said: Any, words: str) -> None:
    alike = Alike()
    alike.learn(said(FIRST), said(FIRST).replace(b'"m"', b'"a longer name"').replace(b"index", b"number"))
    assert alike.passed(said(words)) == said(words).replace(b'"m"', b'"a longer name"').replace(b"index", b"number")


def test_a_name_within_the_words_of_a_frame_has_each_read() -> None:
    frame = b'{"created_at":"now","model":"m","message":{"content":"hi"}}\n'
    alike = Alike()
    alike.learn(frame, frame.replace(b'"m"', b'"n"'))
    assert not alike.passed(frame)


@EACH
@given(data=st.data())
def test_what_is_like_a_plain_frame_is_one_whatever_stands_in_the_place_of_words(
    form: Form, said: Any, data: st.DataObject
) -> None:
    odd = st.one_of(st.binary(max_size=8), st.sampled_from([b'"', b"\\", b"\r", b"\n", b"\\u12", b'","', b"}\n\n"]))
    before, _, after = said(FIRST).partition(FIRST.encode())
    frame = before + data.draw(odd) + data.draw(odd) + after
    if learned(said(FIRST)).passed(frame):
        assert form.plain_frames(frame) == 1


@pytest.mark.parametrize(
    "other",
    [
        chunk("more", usage={"completion_tokens": 2}),
        chunk("more") * 2,
        chunk("more")[:-1],
        chunk("more") + b": comment\n\n",
        chunk("more").replace(b"null", b'"stop"'),
        chunk("more").replace(b'"more"', b"null"),
        chunk("more").replace(b'"more"', b'"more","tool_calls":[]'),
        chunk("").replace(b'""', b'"'),
    ],
)
def test_a_frame_that_differs_in_more_than_words_is_read(other: bytes) -> None:
    assert not learned(chunk(FIRST)).passed(other)


def test_nothing_is_like_a_frame_without_words_or_one_that_is_forgotten() -> None:
    assert not learned(chunk("")).passed(chunk(""))
    alike = learned(chunk(FIRST))
    alike.forget()
    assert not alike.passed(chunk(FIRST))


def test_frames_that_never_repeat_are_soon_learned_no_more() -> None:
    alike = Alike()
    for number in range(100):
        alike.learn(frame := chunk(FIRST, created=number), frame)
    assert not alike.passed(chunk(FIRST, created=99))


def test_frames_that_repeat_now_and_then_are_learned_again_and_again() -> None:
    alike = Alike()
    for number in range(100):
        alike.learn(frame := chunk(FIRST, created=number), frame)
        assert alike.passed(chunk("second", created=number))
