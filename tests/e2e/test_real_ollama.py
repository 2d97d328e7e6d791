"""An Ollama-speaking client gets what a real llama-server has to say, translated field by field."""

import base64
import json
import math
from typing import Any

import pytest

from tests.e2e.harness import Daemon, Reply
from tests.e2e.tiny_model import HELLO, PIXEL, REPLY, REPLY_TOKENS, SCHEMA, THINK, THINK_TOKENS, WEATHER_TOOL

pytestmark = pytest.mark.real
COLD = {"temperature": 0}


def chat(daemon: Daemon, model: str = "tiny", options: dict[str, Any] | None = None, **fields: Any) -> Reply:
    body = {"model": model, "messages": HELLO, "options": {**COLD, **(options or {})}, **fields}
    return daemon.post("/api/chat", body)


def whole(reply: Reply) -> dict[str, Any]:
    assert reply.status == 200, reply.body
    answer: dict[str, Any] = reply.json()
    return answer


def test_a_stream_has_the_engines_words_thoughts_and_counts(daemon: Daemon, fleet: Any) -> None:
    lines = chat(daemon).lines()
    assert "".join(line["message"].get("thinking") or "" for line in lines) == THINK
    assert "".join(line["message"]["content"] for line in lines) == REPLY
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    asked = {"model": "tiny", "messages": HELLO, "temperature": 0}
    usage = fleet.tiny.post("/v1/chat/completions", asked).json()["usage"]
    last = lines[-1]
    assert (last["prompt_eval_count"], last["eval_count"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert last["eval_count"] == THINK_TOKENS + REPLY_TOKENS
    assert last["done_reason"] == "stop"


@pytest.mark.parametrize("stream", [True, False])
def test_thinking_can_be_turned_off(daemon: Daemon, stream: bool) -> None:
    lines = chat(daemon, think=False, stream=stream).lines()
    assert "".join(line["message"]["content"] for line in lines) == REPLY
    assert not any(line["message"].get("thinking") for line in lines)
    assert lines[-1]["eval_count"] == REPLY_TOKENS


def test_a_model_is_found_with_and_without_its_tag(daemon: Daemon) -> None:
    assert whole(chat(daemon, model="calm:latest", stream=False))["message"]["content"] == REPLY
    assert whole(chat(daemon, model="calm:latest", stream=False))["model"] == "calm:latest"


def test_a_tool_call_comes_whole_with_arguments_as_an_object(daemon: Daemon) -> None:
    lines = chat(daemon, tools=[WEATHER_TOOL]).lines()
    (call,) = [call for line in lines for call in line["message"].get("tool_calls") or ()]
    assert call["function"]["name"] == "get_weather"
    assert call["function"]["arguments"]["city"] in {"Paris", "Oslo"}
    assert 1 <= call["function"]["arguments"]["days"] <= 9
    assert lines[-1]["done_reason"] == "stop"


def test_a_tools_result_is_answered_in_words(daemon: Daemon) -> None:
    call = {"function": {"name": "get_weather", "arguments": {"city": "Paris", "days": 1}}}
    turns = [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_name": "get_weather", "content": "sunny"},
    ]
    answer = whole(chat(daemon, messages=HELLO + turns, tools=[WEATHER_TOOL], stream=False))
    assert answer["message"]["content"] == REPLY


def test_a_format_is_kept_to(daemon: Daemon) -> None:
    value = json.loads(whole(chat(daemon, format=SCHEMA, stream=False))["message"]["content"])
    assert isinstance(value["ok"], bool)
    assert 0 <= value["n"] <= 99
    assert json.loads(whole(chat(daemon, format="json", stream=False))["message"]["content"]) == {"sun": "sun"}


def test_options_mean_what_they_mean_in_ollama(daemon: Daemon) -> None:
    limited = whole(chat(daemon, model="calm", options={"num_predict": 3}, stream=False))
    assert (limited["message"]["content"], limited["eval_count"]) == ("Hello! I am", 3)
    assert limited["done_reason"] == "length"
    stopped = whole(chat(daemon, model="calm", options={"stop": [" random"]}, stream=False))
    assert stopped["message"]["content"] == "Hello! I am a tiny"


def test_options_that_the_engine_has_no_word_for_are_named(daemon: Daemon) -> None:
    reply = chat(daemon, model="calm", options={"num_ctx": 256, "num_thread": 2, "top_k": 1}, stream=False)
    assert whole(reply)["message"]["content"] == REPLY
    ignored = reply.headers["x-ignored-fields"]
    assert "num_ctx" in ignored
    assert "num_thread" in ignored
    assert "top_k" not in ignored


def test_log_probabilities_are_translated(daemon: Daemon) -> None:
    fields = {"logprobs": True, "top_logprobs": 2, "options": {"num_predict": 3}, "stream": False}
    found = whole(chat(daemon, model="calm", **fields))["logprobs"]
    assert [item["token"] for item in found] == ["Hello!", " I", " am"]
    assert all(item["logprob"] <= 0 and len(item["top_logprobs"]) == 2 for item in found)


def test_a_prompt_is_generated_from(daemon: Daemon) -> None:
    body = {"model": "calm", "prompt": "hello", "options": COLD}
    lines = daemon.post("/api/generate", body).lines()
    assert "".join(line["response"] for line in lines) == REPLY
    assert lines[-1]["eval_count"] == REPLY_TOKENS
    assert whole(daemon.post("/api/generate", {**body, "stream": False}))["response"] == REPLY


def test_a_raw_prompt_meets_no_template(daemon: Daemon) -> None:
    body = {"model": "calm", "prompt": "<think>", "raw": True, "stream": False, "options": {**COLD, "num_predict": 3}}
    assert whole(daemon.post("/api/generate", body))["response"].strip() == "Let me think"


def test_embeddings_have_unit_length_and_keep_their_order(daemon: Daemon) -> None:
    answer = whole(daemon.post("/api/embed", {"model": "tinyembed", "input": ["sun", "the quick fox"]}))
    first, second = answer["embeddings"]
    assert math.hypot(*first) == pytest.approx(1, abs=1e-3)
    assert math.hypot(*second) == pytest.approx(1, abs=1e-3)
    assert answer["prompt_eval_count"] > 0
    alone = whole(daemon.post("/api/embeddings", {"model": "tinyembed", "prompt": "the quick fox"}))["embedding"]
    scale = math.hypot(*alone)
    assert [number / scale for number in alone] == pytest.approx(second, abs=1e-3)


def test_an_image_that_no_engine_can_see_is_the_clients_error(daemon: Daemon) -> None:
    assert base64.b64decode(PIXEL)
    reply = chat(daemon, messages=[{"role": "user", "content": "what", "images": [PIXEL]}], stream=False)
    assert 400 <= reply.status < 500, reply.body
    assert "image" in reply.json()["error"].lower()
    assert whole(chat(daemon, stream=False))["message"]["content"] == REPLY


def test_an_overlong_chat_is_refused_with_the_engines_reason(daemon: Daemon) -> None:
    reply = chat(daemon, messages=[{"role": "user", "content": "x " * 5000}])
    assert reply.status == 400
    assert "exceeds the available context size" in reply.json()["error"]


def test_the_lists_are_the_union_over_all_engines(daemon: Daemon) -> None:
    tags = {item["name"].removesuffix(":latest"): item for item in daemon.get("/api/tags").json()["models"]}
    assert set(tags) == {"tiny", "calm", "tinyembed"}
    assert tags["calm"]["backends"] == ["talker"]
    loaded = {item["name"].removesuffix(":latest") for item in daemon.get("/api/ps").json()["models"]}
    assert loaded == {"tiny", "calm", "tinyembed"}


def test_a_model_is_shown_with_its_template_and_abilities(daemon: Daemon) -> None:
    shown = whole(daemon.post("/api/show", {"model": "tiny"}))
    assert "enable_thinking" in shown["template"]
    assert {"completion", "tools", "thinking"} <= set(shown["capabilities"])
    assert shown["details"]["format"] == "gguf"
