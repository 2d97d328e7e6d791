"""An OpenAI-speaking client gets what a real llama-server has to say."""

import json
from typing import Any

import pytest

from tests.e2e.harness import Daemon, Fleet, Reply
from tests.e2e.tiny_model import HELLO, PIXEL, REPLY, REPLY_TOKENS, SCHEMA, THINK, THINK_TOKENS, WEATHER_TOOL

pytestmark = pytest.mark.real
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
SAID_ON_EVERY_ANSWER = (
    "x-backend-used",
    "x-routing-reason",
    "x-estimated-latency-ms",
    "x-estimated-power-w",
    "x-estimated-energy-j",
    "x-alternatives",
    "x-request-id",
)


def chat(daemon: Daemon, model: str = "calm", **fields: Any) -> Reply:
    return daemon.post("/v1/chat/completions", {"model": model, "messages": HELLO, "temperature": 0, **fields})


def message_of(reply: Reply) -> dict[str, Any]:
    assert reply.status == 200, reply.body
    message: dict[str, Any] = reply.json()["choices"][0]["message"]
    return message


def test_a_chat_is_answered_word_for_word_with_its_tokens_counted(daemon: Daemon) -> None:
    reply = chat(daemon)
    assert message_of(reply)["content"] == REPLY
    assert reply.json()["usage"]["completion_tokens"] == REPLY_TOKENS
    assert reply.json()["choices"][0]["finish_reason"] == "stop"


def test_a_stream_joins_to_the_same_words(daemon: Daemon) -> None:
    events = chat(daemon, stream=True, stream_options={"include_usage": True}).events()
    words = [choice["delta"].get("content") or "" for event in events for choice in event["choices"]]
    assert "".join(words) == REPLY
    assert sum(map(bool, words)) > 40
    assert events[-1]["usage"]["completion_tokens"] == REPLY_TOKENS


def test_an_answer_says_how_it_was_routed(daemon: Daemon) -> None:
    for reply in (chat(daemon), chat(daemon, stream=True), chat(daemon, model="nope")):
        assert set(SAID_ON_EVERY_ANSWER) <= reply.headers.keys()
    assert chat(daemon).headers["x-backend-used"] == "talker"
    assert daemon.get("/v1/models", {"X-Request-ID": "mine"}).headers["x-request-id"] == "mine"


def test_thinking_comes_apart_from_the_answer(daemon: Daemon) -> None:
    reply = chat(daemon, model="tiny")
    assert message_of(reply)["reasoning_content"] == THINK
    assert message_of(reply)["content"] == REPLY
    assert reply.json()["usage"]["completion_tokens"] == THINK_TOKENS + REPLY_TOKENS


def test_a_tool_is_called_with_arguments_that_fit_its_schema(daemon: Daemon) -> None:
    reply = chat(daemon, tools=[WEATHER_TOOL])
    (call,) = message_of(reply)["tool_calls"]
    arguments = json.loads(call["function"]["arguments"])
    assert call["function"]["name"] == "get_weather"
    assert arguments["city"] in {"Paris", "Oslo"}
    assert 1 <= arguments["days"] <= 9
    assert reply.json()["choices"][0]["finish_reason"] == "tool_calls"


def test_a_tools_result_is_answered_in_words(daemon: Daemon) -> None:
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city":"Oslo","days":1}'},
    }
    turns = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]
    assert message_of(chat(daemon, messages=HELLO + turns, tools=[WEATHER_TOOL]))["content"] == REPLY


def test_an_answer_fits_the_json_schema_asked_for(daemon: Daemon) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
    value = json.loads(message_of(chat(daemon, response_format=wanted))["content"])
    assert isinstance(value["ok"], bool)
    assert 0 <= value["n"] <= 99


def test_a_limit_and_a_stop_word_end_the_answer(daemon: Daemon) -> None:
    limited = chat(daemon, max_tokens=3)
    assert limited.json()["choices"][0]["finish_reason"] == "length"
    assert limited.json()["usage"]["completion_tokens"] == 3
    assert message_of(chat(daemon, stop=[" random"]))["content"] == "Hello! I am a tiny"


def test_a_completion_goes_on_where_the_prompt_ends(daemon: Daemon) -> None:
    body = {"model": "calm", "prompt": "hello\n", "temperature": 0, "max_tokens": 4}
    reply = daemon.post("/v1/completions", body)
    assert reply.json()["choices"][0]["text"] == "Hello! I am a"
    events = daemon.post("/v1/completions", {**body, "stream": True}).events()
    assert "".join(choice["text"] for event in events for choice in event["choices"]) == "Hello! I am a"


def test_texts_are_embedded_in_their_order(daemon: Daemon) -> None:
    def embed(*texts: str) -> list[list[float]]:
        reply = daemon.post("/v1/embeddings", {"model": "tinyembed", "input": list(texts)})
        assert reply.headers["x-backend-used"] == "embedder"
        return [item["embedding"] for item in sorted(reply.json()["data"], key=lambda item: item["index"])]

    (one,), (other,) = embed("sun"), embed("the quick fox")
    both = embed("sun", "the quick fox")
    assert both == [pytest.approx(one, abs=1e-4), pytest.approx(other, abs=1e-4)]
    assert one != pytest.approx(other, abs=1e-2)


def test_the_lists_name_every_model_and_who_holds_it(daemon: Daemon) -> None:
    listed = {item["id"]: item for item in daemon.get("/v1/models").json()["data"]}
    assert set(listed) == {"tiny", "calm", "tinyembed"}
    assert daemon.get("/v1/models/calm").json()["id"] == "calm"
    assert daemon.get("/v1/models/nope").status == 404


IMAGE_TURN = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "what is it"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        ],
    }
]


def test_an_image_that_no_engine_can_see_is_the_clients_error_and_nobody_elses(daemon: Daemon) -> None:
    reply = chat(daemon, messages=IMAGE_TURN)
    assert 400 <= reply.status < 500, reply.body
    assert "image" in reply.json()["error"]["message"].lower()
    assert message_of(chat(daemon))["content"] == REPLY


def test_an_unknown_model_is_a_404_that_lists_the_known_ones(daemon: Daemon) -> None:
    error = chat(daemon, model="nope").json()["error"]
    assert chat(daemon, model="nope").status == 404
    assert all(name in error["message"] for name in ("nope", "calm", "tiny", "tinyembed"))
    assert set(error) == {"message", "type", "param", "code"}


def test_what_the_engine_refuses_is_refused_in_its_words(daemon: Daemon) -> None:
    reply = chat(daemon, messages=[{"role": "user", "content": "x " * 5000}])
    assert reply.status == 400
    assert "exceeds the available context size" in reply.json()["error"]["message"]


WHOLE: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"a chat of {limit}": (CHAT, {"max_tokens": limit}) for limit in (1, 12, 45, 46, 47, 48, 200)},
    **{f"a call of {limit}": (CHAT, {"tools": [WEATHER_TOOL], "max_tokens": limit}) for limit in (24, 30, 50, 64, 200)},
    **{f"a text of {limit}": (TEXT, {"prompt": "hello", "max_tokens": limit}) for limit in (1, 16, 20, 21, 200)},
    "a call that must be": (CHAT, {"tools": [WEATHER_TOOL], "tool_choice": "required", "max_tokens": 200}),
    "several chats": (CHAT, {"n": 3, "max_tokens": 30}),
    "several texts": (TEXT, {"prompt": ["hello", "you"], "n": 2, "max_tokens": 9}),
    "a list of one text": (TEXT, {"prompt": ["hello"], "max_tokens": 9}),
    "the text of tokens": (TEXT, {"prompt": [12, 13, 14], "max_tokens": 9}),
    "a chat up to a word": (CHAT, {"stop": ["tiny"]}),
    "a text up to a word": (TEXT, {"prompt": "hello", "stop": ["server"], "max_tokens": 99}),
    "a text that ends like a stop sequence": (TEXT, {"prompt": "hello", "stop": ["Goodbye. And"], "max_tokens": 99}),
    "a chat with log probabilities": (CHAT, {"logprobs": True, "top_logprobs": 2, "max_tokens": 15}),
    "a text with log probabilities": (TEXT, {"prompt": "hello", "logprobs": 2, "max_tokens": 9}),
    "a chat that was begun": (CHAT, {"messages": [*HELLO, {"role": "assistant", "content": "Hello! I am"}]}),
    "a chat with an unknown field": (CHAT, {"new": 1, "max_tokens": 20}),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_whole_answer_has_just_what_the_engine_itself_would_have_written(
    case: str, daemon: Daemon, fleet: Fleet
) -> None:
    path, fields = WHOLE[case]
    body = {"model": "tiny", "temperature": 0, **({"messages": HELLO} if path == CHAT else {}), **fields}
    direct, proxied = (each.post(path, body).json() for each in (fleet.tiny, daemon))
    for answer in (direct, proxied):
        for call in (call for choice in answer["choices"] for call in choice.get("message", {}).get("tool_calls", ())):
            assert call.pop("id")
    assert shape(proxied) == shape(direct)


def shape(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer without what differs each time."""
    stable = {name: value for name, value in answer.items() if name not in {"id", "created", "timings", "usage"}}
    counts = {name: answer["usage"][name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    kinds = {name: type(answer[name]) for name in ("id", "created")}
    return {
        **stable,
        "counts": counts,
        "kinds": kinds,
        "timings": set(answer["timings"]),
        "usage": set(answer["usage"]),
    }
