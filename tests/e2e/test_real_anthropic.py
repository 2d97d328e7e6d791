"""Anthropic's own client, as it is published, against the daemon in front of real engines: passed on and translated."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from tests.e2e.harness import Daemon, Fleet
from tests.e2e.tiny_model import HELLO, REPLY, REPLY_TOKENS, THINK, WEATHER_TOOL

pytestmark = pytest.mark.real
TOOL = {"name": "get_weather", "input_schema": WEATHER_TOOL["function"]["parameters"]}
COLD = {"temperature": 0}
WAYS = pytest.mark.parametrize("more", [COLD, {**COLD, "output_config": {}}], ids=["passed on", "translated"])
"""llama-server does not read the configuration of the output, so a request with one is translated."""


@pytest.fixture(scope="module")
def library() -> Any:
    return import_module("anthropic")


@pytest.fixture
def client(daemon: Daemon, library: Any) -> Iterator[Any]:
    with library.Anthropic(base_url=daemon.url, api_key="none", max_retries=0) as client:
        yield client


@WAYS
def test_it_chats(client: Any, more: dict[str, Any]) -> None:
    answer = client.messages.create(model="calm", max_tokens=200, messages=HELLO, extra_body=more)
    assert [block.text for block in answer.content] == [REPLY]
    assert (answer.stop_reason, answer.usage.output_tokens) == ("end_turn", REPLY_TOKENS)
    assert answer._request_id


@WAYS
def test_it_streams_thoughts_and_words(client: Any, more: dict[str, Any]) -> None:
    with client.messages.stream(model="tiny", max_tokens=200, messages=HELLO, extra_body=more) as stream:
        said = "".join(stream.text_stream)
        answer = stream.get_final_message()
    assert (said, answer.content[0].thinking, answer.content[1].text) == (REPLY, THINK, REPLY)


def test_thinking_is_off_where_it_is_disabled(client: Any) -> None:
    off = {"type": "disabled"}
    answer = client.messages.create(model="tiny", max_tokens=200, messages=HELLO, thinking=off, extra_body=COLD)
    assert [block.type for block in answer.content] == ["text"]


@WAYS
@pytest.mark.parametrize("stream", [True, False])
def test_a_tool_is_called_and_its_answer_taken(client: Any, more: dict[str, Any], stream: bool) -> None:
    ask = {"model": "calm", "max_tokens": 300, "tools": [TOOL], "extra_body": more}
    forced = {**ask, "messages": HELLO, "tool_choice": {"type": "tool", "name": "get_weather"}}
    if stream:
        with client.messages.stream(**forced) as events:
            called = events.get_final_message()
    else:
        called = client.messages.create(**forced)
    (call,) = (block for block in called.content if block.type == "tool_use")
    assert called.stop_reason == "tool_use"
    assert call.input["city"] in {"Paris", "Oslo"}
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "rain"}]}
    turns = [*HELLO, {"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    assert client.messages.create(**ask, messages=turns).content


def test_it_counts_tokens_and_lists_models(client: Any, library: Any) -> None:
    counted = client.messages.with_raw_response.count_tokens(model="calm", messages=HELLO)
    assert counted.headers["X-Token-Count"] == "counted"
    assert counted.parse().input_tokens > 1
    assert {model.id for model in client.models.list(limit=1)} == {"calm", "tiny", "tinyembed"}
    assert client.models.retrieve("calm").display_name == "calm"
    with pytest.raises(library.NotFoundError):
        client.models.retrieve("nope")


def test_it_raises_its_own_errors(client: Any, library: Any) -> None:
    with pytest.raises(library.NotFoundError, match="nope") as missing:
        client.messages.create(model="nope", max_tokens=5, messages=HELLO)
    assert missing.value.body["error"]["type"] == "not_found_error"
    assert missing.value.request_id == missing.value.body["request_id"]
    with pytest.raises(library.BadRequestError, match="X-Priority"):
        client.messages.create(model="calm", max_tokens=5, messages=HELLO, extra_headers={"X-Priority": "urgent"})


WHOLE: dict[str, dict[str, Any]] = {
    "words and thoughts": {"max_tokens": 200},
    "words that the limit cuts": {"max_tokens": 20},
    "words that stop": {"max_tokens": 200, "stop_sequences": ["proxies"]},
    "words that the client began": {
        "max_tokens": 200,
        "messages": [*HELLO, {"role": "assistant", "content": "Hello! I am"}],
    },
    "a call": {"max_tokens": 300, "tools": [TOOL], "tool_choice": {"type": "any"}},
    "a call that the limit cuts": {"max_tokens": 40, "tools": [TOOL], "tool_choice": {"type": "any"}},
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_whole_message_is_just_what_the_engine_itself_would_have_written(
    case: str, daemon: Daemon, fleet: Fleet
) -> None:
    body = {"model": "tiny", "messages": HELLO, **COLD, **WHOLE[case]}
    direct, proxied = (each.post("/v1/messages", body).json() for each in (fleet.tiny, daemon))
    if direct["stop_sequence"] is not None:  # which it calls the end of a turn
        direct["stop_reason"] = "stop_sequence"
    for answer in (direct, proxied):
        assert answer.pop("id")
        usage = answer["usage"]
        usage["input_tokens"] += usage.pop("cache_read_input_tokens")
        for block in answer["content"]:
            assert block.pop("id", "call")
    assert proxied == direct
