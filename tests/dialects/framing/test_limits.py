"""A request may be large, but not so intricate that reading it keeps everybody else waiting."""

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Hints, Request
from ollama_proxyd.dialects.framing.limits import MOST_ESCAPES, MOST_MESSAGES, MOST_VALUES, check_messages, check_values
from ollama_proxyd.dialects.ollama.models import parse_show
from ollama_proxyd.dialects.ollama.parse import parse_chat as ollama_chat
from ollama_proxyd.dialects.ollama.parse import parse_embed, parse_generate
from ollama_proxyd.dialects.openai.parse import parse_chat as openai_chat
from ollama_proxyd.dialects.openai.parse import parse_completion, parse_embedding

PARSERS = [openai_chat, parse_completion, parse_embedding, ollama_chat, parse_generate, parse_embed]
BOMBS = {
    "lists": b'{"model":"tiny","options":{"x":[' + b"[]," * MOST_VALUES + b"1]}}",
    "objects": b'{"model":"tiny","messages":[' + b'{"role":"user"},' * MOST_VALUES + b'{"role":"user"}]}',
    "nests": b'{"model":"tiny","think":[' + (b"[" * 500 + b"]" * 500 + b",") * (MOST_VALUES // 500) + b"1]}",
    "keys": b"{" + b",".join(b'"%x":1' % number for number in range(MOST_VALUES + 1)) + b"}",
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__module__)
def test_a_request_of_too_many_values_is_refused_unread(parse, bomb: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ProxyError, match=f"more than {MOST_VALUES}") as caught:
        parse(BOMBS[bomb], Hints())
    assert caught.value.kind is ErrorKind.TOO_LARGE


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__module__)
def test_a_request_of_too_many_escapes_is_refused_unread(parse) -> None:  # type: ignore[no-untyped-def]
    for escape in (b"\\n", b"\\u00e9", b'\\"'):
        with pytest.raises(ProxyError, match=f"more than {MOST_ESCAPES} escapes") as caught:
            parse(b'{"model":"tiny","x":"' + escape * (MOST_ESCAPES + 1) + b'"}', Hints())
        assert caught.value.kind is ErrorKind.TOO_LARGE
    check_values(b'{"x":"' + b"\\n" * (MOST_ESCAPES - 1) + b'"}')


def test_a_question_about_a_model_has_the_same_limit() -> None:
    with pytest.raises(ProxyError, match=f"more than {MOST_VALUES}"):
        parse_show(BOMBS["lists"])


def test_a_large_text_or_picture_is_no_matter() -> None:
    check_values(b'{"prompt":"' + b"a word, " * (MOST_VALUES // 2) + b'"}')
    check_values(b'{"images":["' + b"QUJD" * MOST_VALUES + b'"]}')
    check_values(b"," * MOST_VALUES)


@pytest.mark.parametrize("parse", [openai_chat, ollama_chat], ids=lambda parse: parse.__module__)
def test_a_conversation_has_a_most_of_messages(parse) -> None:  # type: ignore[no-untyped-def]
    def conversation(messages: int) -> Request:
        turns = ",".join(['{"role":"user","content":"x"}'] * messages)
        return parse(b'{"model":"tiny","messages":[' + turns.encode() + b"]}", Hints())  # type: ignore[no-any-return]

    conversation(MOST_MESSAGES)
    with pytest.raises(ProxyError, match=f"more than {MOST_MESSAGES}") as caught:
        conversation(MOST_MESSAGES + 1)
    assert (caught.value.kind, caught.value.param) == (ErrorKind.INVALID_REQUEST, "messages")


def test_no_messages_are_not_too_many() -> None:
    check_messages(None)
    check_messages([])
