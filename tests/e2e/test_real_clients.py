"""The clients that people use, as they are published, against the daemon in front of real engines."""

import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import ollama
import openai
import pytest

from tests.e2e.harness import Daemon
from tests.e2e.tiny_model import HELLO, REPLY, REPLY_TOKENS, SCHEMA, THINK, THINK_TOKENS, WEATHER_TOOL

pytestmark = pytest.mark.real
COLD = {"temperature": 0}
MODELS = {"calm", "tiny", "tinyembed"}


@pytest.fixture
def openai_client(daemon: Daemon) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{daemon.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def async_openai_client(daemon: Daemon) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{daemon.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def ollama_client(daemon: Daemon) -> Iterator[ollama.Client]:
    with ollama.Client(host=daemon.url) as client:
        yield client


def test_openai_chats(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(model="calm", messages=HELLO, temperature=0)
    assert answer.choices[0].message.content == REPLY
    assert answer.usage.completion_tokens == REPLY_TOKENS


def test_openai_streams(openai_client: openai.OpenAI) -> None:
    fields = {"stream": True, "stream_options": {"include_usage": True}, "temperature": 0}
    with openai_client.chat.completions.create(model="calm", messages=HELLO, **fields) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == REPLY
    assert chunks[-1].usage.completion_tokens == REPLY_TOKENS


def test_openai_calls_tools(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(model="calm", messages=HELLO, temperature=0, tools=[WEATHER_TOOL])
    (call,) = answer.choices[0].message.tool_calls
    assert json.loads(call.function.arguments)["city"] in {"Paris", "Oslo"}


def test_openai_streams_tool_calls(openai_client: openai.OpenAI) -> None:
    with openai_client.chat.completions.stream(model="calm", messages=HELLO, tools=[WEATHER_TOOL], **COLD) as stream:
        (call,) = stream.get_final_completion().choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["city"] in {"Paris", "Oslo"}


def test_openai_completes(openai_client: openai.OpenAI) -> None:
    answer = openai_client.completions.create(model="calm", prompt="hello\n", max_tokens=3, temperature=0)
    assert answer.choices[0].text == "Hello! I am"


def test_openai_embeds(openai_client: openai.OpenAI) -> None:
    answer = openai_client.embeddings.create(model="tinyembed", input=["a", "b"])
    assert [len(item.embedding) for item in answer.data] == [64, 64]


def test_openai_lists_and_retrieves_models(openai_client: openai.OpenAI) -> None:
    assert {model.id for model in openai_client.models.list()} == MODELS
    assert openai_client.models.retrieve("calm").id == "calm"
    with pytest.raises(openai.NotFoundError):
        openai_client.models.retrieve("nope")


def test_openai_raises_its_own_errors(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="nope"):
        openai_client.chat.completions.create(model="nope", messages=HELLO)
    with pytest.raises(openai.BadRequestError, match="X-Priority"):
        openai_client.chat.completions.create(model="calm", messages=HELLO, extra_headers={"X-Priority": "urgent"})


async def test_openai_streams_asynchronously(async_openai_client: openai.AsyncOpenAI) -> None:
    create = async_openai_client.chat.completions.create
    async with await create(model="calm", messages=HELLO, stream=True, temperature=0) as stream:
        words = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    assert "".join(words) == REPLY


def test_ollama_streams_thoughts_and_words(ollama_client: ollama.Client) -> None:
    parts = list(ollama_client.chat(model="tiny", messages=HELLO, stream=True, options=COLD))
    assert "".join(part.message.thinking or "" for part in parts) == THINK
    assert "".join(part.message.content or "" for part in parts) == REPLY
    assert parts[-1].eval_count == THINK_TOKENS + REPLY_TOKENS
    assert parts[-1].done_reason == "stop"


def test_ollama_calls_tools_from_a_python_function(ollama_client: ollama.Client) -> None:
    def get_weather(city: str, days: int) -> str:
        """Tell the weather.

        Args:
            city: the city
            days: days ahead
        """
        return f"{city} {days}"

    answer = ollama_client.chat(model="tiny", messages=HELLO, tools=[get_weather], options=COLD)
    (call,) = answer.message.tool_calls
    assert call.function.name == "get_weather"
    assert set(call.function.arguments) == {"city", "days"}


def test_ollama_keeps_to_a_format(ollama_client: ollama.Client) -> None:
    answer = ollama_client.chat(model="tiny", messages=HELLO, format=SCHEMA, options=COLD)
    assert set(json.loads(answer.message.content)) == {"ok", "n"}


def test_ollama_generates_and_embeds(ollama_client: ollama.Client) -> None:
    assert ollama_client.generate(model="calm", prompt="hello", options=COLD).response == REPLY
    assert [len(vector) for vector in ollama_client.embed(model="tinyembed", input=["a", "b"]).embeddings] == [64, 64]
    assert len(ollama_client.embeddings(model="tinyembed", prompt="a").embedding) == 64


def test_ollama_lists_and_shows_models(ollama_client: ollama.Client) -> None:
    assert {model.model.removesuffix(":latest") for model in ollama_client.list().models} == MODELS
    assert {model.model.removesuffix(":latest") for model in ollama_client.ps().models} == MODELS
    assert "thinking" in ollama_client.show("tiny").capabilities


def test_ollama_raises_its_own_errors(ollama_client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="nope") as raised:
        ollama_client.chat(model="nope", messages=HELLO)
    assert raised.value.status_code == 404


async def test_ollama_streams_asynchronously(daemon: Daemon) -> None:
    async with ollama.AsyncClient(host=daemon.url) as client:
        stream = await client.chat(model="calm", messages=HELLO, stream=True, options=COLD)
        assert "".join([part.message.content or "" async for part in stream]) == REPLY


NODE_SAYS: dict[str, Any] = {
    "openai chat": REPLY,
    "openai stream": REPLY,
    "openai completion": "Hello! I am",
    "openai embeddings": [64, 64],
    "openai models": sorted(MODELS),
    "openai retrieve": "calm",
    "openai missing": ["NotFoundError", 404],
    "ollama chat": REPLY,
    "ollama stream": [THINK, REPLY],
    "ollama generate": REPLY,
    "ollama embed": [64, 64],
    "ollama show": "gguf",
    "ollama ps": 3,
    "ollama missing": ["ResponseError", 404],
}


@pytest.fixture(scope="session")
def node_said(node_clients: Path, daemon: Daemon) -> dict[str, Any]:
    """What the npm clients got, by the name of the trial."""
    command = ["node", str(node_clients / "clients.mjs"), daemon.url, json.dumps(WEATHER_TOOL)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return {line["name"]: line.get("value", line.get("error")) for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("trial", NODE_SAYS)
def test_npm_clients_get_their_answers(node_said: dict[str, Any], trial: str) -> None:
    assert node_said[trial] == NODE_SAYS[trial]


@pytest.mark.parametrize("client", ["openai", "ollama"])
def test_npm_clients_call_tools(node_said: dict[str, Any], client: str) -> None:
    arguments = node_said[f"{client} tools"]
    assert arguments["city"] in {"Paris", "Oslo"}
    assert 1 <= arguments["days"] <= 9


def test_npm_ollama_lists_the_models(node_said: dict[str, Any]) -> None:
    assert {name.removesuffix(":latest") for name in node_said["ollama list"]} == MODELS
