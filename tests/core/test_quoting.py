"""What is logged and shown of an engine's error has none of the conversation in it."""

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.quoting import MOST_LOGGED, unquoted
from ollama_proxyd.core.requests import Api, Chat, Message, Operation, Request, Text

PROMPT = "my account number is 4711 and nobody else may know of it"
REQUEST = Request(
    operation=Operation.CHAT,
    api=Api.OPENAI,
    endpoint="chat/completions",
    model="m",
    stream=False,
    body=b"{}",
    content=lambda: Chat((Message("user", (Text(PROMPT),)),)),
)


def cause_of(words: str) -> str:
    cause = unquoted(ProxyError(ErrorKind.UPSTREAM_FAILED, words), REQUEST).cause
    assert cause is not None
    return cause


def test_an_engines_words_are_the_cause_and_the_conversation_is_not() -> None:
    assert cause_of(f"answered 500: cannot template {PROMPT!r} at all") == "answered 500: cannot template '…' at all"


def test_the_cause_is_one_printable_line_of_a_bounded_length() -> None:
    assert cause_of("out of\r\nmemory\x1b[2J\x9b\u202e!") == "out of memory [2J !"
    assert len(cause_of("x " * 5000)) <= MOST_LOGGED
