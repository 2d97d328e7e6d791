"""A real mlx_lm.server that the daemon runs itself, on a processor and a tiny model; scripts/install-mlx makes it."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from scripts import make_tiny_folder
from tests.e2e.harness import ROOT, Daemon, config_of, wait_until
from tests.real_things import NOT_TRIED

PROGRAMS = ROOT / ".cache/mlx/env/bin"
pytestmark = pytest.mark.skipif(
    not (PROGRAMS / "mlx_lm.server").exists(), reason=f"{NOT_TRIED}run scripts/install-mlx first, which fetches 60 MB"
)
SAID = "".join(make_tiny_folder.REPLY)
HELLO: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Its user has no cache of Hugging Face's, and the folder of models is behind a link."""
    folder = tmp_path_factory.mktemp("mlx")
    make_tiny_folder.build(folder / "models/tiny")
    odd = make_tiny_folder.build(folder / "models/odd") / "config.json"
    odd.write_text(odd.read_text().replace('"llama"', '"klama"'))
    (folder / "link").symlink_to(folder / "models")
    config = config_of(engines=[{"id": "mlx", "engine": "mlx", "hardware": "cpu"}], models_dir=str(folder / "link"))
    started = Daemon(folder, config, {"PATH": f"{PROGRAMS}:{os.environ['PATH']}"})
    try:
        yield started.ready("tiny", "odd")
    finally:
        started.stop()


def engine(daemon: Daemon) -> dict[str, Any]:
    (found,) = daemon.get("/status").json()["engines"]
    return dict(found)


def test_twenty_at_once_in_all_dialects_start_one_process_and_all_are_answered(daemon: Daemon) -> None:
    def ask(number: int) -> str:
        if number % 3 == 0:
            return str(daemon.post("/v1/chat/completions", HELLO).json()["choices"][0]["message"]["content"])
        if number % 3 == 1:
            reply = daemon.post("/api/chat", HELLO)
            return "".join(each["message"]["content"] for each in reply.lines())
        reply = daemon.post("/v1/messages", {**HELLO, "max_tokens": 99})
        return "".join(each["text"] for each in reply.json()["content"])

    with ThreadPoolExecutor(20) as threads:
        assert list(threads.map(ask, range(20))) == [SAID] * 20
    assert daemon.get("/status").json()["loads_total"] == 1
    assert engine(daemon)["load_seconds"] > 0


def test_a_stream_tells_its_words_its_usage_and_its_end(daemon: Daemon) -> None:
    asked = {**HELLO, "stream": True, "stream_options": {"include_usage": True}}
    frames = daemon.post("/v1/chat/completions", asked).events()
    assert "".join(each["choices"][0]["delta"].get("content", "") for each in frames if each["choices"]) == SAID
    assert [each["choices"][0]["finish_reason"] for each in frames if each["choices"]][-1] == "stop"
    assert frames[-1]["usage"]["completion_tokens"] == len(make_tiny_folder.REPLY) + 1


def test_tools_are_called_and_thinking_is_told_apart_for_ollamas_clients(daemon: Daemon) -> None:
    reply = daemon.post("/api/chat", {**HELLO, "tools": [WEATHER], "stream": False}).json()
    (call,) = reply["message"]["tool_calls"]
    assert (call["function"]["name"], call["function"]["arguments"]) == ("get_weather", {"city": "Paris"})
    asked = {**HELLO, "messages": [{"role": "user", "content": "think"}], "stream": False, "think": True}
    message = daemon.post("/api/chat", asked).json()["message"]
    assert (message["thinking"], message["content"]) == ("".join(make_tiny_folder.THINK[1:-1]), SAID)


def test_an_answer_may_be_longer_than_the_servers_usual_512_tokens(daemon: Daemon) -> None:
    (command,) = [each.read_bytes().split(b"\0") for each in Path("/proc").glob(f"{engine(daemon)['pid']}/cmdline")]
    assert command[command.index(b"--max-tokens") + 1] == b"8192"


def test_an_image_is_refused_with_its_words_and_chats_go_on(daemon: Daemon) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    refused = daemon.post("/v1/chat/completions", {**HELLO, "messages": [{"role": "user", "content": [image]}]})
    assert refused.json()["error"]["message"] == "Only 'text' content type is supported."
    assert daemon.post("/v1/chat/completions", HELLO).status == 200


def test_one_whose_generation_a_request_has_ended_is_replaced(daemon: Daemon) -> None:
    assert daemon.post("/v1/chat/completions", HELLO).status == 200
    before = engine(daemon)["pid"]
    poison = daemon.post("/v1/chat/completions", {**HELLO, "temperature": 0.8, "top_k": 100_000})
    assert (poison.status, poison.json()["error"]["code"]) == (502, "engine_ended")
    assert daemon.post("/v1/chat/completions", HELLO).status == 200
    assert engine(daemon)["pid"] != before


def test_one_that_is_killed_is_started_again(daemon: Daemon) -> None:
    assert daemon.post("/v1/chat/completions", HELLO).status == 200
    os.killpg(engine(daemon)["pid"], signal.SIGKILL)
    assert daemon.post("/v1/chat/completions", HELLO).json()["choices"][0]["message"]["content"] == SAID


def test_a_model_that_it_does_not_know_is_told_at_once_with_its_own_words(daemon: Daemon) -> None:
    reply = daemon.post("/v1/chat/completions", {**HELLO, "model": "odd"})
    assert (reply.status, "Model type klama not supported" in json.dumps(reply.json())) == (502, True)


def test_nothing_of_it_is_left_once_its_model_is_unloaded(daemon: Daemon) -> None:
    assert daemon.post("/v1/chat/completions", HELLO).status == 200
    pid = engine(daemon)["pid"]
    assert daemon.post("/models/unload", {"model": "tiny"}).status == 200
    wait_until(lambda: not Path(f"/proc/{pid}/cmdline").exists(), "its process has ended")
