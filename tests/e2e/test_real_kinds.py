"""Engines of every kind: one of which only the API is known, one that is found, and an Ollama behind the daemon."""

import json
from typing import Any

import pytest

from tests.e2e.harness import (
    Daemon,
    Fleet,
    Reply,
    StartDaemon,
    StartLlama,
    backend,
    config_of,
    wait_until,
)
from tests.e2e.tiny_model import HELLO, REPLY, REPLY_TOKENS, SCHEMA, THINK, THINK_TOKENS, WEATHER_TOOL
from tests.free_ports import free_port

pytestmark = pytest.mark.real


@pytest.fixture(scope="session")
def chained(daemon: Daemon, session_daemons: StartDaemon) -> Daemon:
    """A daemon whose only backend is an Ollama: the first daemon, which speaks like one."""
    return session_daemons(config_of(backend("ollama", daemon.url, kind="ollama"))).ready("calm", "tiny", "tinyembed")


def ask_openai(chained: Daemon, model: str = "calm", **fields: Any) -> Reply:
    return chained.post("/v1/chat/completions", {"model": model, "messages": HELLO, "temperature": 0, **fields})


def message_of(reply: Reply) -> dict[str, Any]:
    assert reply.status == 200, reply.body
    message: dict[str, Any] = reply.json()["choices"][0]["message"]
    return message


def test_an_openai_client_gets_an_ollamas_words_and_counts(chained: Daemon) -> None:
    reply = ask_openai(chained)
    assert message_of(reply)["content"] == REPLY
    assert reply.json()["usage"]["completion_tokens"] == REPLY_TOKENS
    assert reply.headers["x-backend-used"] == "ollama"


def test_an_openai_client_streams_from_an_ollama(chained: Daemon) -> None:
    events = ask_openai(chained, stream=True, stream_options={"include_usage": True}).events()
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == REPLY
    assert events[-1]["usage"]["completion_tokens"] == REPLY_TOKENS
    assert [c["finish_reason"] for e in events for c in e["choices"] if c["finish_reason"]] == ["stop"]


def test_an_openai_client_sees_an_ollamas_thoughts_apart(chained: Daemon) -> None:
    reply = ask_openai(chained, model="tiny")
    message = message_of(reply)
    assert THINK in {message.get("reasoning"), message.get("reasoning_content")}
    assert message["content"] == REPLY
    assert reply.json()["usage"]["completion_tokens"] == THINK_TOKENS + REPLY_TOKENS
    assert message_of(ask_openai(chained, model="tiny", reasoning_effort="none"))["content"] == REPLY


def test_an_openai_client_calls_tools_through_an_ollama(chained: Daemon) -> None:
    reply = ask_openai(chained, tools=[WEATHER_TOOL])
    (call,) = message_of(reply)["tool_calls"]
    assert json.loads(call["function"]["arguments"])["city"] in {"Paris", "Oslo"}
    assert reply.json()["choices"][0]["finish_reason"] == "tool_calls"


def test_an_openai_client_gets_json_by_schema_from_an_ollama(chained: Daemon) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
    assert set(json.loads(message_of(ask_openai(chained, response_format=wanted))["content"])) == {"ok", "n"}


def test_an_openai_client_gets_an_ollamas_embeddings(chained: Daemon, daemon: Daemon) -> None:
    body = {"model": "tinyembed", "input": ["sun", "the quick fox"]}
    through, direct = (server.post("/v1/embeddings", body).json()["data"] for server in (chained, daemon))
    for ours, theirs in zip(through, direct, strict=True):
        assert ours["embedding"] == pytest.approx(theirs["embedding"], abs=1e-3)


def test_an_ollama_client_gets_an_ollamas_answer(chained: Daemon) -> None:
    body = {"model": "tiny", "messages": HELLO, "options": {"temperature": 0}}
    lines = chained.post("/api/chat", body).lines()
    assert "".join(line["message"]["content"] for line in lines) == REPLY
    assert lines[-1]["eval_count"] == THINK_TOKENS + REPLY_TOKENS


def test_an_engine_of_which_only_the_api_is_known_answers_too(fleet: Fleet, start_daemon: StartDaemon) -> None:
    daemon = start_daemon(config_of(backend("plain", fleet.calm.url))).ready("calm")
    body = {"model": "calm", "messages": HELLO, "options": {"temperature": 0}, "stream": False}
    answer = daemon.post("/api/chat", body).json()
    assert answer["message"]["content"] == REPLY
    assert answer["eval_count"] == REPLY_TOKENS
    assert message_of(ask_openai(daemon))["content"] == REPLY


def test_with_no_configuration_an_engine_is_found_by_what_it_says(fleet: Fleet, start_daemon: StartDaemon) -> None:
    daemon = start_daemon(config_of(detection={"ports": [fleet.calm.port]})).ready("calm")
    assert message_of(ask_openai(daemon))["content"] == REPLY
    (found,) = wait_until(lambda: list(daemon.backends().values()), "a backend is listed")
    assert found["endpoint"] == fleet.calm.url
    assert found["hardware"] == "unknown"
    assert found["engine"] == "llamacpp"


def test_the_demo_fleet_gives_way_to_an_engine_that_starts_later(
    start_llama: StartLlama, start_daemon: StartDaemon
) -> None:
    port = free_port()
    config = config_of(detection={"ports": [port], "interval_s": 0.1})
    daemon = start_daemon(config, options=["--demo-if-none"]).ready("demo")
    start_llama("calm", "--reasoning", "off", port=port)
    daemon.ready("calm")
    assert daemon.models() == {"calm"}
    assert message_of(ask_openai(daemon))["content"] == REPLY
