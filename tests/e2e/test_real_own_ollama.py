"""Processes of `ollama serve` that the daemon runs: the program is a stand-in, its runners real llama-servers."""

import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ollama_proxyd.edges.engines import processes
from scripts import make_tiny_gguf
from tests.e2e.harness import Daemon, Reply, StartDaemon, ask, config_of, wait_until
from tests.upstreams import ollama_program, ollama_store

pytestmark = pytest.mark.timeout(300)
HELLO = [{"role": "user", "content": "hello"}]
Start = Callable[..., Daemon]


def weights(folder: Path, number: int, pooling: int = 0) -> bytes:
    path = folder / f"{number}.gguf"
    make_tiny_gguf.build(path, make_tiny_gguf.Shape(dim=128, ffn=256, layers=8 * number, seed=number, pooling=pooling))
    return path.read_bytes()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of two models that write, and one that embeds."""
    store = tmp_path / "store"
    for number in (1, 2):
        ollama_store.add(store, f"m{number}:1b", weights(tmp_path, number))
    ollama_store.add(store, "some/embeds:latest", weights(tmp_path, 1, pooling=1))
    return store


@pytest.fixture
def start(start_daemon: StartDaemon, llama_program: Path, store: Path, tmp_path: Path) -> Start:
    program = ollama_program.write(tmp_path / "bin" / "ollama")

    def start(env: dict[str, str] | None = None, **sections: Any) -> Daemon:
        engine = {"id": "ollama", "engine": "ollama", "hardware": "cpu", "context_tokens": 1024}
        engine |= {"models_dir": str(store), **sections.pop("engine", {})}
        engines = [engine, *({**engine, **each} for each in [sections.pop("second", None)] if each)]
        path = {"PATH": f"{program.parent}:{os.environ['PATH']}", "OLLAMA_FAKE_RUNNER": str(llama_program)}
        return start_daemon(config_of(engines=engines, **sections), folder=tmp_path, env={**path, **(env or {})})

    return start


def chat(daemon: Daemon, model: str = "m1:1b", *, tokens: int = 6, **more: Any) -> Reply:
    options = {"temperature": 0, "num_predict": tokens}
    return daemon.post("/api/chat", {"model": model, "messages": HELLO, "options": options, **more})


def engines(daemon: Daemon) -> dict[str, Any]:
    """What is told of each process, by its model."""
    return {each["model"]: each for each in daemon.get("/status").json()["engines"]}


def members(pid: int) -> list[int]:
    """A process and those that it has started, as far as they run."""
    return sorted(each for each in processes.members(pid) if processes.runs(processes.identity(each)))


def the_runner(daemon: Daemon, model: str = "m1:1b") -> int:
    pid = engines(daemon)[model]["pid"]
    return next(each for each in members(pid) if each != pid)


def test_the_models_of_the_store_are_listed_and_the_first_request_has_one_loaded(start: Start) -> None:
    daemon = start().ready("m1:1b", "some/embeds")
    assert daemon.models() == {"m1:1b", "m2:1b", "some/embeds"}
    assert engines(daemon) == {}
    reply = chat(daemon, stream=False, keep_alive=0, options={"num_ctx": 99, "num_predict": 6})
    assert (reply.status, reply.json()["eval_count"]) == (200, 6)
    assert reply.headers["x-ignored-fields"] == "options.num_ctx, keep_alive"
    wait_until(lambda: engines(daemon)["m1:1b"]["memory_measured"], "its memory was counted")
    told = engines(daemon)["m1:1b"]
    assert (told["phase"], told["socket"]) == ("ready", None)
    pid, runner = told["pid"], the_runner(daemon)
    assert told["memory_bytes"]["ram"] >= (processes.memory_of(pid) or 0) // 2  # with its runner
    assert f"OLLAMA_HOST=127.0.0.1:{told['port']}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    assert chat(daemon, stream=False).status == 200
    assert the_runner(daemon) == runner
    daemon.stop()
    assert members(pid) == []


def test_twenty_at_once_in_every_dialect_have_one_process(start: Start) -> None:
    daemon = start(engine={"slots": 4}).ready("m1:1b")
    body = {"model": "m1:1b", "messages": HELLO, "max_tokens": 6}
    ways = (
        lambda: chat(daemon, stream=True),
        lambda: chat(daemon, stream=False),
        lambda: daemon.post("/v1/chat/completions", body),
        lambda: daemon.post("/v1/messages", body),
        lambda: daemon.post("/v1/responses", {"model": "m1:1b", "input": "hello", "max_output_tokens": 16}),
    )
    with ThreadPoolExecutor(20) as threads:
        replies = [each.result() for each in [threads.submit(ways[number % 5]) for number in range(20)]]
    assert [each.status for each in replies] == [200] * 20, [each.body for each in replies if each.status != 200]
    assert list(engines(daemon)) == ["m1:1b"]
    assert daemon.get("/status").json()["loads_total"] == 1


def test_a_model_that_embeds_is_loaded_and_asked_too(start: Start) -> None:
    daemon = start().ready("some/embeds")
    reply = daemon.post("/api/embed", {"model": "some/embeds", "input": ["sun", "moon"]})
    assert (reply.status, len(reply.json()["embeddings"])) == (200, 2)
    reply = daemon.post("/v1/embeddings", {"model": "some/embeds", "input": "sun"})
    assert (reply.status, len(reply.json()["data"])) == (200, 1)
    assert chat(daemon, "some/embeds").status == 400


def test_the_details_of_a_model_are_ollamas_own_whether_it_runs_or_not(start: Start) -> None:
    daemon = start().ready("m1:1b")
    with ThreadPoolExecutor(20) as threads:
        replies = list(threads.map(lambda _: daemon.post("/api/show", {"model": "m1:1b"}), range(20)))
    assert {each.json()["modelfile"] for each in replies} == {"FROM m1:1b"}
    wait_until(lambda: engines(daemon) == {}, "the process that was asked has ended")
    assert daemon.get("/status").json()["loads_total"] == 0
    chat(daemon)
    assert daemon.post("/api/show", {"model": "m1:1b"}).json()["modelfile"] == "FROM m1:1b"


def test_where_the_program_is_missing_that_is_told_and_what_the_files_say_of_a_model(start: Start) -> None:
    daemon = start(engine={"command": ["no-such-ollama", "serve"]}).ready("m1:1b")
    reply = chat(daemon)
    assert (reply.status, "no-such-ollama cannot be started" in reply.json()["error"]) == (502, True)
    assert daemon.post("/api/show", {"model": "m1:1b"}).json()["details"]["family"] == "llama"
    assert daemon.post("/api/pull", {"model": "x:1b"}).status == 502


def told(daemon: Daemon, ends: Callable[[], None] | None = None) -> str:
    """The words of a streamed answer, in the middle of which something is ended."""
    said: list[str] = []
    options = {"temperature": 0, "num_predict": 600}
    body = {"model": "m2:1b", "messages": HELLO, "think": False, "options": options}
    with daemon.opened("POST", "/api/chat", body) as answer:
        assert answer.status == 200
        for line in answer:
            frame = json.loads(line)
            assert "error" not in frame, frame
            said.append((frame["message"].get("thinking") or "") + frame["message"]["content"])
            if ends is not None and len(said) > 10:
                ends()
                ends = None
    assert frame["done"] is True
    return "".join(said)


def test_a_stream_goes_on_where_its_runner_or_its_server_was_killed(start: Start) -> None:
    daemon = start().ready("m2:1b")
    whole = told(daemon)
    before = engines(daemon)["m2:1b"]["pid"]
    assert told(daemon, lambda: os.kill(the_runner(daemon, "m2:1b"), signal.SIGKILL)) == whole
    assert engines(daemon)["m2:1b"]["pid"] == before
    assert chat(daemon, "m2:1b").status == 200  # where the answer had come whole already, there is no runner yet
    runner = the_runner(daemon, "m2:1b")
    assert told(daemon, lambda: os.kill(before, signal.SIGKILL)) == whole
    wait_until(lambda: engines(daemon).get("m2:1b", {}).get("pid") != before, "the killed server is told no more")
    wait_until(lambda: not Path(f"/proc/{runner}").exists(), "the runner of the killed server has ended")
    assert daemon.backends()["ollama"]["health"] == "up"


def test_no_whole_answer_is_lost_with_the_runner_that_writes_it(start: Start) -> None:
    daemon = start(engine={"slots": 4}).ready("m2:1b")
    assert chat(daemon, "m2:1b").status == 200
    with ThreadPoolExecutor(20) as threads:
        asked = [threads.submit(chat, daemon, "m2:1b", tokens=100, stream=False) for _ in range(20)]
        wait_until(lambda: daemon.in_flight()["ollama"] > 2, "they are under way")
        time.sleep(0.2)
        os.kill(the_runner(daemon, "m2:1b"), signal.SIGKILL)
        replies = [each.result() for each in asked]
    assert [each.status for each in replies] == [200] * 20, [each.body for each in replies if each.status != 200]


def test_a_server_that_is_killed_leaves_no_runner_and_the_next_request_starts_another(start: Start) -> None:
    daemon = start().ready("m1:1b")
    chat(daemon)
    pid = engines(daemon)["m1:1b"]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: members(pid) == [], "nothing of it is left")
    assert chat(daemon, stream=False).status == 200


def test_a_reload_and_a_mode_switch_leave_a_process_alone(start: Start) -> None:
    daemon = start().ready("m1:1b")
    chat(daemon)
    before = members(engines(daemon)["m1:1b"]["pid"])
    text = daemon.config_file.read_text()
    daemon.write_config(text.replace("hardware: cpu", "hardware: cpu\n  characteristics: {power_watts: 11}"))
    with ThreadPoolExecutor(20) as threads:
        asked = [threads.submit(chat, daemon, stream=number % 2 == 1) for number in range(20)]
        daemon.signal(signal.SIGHUP)
        assert daemon.post("/efficiency", {"mode": "Performance"}).status == 200
        assert [each.result().status for each in asked] == [200] * 20
    wait_until(lambda: daemon.backends()["ollama"]["rated_power_watts"] == 11, "the reload is in force")
    assert members(engines(daemon)["m1:1b"]["pid"]) == before


def test_two_models_in_a_budget_for_one_take_turns(start: Start) -> None:
    budget = {"ram_gb": 0.25, "margin_gb": 0}
    daemon = start(env={ollama_program.BALLAST: "100000000"}, memory_budget=budget).ready("m1:1b", "m2:1b")
    with ThreadPoolExecutor(20) as threads:
        asked = [threads.submit(chat, daemon, f"m{1 + number % 2}:1b", stream=False) for number in range(20)]
        replies = [each.result() for each in asked]
    assert [each.status for each in replies] == [200] * 20, [each.body for each in replies if each.status != 200]
    assert len(engines(daemon)) == 1
    assert daemon.get("/status").json()["evictions_total"] >= 1


def test_an_unused_process_is_stopped_at_its_break_even_time(start: Start) -> None:
    shortest = {"characteristics": {"power_watts": 1, "idle_watts": 1000, "load_s": 0.1}}
    daemon = start(engine=shortest).ready("m1:1b")
    chat(daemon)
    pid = engines(daemon)["m1:1b"]["pid"]
    wait_until(lambda: members(pid) == [], "it is stopped")
    assert chat(daemon).status == 200


def test_the_next_daemon_takes_over_the_process_of_one_that_was_killed(start: Start) -> None:
    daemon = start().ready("m1:1b")
    chat(daemon)
    before = members(engines(daemon)["m1:1b"]["pid"])
    daemon.kill()
    again = start().ready("m1:1b")
    assert chat(again, stream=False).status == 200
    assert members(engines(again)["m1:1b"]["pid"]) == before
    assert "runs since an earlier start, and is taken over" in again.log.read_text()
    again.stop()
    assert members(before[0]) == []


def test_why_a_model_does_not_load_is_told_in_ollamas_words(start: Start) -> None:
    daemon = start(env={ollama_program.NEEDED: "m1:1b"}).ready("m1:1b")
    reply = chat(daemon, stream=False)
    assert (reply.status, "model requires more system memory (9.9 GiB)" in reply.json()["error"]) == (502, True)
    (ended,) = daemon.get("/status").json()["engines_ended"]
    assert (ended["model"], ended["reason_code"]) == ("m1:1b", "engine_not_loaded")
    assert "requires more system memory" in ended["reason"]
    assert chat(daemon, "m2:1b").status == 200


def test_a_pull_and_a_removal_are_done_by_a_process_without_a_model(start: Start, tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    registry.mkdir()
    (registry / "new:1b").write_bytes(weights(tmp_path, 1))
    slow = {"OLLAMA_FAKE_REGISTRY": str(registry), "OLLAMA_FAKE_PULL_S": "0.3"}
    daemon = start(env=slow).ready("m1:1b")
    chat(daemon)
    with ThreadPoolExecutor(1) as threads:
        pulled = threads.submit(daemon.post, "/api/pull", {"model": "new:1b"})
        wait_until(lambda: "(store)" in engines(daemon), "a process for the store runs")
        assert chat(daemon, stream=False).status == 200
        assert [each["status"] for each in pulled.result().lines()][-1] == "success"
    assert chat(daemon, "new:1b", stream=False).status == 200
    wait_until(lambda: "(store)" not in engines(daemon), "the process for the store has ended")
    assert daemon.post("/api/pull", {"model": "none:1b"}).lines()[-1] == {
        "error": "pull model manifest: file does not exist"
    }
    before = engines(daemon)["new:1b"]["pid"]
    assert ask(daemon.url, "DELETE", "/api/delete", {"model": "new:1b"}).status == 200
    assert "new:1b" not in daemon.models()
    wait_until(lambda: members(before) == [], "the process of the removed model has ended")


def test_a_removal_is_well_though_two_backends_have_the_same_store(start: Start, store: Path) -> None:
    daemon = start(second={"id": "other"}).ready("m1:1b")
    assert ask(daemon.url, "DELETE", "/api/delete", {"model": "m1:1b"}).status == 200
    assert "m1:1b" not in daemon.models()
    reply = ask(daemon.url, "DELETE", "/api/delete", {"model": "m1:1b"})
    assert (reply.status, b"not found" in reply.body) == (404, True)


def test_what_is_broken_in_the_store_is_told_and_costs_no_other_model(start: Start, store: Path) -> None:
    ollama_store.place(store, "torn:1b").write_text("{")
    daemon = start().ready("m1:1b")
    (told,) = daemon.get("/status").json()["models_unusable"]
    assert (told["backend"], told["reason_code"]) == ("ollama", "model_unusable")
    assert "it is no manifest of Ollama's store" in told["reason"]
    assert chat(daemon).status == 200
