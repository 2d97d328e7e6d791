"""A stream of llama-server's becomes the whole answer that it would have written, where its pieces are just that."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.requests import Hints, Request
from ollama_proxyd.dialects.framing.limits import MOST_ANSWERS
from ollama_proxyd.dialects.openai.joining import Joiner
from ollama_proxyd.dialects.openai.parse import parse_chat, parse_completion
from ollama_proxyd.dialects.openai.passing import CHAT as CHAT_FORM
from ollama_proxyd.dialects.openai.quirks import Quirks
from ollama_proxyd.dialects.openai.render import render

HEAD = {"created": 1795933726, "id": "chatcmpl-7Vf", "model": "tiny", "system_fingerprint": "b11669-Debian"}
COUNTS: dict[str, Any] = {
    "usage": {
        "completion_tokens": 3,
        "prompt_tokens": 25,
        "total_tokens": 28,
        "prompt_tokens_details": {"cached_tokens": 24},
    },
    "timings": {"cache_n": 24, "prompt_n": 1, "prompt_ms": 0.248, "predicted_n": 3, "predicted_ms": 2.011},
}
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "stream": False, "temperature": 0}
JOINS = Quirks(joins=True)


def chunk(delta: dict[str, Any] | None, reason: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"finish_reason": reason, "index": 0, "delta": delta}]
    return (
        b"data: %s\n\n" % json.dumps({"choices": choices, **HEAD, "object": "chat.completion.chunk", **more}).encode()
    )


STREAM = (
    chunk({"role": "assistant", "content": None}),
    chunk({"reasoning_content": "Let"}),
    chunk({"reasoning_content": " me"}),
    chunk({"content": 'Grüß "usage"'}),
    chunk({"content": " Gott"}),
    chunk({}, "length"),
    chunk(None, **COUNTS),
    b"data: [DONE]\n\n",
)


def asked(**fields: Any) -> Request:
    return parse_chat(json.dumps({**CHAT, **fields}).encode(), Hints())


def joined(name: str | None = None, *frames: bytes) -> Any:
    joiner = Joiner(name, "asked")
    for frame in frames or STREAM:
        joiner.feed(frame)
    joiner.finish()
    return json.loads(joiner.closing)


def test_every_field_is_that_of_the_whole_answer() -> None:
    message = {"role": "assistant", "content": 'Grüß "usage" Gott', "reasoning_content": "Let me"}
    choice = {"finish_reason": "length", "index": 0, "message": message}
    assert joined() == {"choices": [choice], **HEAD, "object": "chat.completion", **COUNTS}
    assert joined("nick")["model"] == "nick"


def test_without_thinking_there_is_no_field_for_it_and_without_words_an_empty_content() -> None:
    frames = STREAM[0], *STREAM[5:]
    assert joined(None, *frames)["choices"][0]["message"] == {"role": "assistant", "content": ""}


@pytest.mark.parametrize("name", [b"null", b"7", b"{}"])
def test_where_the_engine_does_not_name_the_model_it_is_called_as_it_was_asked(name: bytes) -> None:
    model = re.search(rb'"model":\s?("[^"]*")', STREAM[0])
    assert model is not None
    frames = tuple(frame.replace(model[1], name) for frame in STREAM)
    assert joined(None, *frames)["model"] == "asked"


def test_control_characters_in_a_chunk_cost_no_answer() -> None:
    raw = b'data: {"choices":[{"index":0,"delta":{"content":"a\x01b"}}]}\n\n'
    assert joined(None, raw, *STREAM[-3:])["choices"][0]["message"]["content"] == "a\x01b"


@pytest.mark.parametrize("odd", [{"error": {}}, {"error": ""}, {"id": 7}, {"created": "soon"}, {"usage": "few"}])
def test_odd_fields_of_a_chunk_are_no_more_in_the_answer_than_in_one_that_passes(odd: dict[str, Any]) -> None:
    frames = chunk({"content": "Hello"}, **odd), chunk({}, "stop", **odd), STREAM[-1]
    answer = joined(None, *frames)
    assert answer["choices"][0]["message"]["content"] == "Hello"
    assert CHAT_FORM.is_strict(json.dumps(answer).encode())
    assert "error" not in answer


@pytest.mark.parametrize("kept", range(len(STREAM) - 2))
def test_one_that_breaks_off_is_no_answer(kept: int) -> None:
    with pytest.raises(ProxyError):
        joined(None, *(STREAM[:kept] or (b": nothing\n\n",)))


def test_a_whole_chat_is_asked_for_as_a_stream_under_the_engines_name_of_the_model() -> None:
    rendered = render(asked(seed=1), "gguf", quirks=JOINS)
    assert isinstance(rendered.joiner and rendered.joiner(None), Joiner)
    wanted = {**CHAT, "seed": 1, "model": "gguf", "stream": True, "stream_options": {"include_usage": True}}
    assert json.loads(rendered.body) == wanted


def text(index: int, words: str, reason: str | None = None, **more: Any) -> bytes:
    choice = {"text": words, "index": index, "logprobs": None, "finish_reason": reason}
    return b"data: %s\n\n" % json.dumps({"choices": [choice], **HEAD, "object": "text_completion", **more}).encode()


def calling(index: int, **function: Any) -> bytes:
    call = {"index": index, "function": function}
    begun = {"id": f"call-{index}", "type": "function"} if "name" in function else {}
    return chunk({"tool_calls": [{**call, **begun}]})


def test_the_pieces_of_calls_make_up_the_calls() -> None:
    frames = calling(0, name="f", arguments="{"), calling(0, arguments='"a":1}'), calling(1, name="g", arguments="{}")
    answer = joined(None, STREAM[0], *frames, chunk({}, "tool_calls"), *STREAM[-2:])
    made = [
        {"type": "function", "function": {"name": "f", "arguments": '{"a":1}'}, "id": "call-0"},
        {"type": "function", "function": {"name": "g", "arguments": "{}"}, "id": "call-1"},
    ]
    message = {"role": "assistant", "content": "", "tool_calls": made}
    assert answer["choices"] == [{"finish_reason": "tool_calls", "index": 0, "message": message}]


SEVERAL = (text(1, "b"), text(0, "a"), text(1, "", "length", usage={"completion_tokens": 9}), text(0, "c"))
FIRST = text(0, "", "stop", **COUNTS)


def test_each_of_several_texts_has_its_own_words_and_the_counts_are_the_firsts() -> None:
    joiner = Joiner(None, "asked", 2, is_chat=False)
    joiner.feed(b"".join((*SEVERAL, FIRST, b"data: [DONE]\n\n")))
    joiner.finish()
    choices = [
        {"text": "ac", "index": 0, "logprobs": None, "finish_reason": "stop"},
        {"text": "b", "index": 1, "logprobs": None, "finish_reason": "length"},
    ]
    assert json.loads(joiner.closing) == {"choices": choices, **HEAD, "object": "text_completion", **COUNTS}


@pytest.mark.parametrize("frames", [(SEVERAL[1], FIRST), (text(1, "b"), FIRST)], ids=["no word of it", "no end of it"])
def test_several_answers_of_which_one_breaks_off_are_none(frames: tuple[bytes, ...]) -> None:
    joiner = Joiner(None, "asked", 2, is_chat=False)
    joiner.feed(b"".join(frames))
    with pytest.raises(ProxyError):
        joiner.finish()


def test_more_answers_than_anybody_asks_for_are_no_answer_but_a_failure() -> None:
    joiner = Joiner(None, "asked", 2, is_chat=False)
    joiner.feed(b"".join(text(at, "a") for at in range(MOST_ANSWERS)))
    with pytest.raises(ProxyError, match="answers at once"):
        joiner.feed(text(MOST_ANSWERS, "a") + text(MOST_ANSWERS + 1, "a"))


TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
BEGUN = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "I"}]
OWN_FORMS: dict[str, dict[str, Any]] = {
    "a stream": {"stream": True},
    "log probabilities": {"logprobs": True},
    "the engine's own": {"timings_per_token": True},
    "words that only the whole repeats": {"messages": BEGUN},
}
SAME_FORMS: dict[str, dict[str, Any]] = {
    "tools": {"tools": TOOLS},
    "several answers": {"n": 2},
    "no log probabilities": {"logprobs": False, "top_logprobs": None},
    "a field that is not known": {"new": 1},
}


@pytest.mark.parametrize("case", OWN_FORMS)
def test_what_a_stream_says_otherwise_is_asked_for_as_the_client_asked(case: str) -> None:
    request = asked(**OWN_FORMS[case])
    rendered = render(request, "tiny", quirks=JOINS)
    assert (rendered.joiner, rendered.body) == (None, request.body)


@pytest.mark.parametrize("case", SAME_FORMS)
def test_every_other_whole_answer_is_asked_for_as_a_stream(case: str) -> None:
    rendered = render(asked(**SAME_FORMS[case]), "tiny", quirks=JOINS)
    assert rendered.joiner is not None
    assert SAME_FORMS[case].items() <= json.loads(rendered.body).items()


COUNTED: dict[str, tuple[dict[str, Any], int]] = {
    "a text": ({"prompt": "Hi"}, 1),
    "two texts": ({"prompt": ["Hi", "you"]}, 2),
    "the tokens of one": ({"prompt": [1, 2, 3]}, 1),
    "tokens and text of one": ({"prompt": [1, "Hi"]}, 1),
    "the tokens of two, twice": ({"prompt": [[1, 2], [3]], "n": 2}, 4),
    "no number": ({"prompt": "Hi", "n": None}, 1),
}


@pytest.mark.parametrize("case", COUNTED)
def test_a_completion_has_as_many_answers_as_it_asks_for(case: str) -> None:
    fields, count = COUNTED[case]
    request = parse_completion(json.dumps({"model": "tiny", **fields}).encode(), Hints())
    make_joiner = render(request, "tiny", quirks=JOINS).joiner
    assert make_joiner is not None
    joiner = make_joiner(None)
    frames = [text(index, "a", "stop") for index in range(count)]
    for frame in frames[:-1]:
        joiner.feed(frame)
    with pytest.raises(ProxyError):
        joiner.finish()
    joiner.feed(frames[-1])
    joiner.finish()
    assert len(json.loads(joiner.closing)["choices"]) == count


def test_another_engine_is_asked_for_the_whole() -> None:
    assert render(replace(asked()), "tiny").joiner is None
