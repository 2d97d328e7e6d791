"""What Anthropic's clients ask for, in the core's words and in those of the other APIs."""

import json
from typing import Any

import pytest

from ollama_proxyd.core.continuation import Failover, obstacle, resumed
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import (
    Api,
    Chat,
    Hints,
    Image,
    JsonSchema,
    Message,
    Request,
    Text,
    ToolChoice,
    ToolMode,
)
from ollama_proxyd.core.spoken import Spoken
from ollama_proxyd.dialects.anthropic.parse import parse_message
from ollama_proxyd.dialects.base import Dialect
from ollama_proxyd.dialects.ollama.dialect import Ollama
from ollama_proxyd.dialects.openai.dialect import OpenAI

HELLO = [{"role": "user", "content": "hello"}]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
BY_ADDRESS = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
A_PATH = {"type": "image", "source": {"type": "url", "url": "/etc/passwd"}}
TOOL = {"name": "weather", "description": "It.", "input_schema": {"type": "object"}}
TURNS = [
    *HELLO,
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "let me see"},
            {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}},
        ],
    },
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "t1",
                "is_error": True,
                "content": [{"type": "text", "text": "rain"}, IMAGE],
            },
            {"type": "text", "text": "so?"},
        ],
    },
]


def asked(**fields: Any) -> Request:
    body = {"model": "tiny", "max_tokens": 9, "messages": HELLO, **fields}
    return parse_message(json.dumps(body).encode(), Hints())


def chat(**fields: Any) -> Chat:
    content = asked(**fields).content()
    assert isinstance(content, Chat)
    return content


def sent(dialect: Dialect, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    rendered = dialect.render(asked(**fields), "own")
    return json.loads(rendered.body), rendered.ignored_fields


def test_routing_is_told_the_limit_the_tools_and_the_images_at_once() -> None:
    request = asked(stream=True, tools=[TOOL], messages=[{"role": "user", "content": [IMAGE, BY_ADDRESS]}])
    assert (request.api, request.stream, request.max_tokens) == (Api.ANTHROPIC, True, 9)
    assert (request.needs_tools, request.needs_vision, request.has_image_urls) == (True, True, True)
    assert asked(messages=TURNS).needs_vision, "an image in a tool's answer is one"
    assert not asked().needs_vision


def test_a_conversation_keeps_its_turns_and_the_answers_of_tools_are_their_own() -> None:
    messages = chat(system=[{"type": "text", "text": "be kind"}], messages=TURNS).messages
    assert [each.role for each in messages] == ["system", "user", "assistant", "tool", "user"]
    assert messages[0].parts == (Text("be kind"),)
    said, answer, person = messages[2:]
    assert (said.thinking, said.parts) == ("hm", (Text("let me see"),))
    assert [(call.name, json.loads(call.arguments), call.id) for call in said.tool_calls] == [
        ("weather", {"city": "Oslo"}, "t1")
    ]
    assert answer == Message("tool", (Text("rain"),), tool_call_id="t1", name="weather")
    assert person.parts == (Image(PIXEL, "image/png"), Text("so?")), "other APIs let no tool answer with an image"


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        ({"type": "auto"}, ToolChoice(ToolMode.AUTO)),
        ({"type": "any"}, ToolChoice(ToolMode.REQUIRED)),
        ({"type": "none"}, ToolChoice(ToolMode.NONE)),
        ({"type": "tool", "name": "weather"}, ToolChoice(ToolMode.REQUIRED, "weather")),
    ],
)
def test_each_choice_of_tools_has_its_meaning(choice: dict[str, Any], meant: ToolChoice) -> None:
    assert chat(tools=[TOOL], tool_choice=choice).tool_choice == meant


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        ({"thinking": {"type": "adaptive"}}, True),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, "low"),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, False),
        ({"output_config": {"effort": "xhigh"}}, "max"),
    ],
)
def test_thinking_is_on_off_or_of_an_effort(fields: dict[str, Any], meant: Any) -> None:
    assert chat(**fields).think == meant


def test_settings_reach_engines_under_their_names_and_what_they_lack_is_told() -> None:
    settings = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 7,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "me"},
        "service_tier": "auto",
        "cache_control": {"type": "ephemeral"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "tools": [TOOL],
    }
    body, ignored = sent(OpenAI(), messages=TURNS, **settings)
    expected = {"temperature": 0.5, "top_p": 0.9, "top_k": 7, "stop": ["END"], "user": "me", "max_tokens": 9}
    assert body.items() >= {**expected, "parallel_tool_calls": False, "stream": True}.items()
    lost = {"thinking.budget_tokens", "messages.content.is_error", "messages.content.redacted_thinking"}
    assert set(ignored) == {"service_tier", *lost}
    body, ignored = sent(Ollama(), messages=TURNS, **settings)
    options = {"temperature": 0.5, "top_p": 0.9, "top_k": 7, "stop": ["END"], "num_predict": 9}
    assert (body["options"], body["think"]) == (options, True)
    assert set(ignored) == {"service_tier", "metadata.user_id", *lost}


def test_the_form_of_an_answer_is_a_schema_by_either_name() -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    for fields in ({"output_format": form}, {"output_config": {"format": form}}):
        assert chat(**fields).format == JsonSchema({"type": "object"})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        (
            {"messages": [{"role": "user", "content": [A_PATH]}]},
            None,
        ),
    ],
)
def test_what_cannot_be_routed_is_refused_at_once(fields: dict[str, Any], param: str | None) -> None:
    with pytest.raises(ProxyError) as caught:
        asked(**fields)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert param in {caught.value.param, None}


DEEP = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_result", "content": []}]}


@pytest.mark.parametrize(
    "block",
    [
        A_PATH,
        {"type": "image", "source": {"type": "url", "url": "http://localhost/secret"}},
        {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
        {"type": "document", "source": {"type": "content", "content": [BY_ADDRESS]}},
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {"type": "image", "source": {"type": "base64", "url": "file:///etc/passwd"}},
        {"type": "tool_result", "tool_use_id": "t", "content": [A_PATH]},
        DEEP,
    ],
)
def test_nothing_that_an_engine_might_fetch_reaches_one(block: dict[str, Any]) -> None:
    with pytest.raises(ProxyError):
        asked(messages=[{"role": "user", "content": [block]}])


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"messages": [{"role": "robot", "content": "x"}]}, ErrorKind.INVALID_REQUEST),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, ErrorKind.INVALID_REQUEST),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, ErrorKind.INVALID_REQUEST),
        ({"thinking": {"type": "deep"}}, ErrorKind.INVALID_REQUEST),
        ({"tool_choice": {"type": "tool"}}, ErrorKind.INVALID_REQUEST),
        ({"output_config": {"effort": "huge"}}, ErrorKind.INVALID_REQUEST),
        ({"messages": [{"role": "user", "content": [{"type": "search_result"}]}]}, ErrorKind.UNSUPPORTED),
        ({"messages": [{"role": "user", "content": [BY_ADDRESS]}]}, ErrorKind.UNSUPPORTED),
        ({"mcp_servers": [{"url": "https://x"}]}, ErrorKind.UNSUPPORTED),
    ],
)
def test_what_no_other_api_can_say_is_refused_by_name(fields: dict[str, Any], kind: ErrorKind) -> None:
    with pytest.raises(ProxyError) as caught:
        asked(**fields).content()
    assert caught.value.kind is kind


def test_a_begun_answer_goes_on_as_the_last_message_with_what_is_left_of_the_limit() -> None:
    spoken = Spoken("Hel", "hm", tokens=4)
    request = asked(stream=True)
    assert obstacle(request, spoken, Failover.SAME_MODEL) is None
    rest = resumed(request, spoken)
    content = rest.content()
    assert isinstance(content, Chat)
    assert content.messages[-1] == Message("assistant", (Text("Hel"),), thinking="hm")
    assert (content.options.known["max_tokens"], rest.max_tokens) == (5, 5)


def test_what_anthropics_own_tools_did_in_earlier_turns_ends_no_conversation() -> None:
    blocks = [
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"type": "web_search_result", "url": "u"}]},
        {"type": "mcp_tool_use", "id": "m1", "name": "n", "server_name": "s", "input": {}},
        {"type": "mcp_tool_result", "tool_use_id": "m1", "content": [{"type": "text", "text": "r"}]},
        {"type": "text", "text": "found"},
    ]
    body, ignored = sent(OpenAI(), messages=[*HELLO, {"role": "assistant", "content": blocks}, *HELLO])
    assert [each["content"] for each in body["messages"]] == ["hello", "found", "hello"]
    names = ("server_tool_use", "web_search_tool_result", "mcp_tool_use", "mcp_tool_result")
    assert set(ignored) == {f"messages.content.{name}" for name in names}


@pytest.mark.parametrize(
    "told",
    [
        {"type": "web_search_tool_result", "content": {"type": "web_search_tool_result_error", "error_code": "x"}},
        {"type": "bash_code_execution_tool_result", "content": {"type": "bash_code_execution_result", "content": []}},
        {"type": "web_fetch_tool_result", "content": {"content": {"type": "document", "source": {"type": "text"}}}},
    ],
)
def test_what_such_a_tool_returned_may_be_an_object(told: dict[str, Any]) -> None:
    blocks = [{**told, "tool_use_id": "s1"}, {"type": "text", "text": "found"}]
    body, ignored = sent(OpenAI(), messages=[*HELLO, {"role": "assistant", "content": blocks}, *HELLO])
    assert [each["content"] for each in body["messages"]] == ["hello", "found", "hello"]
    assert set(ignored) == {f"messages.content.{told['type']}"}


def test_the_answer_of_a_tool_of_the_client_is_no_object() -> None:
    turns = [
        *TURNS[:2],
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": {"a": 1}}]},
    ]
    with pytest.raises(ProxyError, match="content must be a string or an array"):
        sent(OpenAI(), messages=turns)


def test_a_tool_that_a_search_for_tools_found_is_told_by_its_name() -> None:
    found = [{"type": "tool_reference", "tool_name": "WebFetch"}, {"type": "text", "text": "loaded"}]
    turns = [*TURNS[:2], {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": found}]}]
    body, _ = sent(OpenAI(), messages=turns)
    assert body["messages"][-1]["content"] == "WebFetch\nloaded"
