"""What both sides of an API can say is the same after it was written and read again."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.events import Delta, Event, Finished, FinishReason, ToolCallDelta, Usage
from ollama_proxyd.core.requests import (
    Api,
    Chat,
    Hints,
    JsonObject,
    JsonSchema,
    Message,
    Operation,
    Options,
    Request,
    Text,
    Tool,
    ToolCall,
)
from ollama_proxyd.dialects.anthropic.dialect import Anthropic
from ollama_proxyd.dialects.base import Dialect, Stamps
from ollama_proxyd.dialects.framing.gathering import joined
from ollama_proxyd.dialects.framing.numbers import MOST_TOKENS
from ollama_proxyd.dialects.ollama.dialect import Ollama
from ollama_proxyd.dialects.openai.responses.engine import NativeResponses
from ollama_proxyd.edges.backends.engines import engine_of

OLLAMA, OPENAI, ANTHROPIC = Ollama(), engine_of(Api.OPENAI, "llamacpp").speaks[0], Anthropic()
RESPONSES = NativeResponses()
STAMPS = Stamps(lambda: "id", lambda: 5, lambda: "2026-01-01T00:00:00Z", lambda: 7)
ASKED = {
    "model": "m",
    "stream": True,
    "messages": [{"role": "user", "content": "x"}],
    "input": "x",
    "stream_options": {"include_usage": True},
    "max_tokens": 9,
    "tools": [{"type": "function", "name": "f", "function": {"name": "f", "parameters": {"type": "object"}}}],
}
PATHS: dict[Dialect, str] = {
    OLLAMA: "/api/chat",
    OPENAI: "/v1/chat/completions",
    ANTHROPIC: "/v1/messages",
    RESPONSES: "/v1/responses",
}

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
ARGUMENTS = st.dictionaries(NAMES, WORDS | st.integers(-(2**53), 2**53) | st.booleans() | st.none(), max_size=3)
CALLS = st.lists(st.tuples(NAMES, ARGUMENTS), max_size=3)
COUNTS = st.integers(1, MOST_TOKENS)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0.01, 1),
        "max_tokens": st.integers(1, 2**20),
        "seed": st.integers(0, 2**31 - 1),
        "stop": st.lists(WORDS, min_size=1, max_size=3),
        "frequency_penalty": st.floats(-2, 2),
        "presence_penalty": st.floats(-2, 2),
    },
)
SCHEMAS = st.dictionaries(NAMES, WORDS | st.integers(-9, 9), max_size=3)


@st.composite
def chats(draw: st.DrawFn) -> Chat:
    """A conversation in words, with tools called and answered."""
    messages: list[Message] = []
    for _ in range(draw(st.integers(1, 4))):
        role = draw(st.sampled_from(["system", "user", "assistant"]))
        calls = draw(CALLS) if role == "assistant" else []
        text = draw(WORDS)
        called = tuple(ToolCall(name, json.dumps(given), f"c{at}") for at, (name, given) in enumerate(calls))
        messages.append(Message(role, (Text(text),), tool_calls=called))
        messages += [Message("tool", (Text(draw(WORDS)),), tool_call_id=call.id, name=call.name) for call in called]
    tools = tuple(Tool(name, "what it does", {"type": "object"}) for name in sorted(draw(st.sets(NAMES, max_size=2))))
    wanted = draw(st.none() | st.just(JsonObject()) | SCHEMAS.map(JsonSchema))
    return Chat(tuple(messages), tools, format=wanted, options=Options(draw(OPTIONS)))


def plain(chat: Chat) -> Any:
    """What a chat means: ids of calls are made by whoever lacks them, and a schema has a name in one API alone."""
    messages = [
        (
            each.role,
            "".join(part.text for part in each.parts or () if isinstance(part, Text)),
            [(call.name, json.loads(call.arguments)) for call in each.tool_calls],
        )
        for each in chat.messages
    ]
    tools = [(tool.name, tool.description, tool.parameters) for tool in chat.tools]
    wanted = chat.format.schema if isinstance(chat.format, JsonSchema) else chat.format
    return messages, tools, wanted, dict(chat.options.known)


def parsed(dialect: Dialect, body: bytes) -> Request:
    return dialect.calls[PATHS[dialect]](body, Hints())


@pytest.mark.parametrize("dialect", [OLLAMA, OPENAI], ids=["ollama", "openai"])
@given(chats())
def test_a_chat_that_is_translated_for_an_engine_asks_for_the_same(dialect: Dialect, chat: Chat) -> None:
    other = Api.OPENAI if dialect is OLLAMA else Api.OLLAMA
    request = Request(Operation.CHAT, other, "chat", "m", True, b"{}", lambda: chat)
    rendered = dialect.render(request, "m")
    assert rendered.ignored_fields == ()
    content = parsed(dialect, rendered.body).content()
    assert isinstance(content, Chat)
    assert plain(content) == plain(chat)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """An answer: first thoughts, then words, then calls of tools."""
    thoughts = [Delta(thinking=each) for each in draw(st.lists(WORDS, max_size=3))]
    said = [Delta(text=each) for each in draw(st.lists(WORDS, max_size=4))]
    calls = [ToolCallDelta(at, f"c{at}", name, json.dumps(given)) for at, (name, given) in enumerate(draw(CALLS))]
    called = [Delta(tool_calls=(call,)) for call in calls]
    reason = FinishReason.TOOL_CALLS if calls else draw(st.sampled_from([FinishReason.STOP, FinishReason.LENGTH]))
    return [*thoughts, *said, *called, Finished(reason, Usage(draw(COUNTS), draw(COUNTS)))]


def heard(events: Sequence[Event]) -> Any:
    whole, finished = joined(events), events[-1]
    assert isinstance(finished, Finished)
    calls = [(call.name, json.loads(call.arguments or "{}")) for call in whole.tool_calls]
    usage = finished.usage.prompt_tokens, finished.usage.completion_tokens
    return whole.text, whole.thinking, calls, finished.reason, usage


@pytest.mark.parametrize("dialect", PATHS, ids=["ollama", "openai", "anthropic", "responses"])
@given(answers())
def test_an_answer_that_is_written_is_read_as_the_same(dialect: Dialect, events: list[Event]) -> None:
    request = parsed(dialect, json.dumps(ASKED).encode())
    encoder = dialect.encoder(request, STAMPS, 0)
    stream = b"".join([encoder.encode(event) for event in events])
    decoder = dialect.decoder(request)
    read = decoder.feed(stream)
    assert heard([*read, decoder.finish()]) == heard(events)
    assert decoder.skipped_frames == 0
    request = replace(request, stream=False)
    whole = dialect.encoder(request, STAMPS, 0).whole(events)
    assert heard(dialect.decode_answer(request, whole)) == heard(events)
