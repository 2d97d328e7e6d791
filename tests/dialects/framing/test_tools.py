"""Whether a request has tools is seen without reading them; those that an engine does not know are left out."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.requests import Hints, Request
from ollama_proxyd.dialects.anthropic.parse import parse_message as anthropic
from ollama_proxyd.dialects.framing.tools import holds_tools
from ollama_proxyd.dialects.ollama.dialect import Ollama
from ollama_proxyd.dialects.ollama.parse import parse_chat as ollama
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.dialects.openai.parse import parse_chat as openai

TOOL = b'{"type":"function","function":{"name":"f"}}'


@pytest.mark.parametrize("tools", [b"null", b"[]", b"[ ]", b"[\n]"])
def test_nothing_is_no_tool(tools: bytes) -> None:
    assert not holds_tools(msgspec.Raw(tools))


@pytest.mark.parametrize("parse", [ollama, openai])
def test_both_dialects_say_that_a_chat_needs_tools(parse) -> None:  # type: ignore[no-untyped-def]
    def chat(tools: bytes) -> bytes:
        return b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools":%s}' % tools

    assert parse(chat(b"[%s]" % TOOL), Hints()).needs_tools
    assert not parse(chat(b"[]"), Hints()).needs_tools


CUSTOM = {"type": "custom", "custom": {"name": "sh", "description": "runs"}}
FUNCTION = {"type": "function", "function": {"name": "f"}}
OWN = {"type": "web_search_20250305", "name": "web_search"}
FOREIGN = [
    (openai, {"tools": [CUSTOM, FUNCTION, {"type": "web_search"}]}, ("tools[0]", "tools[2]")),
    (ollama, {"tools": [CUSTOM, FUNCTION]}, ("tools[0]",)),
    (anthropic, {"max_tokens": 5, "tools": [OWN, {"name": "f", "input_schema": {}}]}, ("tools[0]",)),
]


@pytest.mark.parametrize(("parse", "fields", "left_out"), FOREIGN)
def test_tools_that_the_engine_does_not_know_are_left_out_and_told(
    parse: Callable[[bytes, Hints], Request], fields: dict[str, Any], left_out: tuple[str, ...]
) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}
    for dialect in (Ollama(), OpenAI()):
        asked = parse(json.dumps(body).encode(), Hints())
        if dialect.api is asked.api:
            continue  # passes as it is
        rendered = dialect.render(asked, "m")
        assert "tools[" not in rendered.body.decode()
        assert set(left_out) <= set(rendered.ignored_fields)
        assert [tool["function"]["name"] for tool in json.loads(rendered.body)["tools"]] == ["f"]


@pytest.mark.parametrize(
    ("parse", "fields"),
    [
        (openai, {"tools": [CUSTOM], "tool_choice": "required"}),
        (openai, {"tools": [CUSTOM, FUNCTION], "tool_choice": {"type": "custom", "custom": {"name": "sh"}}}),
        (anthropic, {"max_tokens": 5, "tools": [OWN], "tool_choice": {"type": "any"}}),
    ],
)
def test_where_such_a_tool_must_be_called_the_answer_would_be_wrong(
    parse: Callable[[bytes, Hints], Request], fields: dict[str, Any]
) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}
    with pytest.raises(ProxyError, match="tool_choice"):
        Ollama().render(parse(json.dumps(body).encode(), Hints()), "m")


def test_what_such_a_tool_was_called_with_stays_in_the_conversation() -> None:
    call = {"id": "x", "type": "custom", "custom": {"name": "sh", "input": "ls"}}
    messages = [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "x", "content": "a"}]
    asked = openai(json.dumps({"model": "m", "messages": messages, "tools": [CUSTOM]}).encode(), Hints())
    told = json.loads(Ollama().render(asked, "m").body)["messages"][0]["tool_calls"][0]["function"]
    assert told == {"name": "sh", "arguments": {"input": "ls"}}
