"""A stream whose frames are told apart unread passes as if each was read."""

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Event, Finished
from ollama_proxyd.dialects.framing.alike import Alike
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.edges.backends.pass_through import PassThrough
from tests.edges.backends.test_exchange import openai_request
from tests.upstreams.frames import OPENAI_FRAMES

ASKED = openai_request(stream=True)
CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '"'}}


def frame(delta: Any, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: %b\n\n" % json.dumps({"id": "x", "created": 1, "model": "m", "choices": [choice], **more}).encode()


FRAMES = [
    *(frame({"content": words}) for words in ("one", "two", "a\nb", '"stop"', "[DONE]", "a_call", "ü")),
    frame({"content": "last"}, "stop"),
    frame({"content": "more"}, usage={"completion_tokens": 3}),
    frame({"tool_calls": [CALL]}),
    frame({"content": "no"}, error="out of memory"),
    frame({}, "stop"),
    frame({"content": 5}),
    b'data: {"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":9}}\n\n',
    b": comment\n\n",
    b"data: [DONE]\n\n",
]
WORDS = st.sampled_from(FRAMES[:7])
BLOCKS = st.lists(st.lists(WORDS, max_size=9) | st.lists(st.sampled_from(FRAMES), max_size=3)).map(
    lambda lists: [OPENAI_FRAMES[0], *(each for one in lists for each in one)]
)

AFTER_THE_END = [OPENAI_FRAMES[0], *FRAMES[:2], FRAMES[-1], FRAMES[1]]
AFTER_AN_ERROR = [OPENAI_FRAMES[0], *FRAMES[:2], FRAMES[10], FRAMES[1]]


def passed(blocks: list[bytes], name: str | None = None) -> tuple[bytes, Finished | str]:
    """What reaches the client, and how the answer ends."""
    reader, sent = PassThrough(OpenAI(), ASKED, name, "the backend"), b""
    try:
        for block in blocks:
            if told := reader.passed(block):
                sent += told
            else:
                sent += b"".join(each.frame or b"" for each in reader.feed(block))
        return sent, reader.finish()
    except ProxyError as error:
        return sent, error.message


@pytest.mark.parametrize("name", [None, "alias"])
@given(blocks=BLOCKS)
@example(blocks=AFTER_THE_END)
@example(blocks=AFTER_AN_ERROR)
def test_words_errors_calls_ends_and_counts_are_those_of_frames_that_are_read(
    blocks: list[bytes], name: str | None
) -> None:
    found = passed(blocks, name)
    with patch.object(Alike, "passed", return_value=b""):
        assert found == passed(blocks, name)


def decoded(blocks: list[bytes]) -> tuple[list[Event], Finished | str]:
    """What a client of another API is told, and how the answer ends."""
    decoder, told = OpenAI().decoder(ASKED), list[Event]()
    try:
        for block in blocks:
            told += decoder.feed(block)
        return told, decoder.finish()
    except ProxyError as error:
        return told, error.message


@given(blocks=BLOCKS)
@example(blocks=AFTER_THE_END)
@example(blocks=AFTER_AN_ERROR)
def test_what_is_told_in_other_words_is_what_frames_say_that_are_read(blocks: list[bytes]) -> None:
    found = decoded(blocks)
    with patch.object(Alike, "words", return_value=""):
        assert found == decoded(blocks)


def test_frames_that_are_alike_are_counted_as_tokens_where_the_engine_tells_no_usage() -> None:
    _, finished = passed([OPENAI_FRAMES[0], *FRAMES[:3] * 20, FRAMES[11], b"data: [DONE]\n\n"])
    assert isinstance(finished, Finished)
    assert finished.usage.completion_tokens == 61
