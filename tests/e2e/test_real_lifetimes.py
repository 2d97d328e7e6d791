"""Connections, streams, configurations and the daemon itself: what ends when, and what must not."""

import json
import signal
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.harness import Daemon, Fleet, StartDaemon, StartLlama, backend, config_of, llama, wait_until
from tests.e2e.recorded_engine import MODEL, RecordedEngine, serving
from tests.e2e.tiny_model import HELLO, REPLY, WEATHER_TOOL

pytestmark = pytest.mark.real
FRAMES = [b'data: {"choices":[{"index":0,"delta":{"content":"%d"}}]}\n\n' % number for number in range(3)]
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def chat(daemon: Daemon, model: str = "calm", **fields: Any) -> str:
    body = {"model": model, "messages": HELLO, "temperature": 0, **fields}
    reply = daemon.post("/v1/chat/completions", body)
    assert reply.status == 200, reply.body
    content: str = reply.json()["choices"][0]["message"]["content"]
    return content


CHAT = "/v1/chat/completions"
UNLIMITED = {"options": {"num_predict": -1}}
LEAVING: dict[str, tuple[str, dict[str, Any]]] = {
    "a stream": (CHAT, {"stream": True}),
    "a whole answer": (CHAT, {}),
    "a whole answer with tools": (CHAT, {"tools": [WEATHER_TOOL], "tool_choice": "none"}),
    "two whole answers": (CHAT, {"n": 2}),
    "a whole answer to what only the engine knows": (CHAT, {"samplers": ["top_k"]}),
    "a whole completion": ("/v1/completions", {"prompt": "hello"}),
    "whole completions of two prompts": ("/v1/completions", {"prompt": ["hello", "you"]}),
    "a whole message": ("/v1/messages", {"max_tokens": 10**6}),
    "a whole response": ("/v1/responses", {"input": "hello"}),
    "a translated stream": ("/api/chat", {"stream": True, **UNLIMITED}),
    "a translated whole answer": ("/api/chat", UNLIMITED),
    "a translated whole completion": ("/api/generate", {"prompt": "hello", **UNLIMITED}),
}


@pytest.mark.parametrize("case", LEAVING)
def test_a_client_that_leaves_frees_the_engines_slot(
    case: str, start_llama: StartLlama, start_daemon: StartDaemon
) -> None:
    path, fields = LEAVING[case]
    endless = start_llama("tiny", "--ignore-eos", "--context-shift").ready()
    daemon = start_daemon(config_of(llama("endless", endless))).ready_with("endless")
    messages = {} if "prompt" in fields or "input" in fields else {"messages": HELLO}
    connection = daemon.sent("POST", path, {"model": "tiny", "stream": False, **messages, **fields})
    if fields.get("stream"):
        assert connection.getresponse().readline()
    wait_until(lambda: endless.busy_slots() >= 1, "the engine is at work")
    assert connection.sock is not None
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    # By itself the engine looks once a second whether the client of a whole answer has left.
    wait_until(lambda: endless.busy_slots() == 0, "the engine's slot is free", timeout_s=0.5)
    wait_until(lambda: daemon.in_flight() == {"endless": 0}, "the daemon's slot is free")


def test_a_client_that_leaves_before_a_whole_answer_is_not_waited_for(start_daemon: StartDaemon) -> None:
    """An engine may finish a whole answer for nobody; the daemon's own part ends at once."""
    gate = threading.Event()
    with serving(RecordedEngine([gate, b"{}"])) as engine:
        daemon = start_daemon(config_of(backend("recorded", engine.url))).ready_with("recorded")
        connection = daemon.sent("POST", "/v1/chat/completions", {"model": MODEL, "messages": HELLO})
        wait_until(lambda: daemon.in_flight() == {"recorded": 1}, "the request is under way")
        connection.close()
        wait_until(lambda: daemon.in_flight() == {"recorded": 0}, "the daemon's slot is free")
        gate.set()


def test_more_requests_than_a_connection_lives_for_all_succeed(fleet: Fleet, daemon: Daemon) -> None:
    """A llama-server closes each connection after a hundred requests."""
    connection = daemon.connection()
    for _ in range(150):
        body = '{"model":"calm","max_tokens":1,"temperature":0,"messages":[{"role":"user","content":"hello"}]}'
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert (response.status, b"Hello!" in response.read()) == (200, True)
    connection.close()


def test_a_pooled_connection_that_died_unnoticed_is_replaced(start_daemon: StartDaemon) -> None:
    with serving(RecordedEngine([*FRAMES, END], one_chat_each=True)) as engine:
        daemon = start_daemon(config_of(backend("recorded", engine.url))).ready_with("recorded")
        asked = 0
        while not engine.hung_up and asked < 100:  # until every connection of the health checks was used once
            reply = daemon.post("/v1/chat/completions", {"model": MODEL, "messages": HELLO, "stream": True})
            assert reply.body == b"".join([*FRAMES, END])
            asked += 1
        assert engine.hung_up > 0
        assert len(engine.received) == asked


def test_a_chunk_goes_out_when_it_comes_in(start_daemon: StartDaemon) -> None:
    gate = threading.Event()
    with serving(RecordedEngine([FRAMES[0], gate, FRAMES[1], END])) as engine:
        daemon = start_daemon(config_of(backend("recorded", engine.url))).ready_with("recorded")
        body = {"model": MODEL, "messages": HELLO, "stream": True}
        with daemon.opened("POST", "/v1/chat/completions", body) as response:
            assert response.read(len(FRAMES[0])) == FRAMES[0]
            gate.set()
            assert response.read() == FRAMES[1] + END


def test_sigterm_lets_a_stream_finish_and_takes_no_new_one(start_daemon: StartDaemon) -> None:
    gate = threading.Event()
    with serving(RecordedEngine([FRAMES[0], gate, FRAMES[1], END])) as engine:
        daemon = start_daemon(config_of(backend("recorded", engine.url))).ready_with("recorded")
        body = {"model": MODEL, "messages": HELLO, "stream": True}
        with daemon.opened("POST", "/v1/chat/completions", body) as response:
            assert response.read(len(FRAMES[0])) == FRAMES[0]
            daemon.signal(signal.SIGTERM)
            wait_until(daemon.takes_nothing_new, "the daemon takes no new request")
            assert daemon.returncode is None
            gate.set()
            assert response.read() == FRAMES[1] + END
        assert daemon.wait() == 0


def test_a_stream_that_outlasts_the_time_to_drain_is_cut_off(start_daemon: StartDaemon) -> None:
    gate = threading.Event()
    with serving(RecordedEngine([FRAMES[0], gate, END])) as engine:
        config = config_of(backend("recorded", engine.url), server={"drain_s": 0.2})
        daemon = start_daemon(config).ready_with("recorded")
        body = {"model": MODEL, "messages": HELLO, "stream": True}
        with daemon.opened("POST", "/v1/chat/completions", body) as response:
            assert response.read(len(FRAMES[0])) == FRAMES[0]
            daemon.signal(signal.SIGTERM)
            assert daemon.wait() == 0
            gate.set()
            rest = response.read()
            assert b'"error"' in rest
            assert b"[DONE]" not in rest


def test_a_reload_adds_a_backend_and_leaves_running_streams_alone(fleet: Fleet, start_daemon: StartDaemon) -> None:
    gate = threading.Event()
    with serving(RecordedEngine([FRAMES[0], gate, FRAMES[1], END])) as engine:
        config = config_of(backend("recorded", engine.url))
        daemon = start_daemon(config).ready_with("recorded")
        body = {"model": MODEL, "messages": HELLO, "stream": True}
        with daemon.opened("POST", "/v1/chat/completions", body) as response:
            assert response.read(len(FRAMES[0])) == FRAMES[0]
            daemon.write_config({**config, "backends": [llama("added", fleet.calm)]})
            daemon.signal(signal.SIGHUP)
            daemon.ready_with("added")
            assert chat(daemon) == REPLY
            assert daemon.in_flight() == {"added": 0, "recorded": 1}
            gate.set()
            assert response.read() == FRAMES[1] + END
        wait_until(lambda: set(daemon.backends()) == {"added"}, "the removed backend has drained")


@pytest.mark.parametrize("bad", ["backendz: []\n", "server: [\n", "backends: [{id: x}]\n"])
def test_a_bad_file_changes_nothing_and_says_why(fleet: Fleet, start_daemon: StartDaemon, bad: str) -> None:
    daemon = start_daemon(config_of(llama("calm", fleet.calm))).ready_with("calm")
    said = len(daemon.log.read_text())
    daemon.write_config(bad)
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: "config.yaml" in daemon.log.read_text()[said:], "the daemon says what is wrong with the file")
    assert "Traceback" not in daemon.log.read_text()
    assert set(daemon.backends()) == {"calm"}
    assert chat(daemon) == REPLY


def test_a_daemon_with_a_bad_file_does_not_start_and_names_the_line(start_daemon: StartDaemon) -> None:
    config = config_of(backend("x", "http://127.0.0.1:1"))
    daemon = start_daemon({**config, "backendz": []})
    assert daemon.wait() != 0
    assert "backendz" in daemon.log.read_text()
    assert "config.yaml:" in daemon.log.read_text()


def test_a_stream_goes_on_over_a_reload_for_as_long_as_it_takes(start_daemon: StartDaemon) -> None:
    gate = threading.Event()
    with serving(RecordedEngine([FRAMES[0], gate, FRAMES[1], END])) as engine:
        config = config_of(backend("recorded", engine.url), server={"drain_s": 0.1})
        daemon = start_daemon(config).ready_with("recorded")
        body = {"model": MODEL, "messages": HELLO, "stream": True}
        with daemon.opened("POST", "/v1/chat/completions", body) as response:
            assert response.read(len(FRAMES[0])) == FRAMES[0]
            daemon.signal(signal.SIGHUP)
            wait_until(lambda: "was reloaded" in daemon.log.read_text(), "the configuration is reloaded")
            time.sleep(0.3)  # longer than the time to drain, which is for stopping alone
            gate.set()
            assert response.read() == FRAMES[1] + END


def test_a_request_whose_body_still_comes_in_survives_a_reload(start_daemon: StartDaemon) -> None:
    with serving(RecordedEngine([*FRAMES, END])) as engine:
        daemon = start_daemon(config_of(backend("recorded", engine.url))).ready_with("recorded")
        body = json.dumps({"model": MODEL, "messages": HELLO, "stream": True}).encode()
        address = urlsplit(daemon.url)
        with socket.create_connection((address.hostname, address.port), timeout=10) as client:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
            client.sendall(head.encode() + b"Connection: close\r\n\r\n" + body[:20])
            daemon.signal(signal.SIGHUP)
            wait_until(lambda: "was reloaded" in daemon.log.read_text(), "the configuration is reloaded")
            client.sendall(body[20:])
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert FRAMES[0] in answer
