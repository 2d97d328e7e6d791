"""Real llama-servers that the daemon runs itself, on tiny models of several sizes."""

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from scripts import make_tiny_gguf
from tests.e2e.harness import Daemon, Reply, StartDaemon, config_of, wait_until

pytestmark = pytest.mark.timeout(300)
FLAGS = ["--ctx-size", "{context}", "--parallel", "{slots}", "--kv-unified", "--jinja", "--offline", "-t", "1"]
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 6, "temperature": 0}
Start = Callable[..., Daemon]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six models, each larger than the one before."""
    folder = tmp_path_factory.mktemp("models")
    for number in range(6):
        shape = make_tiny_gguf.Shape(dim=128, ffn=256, layers=8 * (number + 1), seed=number + 1)
        make_tiny_gguf.build(folder / f"m{number}.gguf", shape)
    return folder


@pytest.fixture
def start(start_daemon: StartDaemon, llama_program: Path, models: Path, tmp_path: Path) -> Start:
    def start(
        *, folder: Path = models, program: Path = llama_program, env: dict[str, str] | None = None, **sections: Any
    ) -> Daemon:
        words = [str(program), "--model", "{model}", "--alias", "{name}", "--host", "127.0.0.1", "--port", "{port}"]
        engine = {"id": "llama", "hardware": "cpu", "command": [*words, *FLAGS], "context_tokens": 1024}
        engine |= sections.pop("engine", {})
        config = config_of(engines=[engine], models_dir=str(folder), **sections)
        return start_daemon(config, folder=tmp_path, env=env)

    return start


def chat(daemon: Daemon, model: str, **more: Any) -> Reply:
    return daemon.post("/v1/chat/completions", {**CHAT, "model": model, **more})


def processes(folder: Path) -> list[int]:
    """The engines that run with a model of a folder."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.startswith(os.fsencode(folder)) for word in words) and b"--alias" in words:
            found.append(int(each.parent.name))
    return sorted(found)


def test_models_are_listed_though_nothing_runs_and_the_first_request_starts_one(start: Start, models: Path) -> None:
    daemon = start().ready("m0", "m5")
    assert {each["name"] for each in daemon.get("/api/tags").json()["models"]} == {f"m{n}:latest" for n in range(6)}
    assert processes(models) == []
    reply = chat(daemon, "m1")
    assert (reply.status, reply.json()["model"]) == (200, "m1")
    (pid,) = processes(models)
    status = daemon.get("/status").json()
    (engine,) = status["engines"]
    assert (engine["model"], engine["phase"], engine["pid"], engine["in_use"]) == ("m1", "ready", pid, 0)
    assert (status["loads_total"], status["evictions_total"], status["draining_count"]) == (1, 0, 0)
    assert 0 < status["used_est_mb"] < status["budget_mb"]
    daemon.stop()
    assert processes(models) == []


def test_twenty_at_once_start_one_process_in_both_dialects(start: Start, models: Path) -> None:
    daemon = start().ready("m2")

    def ask(number: int) -> int:
        if number % 2:
            return chat(daemon, "m2", stream=number % 4 == 1).status
        body = {"model": "m2", "messages": CHAT["messages"], "options": {"num_predict": 6}, "stream": number % 4 == 0}
        return daemon.post("/api/chat", body).status

    with ThreadPoolExecutor(20) as threads:
        assert list(threads.map(ask, range(20))) == [200] * 20
    assert len(processes(models)) == 1


def test_an_engine_that_is_killed_is_started_again_by_the_next_request(start: Start, models: Path) -> None:
    daemon = start().ready("m0")
    assert chat(daemon, "m0").status == 200
    (pid,) = processes(models)
    os.kill(pid, signal.SIGKILL)
    assert chat(daemon, "m0").status == 200
    assert processes(models) != [pid]


def slow(program: Path, folder: Path) -> Path:
    """The program, but it takes a while to begin."""
    script = folder / "slow/llama-server"
    script.parent.mkdir()
    script.write_text(f"""#!/bin/sh
sleep 2
exec {program} "$@"
""")
    script.chmod(0o755)
    return script


def loading(daemon: Daemon) -> int:
    """The process of the one engine, while it loads; 0 where none does."""
    engines = daemon.get("/status").json()["engines"]
    return int(engines[0]["pid"] or 0) if engines and engines[0]["phase"] == "loading" else 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_an_engine_that_is_ended_while_it_loads_costs_no_answer(
    start: Start, models: Path, llama_program: Path, tmp_path: Path, how: signal.Signals
) -> None:
    daemon = start(program=slow(llama_program, tmp_path)).ready("m0")
    with ThreadPoolExecutor(20) as threads:
        asked = [threads.submit(chat, daemon, "m0", stream=number % 2 == 1) for number in range(20)]
        before = wait_until(lambda: loading(daemon), "it loads")
        os.kill(before, how)
        (ended,) = wait_until(lambda: daemon.get("/status").json()["engines_ended"], "its end is told")
        assert how.name in ended["reason"]
        assert [each.result().status for each in asked] == [200] * 20
    assert processes(models) != [before]
    told = daemon.get("/status").json()
    assert (told["engines_ended"], told["loads_total"], daemon.backends()["llama"]["health"]) == ([], 1, "up")


def test_an_engine_that_is_ended_each_time_it_loads_is_told_with_its_cause_and_remedy(
    start: Start, llama_program: Path, tmp_path: Path
) -> None:
    script = slow(llama_program, tmp_path)
    script.write_text("#!/bin/sh\nkill -KILL $$\n")
    daemon = start(program=script).ready("m0")
    reply = chat(daemon, "m0")
    said = reply.json()["error"]["message"]
    assert (reply.status, "its process was ended by SIGKILL" in said) == (502, True)
    assert "see ollama-proxyctl engines log llama m0" in said
    (ended,) = daemon.get("/status").json()["engines_ended"]
    assert ended["times"] == 4


def told(daemon: Daemon, model: str, kills: bool) -> str:
    """The words of a streamed answer; the engine is killed, if it is to be, once some of them have come."""
    said: list[str] = []
    with daemon.opened(
        "POST", "/v1/chat/completions", {**CHAT, "model": model, "max_tokens": 600, "stream": True}
    ) as answer:
        assert answer.status == 200
        for line in answer:
            if line.startswith(b"data: {"):
                frame = json.loads(line[6:])
                assert "error" not in frame, frame
                for each in frame["choices"]:
                    said += [each["delta"].get("reasoning_content") or "", each["delta"].get("content") or ""]
            if kills and len(said) > 10:
                kills = False
                os.kill(daemon.get("/status").json()["engines"][0]["pid"], signal.SIGKILL)
    return "".join(said)


def test_a_streamed_answer_goes_on_with_a_new_process_where_its_own_was_killed(start: Start) -> None:
    daemon = start().ready("m5")
    whole = told(daemon, "m5", kills=False)
    assert told(daemon, "m5", kills=True) == whole
    assert daemon.get("/status").json()["loads_total"] == 2
    assert daemon.backends()["llama"]["health"] == "up"


def test_no_whole_answer_is_lost_with_the_process_that_writes_it(start: Start, models: Path) -> None:
    daemon = start().ready("m5")
    assert chat(daemon, "m5").status == 200
    with ThreadPoolExecutor(20) as threads:
        asked = [threads.submit(chat, daemon, "m5", max_tokens=100) for _ in range(20)]
        wait_until(lambda: daemon.in_flight()["llama"] > 0, "they are under way")
        time.sleep(0.3)
        (pid,) = processes(models)
        os.kill(pid, signal.SIGKILL)
        replies = [each.result() for each in asked]
    assert [each.status for each in replies] == [200] * 20, [each.body for each in replies if each.status != 200]
    assert len({each.json()["choices"][0]["message"]["reasoning_content"] for each in replies}) == 1


def test_a_broken_file_is_told_by_the_engines_own_words(start: Start, models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "odd.gguf").write_bytes((models / "m3.gguf").read_bytes().replace(b"llama", b"klama"))
    (folder / "torn.gguf").write_bytes((models / "m3.gguf").read_bytes()[:-2_000_000])
    daemon = start(folder=folder).ready("odd")
    assert daemon.models() == {"odd"}
    (torn,) = daemon.get("/status").json()["models_unusable"]
    assert (torn["backend"], torn["reason_code"]) == ("llama", "model_unusable")
    assert torn["reason_details"]["path"] == str(folder / "torn.gguf")
    reply = chat(daemon, "odd")
    (ended,) = daemon.get("/status").json()["engines_ended"]
    assert (ended["model"], ended["reason_code"]) == ("odd", "engine_not_loaded")
    assert reply.status == 502
    assert "could not load model 'odd': its process ended with status" in reply.json()["error"]["message"]
    assert daemon.backends()["llama"]["reason_details"]["reason"]["reason_code"] == "fails_not_loaded"


def test_a_model_that_can_never_fit_is_refused_with_the_numbers(start: Start, models: Path) -> None:
    daemon = start(memory_budget={"ram_gb": 0.1}).ready()
    for path, body in (("/v1/chat/completions", CHAT), ("/api/chat", CHAT)):
        reply = daemon.post(path, {**body, "model": "m0"})
        assert reply.status == 507, reply.body
        assert b"engines may have 0.1 GB" in reply.body
    assert processes(models) == []


def test_a_reload_leaves_the_process_alone_and_a_changed_command_replaces_it(start: Start, models: Path) -> None:
    daemon = start().ready("m0")
    chat(daemon, "m0")
    before = processes(models)
    text = daemon.config_file.read_text()
    daemon.write_config(text.replace("hardware: cpu", "hardware: cpu\n  characteristics: {power_watts: 11}"))
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: daemon.backends()["llama"]["rated_power_watts"] == 11, "the reload is in force")
    assert processes(models) == before
    daemon.write_config(text.replace("context_tokens: 1024", "context_tokens: 2048"))
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: processes(models) == [], "the old process has ended")
    assert chat(daemon, "m0").status == 200


def test_an_unused_engine_is_stopped_at_its_break_even_time(start: Start, models: Path) -> None:
    shortest = {"characteristics": {"power_watts": 1, "idle_watts": 1000, "load_s": 0.1}}
    daemon = start(engine=shortest).ready("m0")
    chat(daemon, "m0")
    assert len(processes(models)) == 1
    wait_until(lambda: processes(models) == [], "it is stopped")
    assert chat(daemon, "m0").status == 200


def variables(pid: int) -> set[bytes]:
    return set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))


def test_a_feature_flag_starts_a_process_anew_once_its_answers_have_ended(start: Start, models: Path) -> None:
    daemon = start().ready("m0")
    assert chat(daemon, "m0").status == 200
    (before,) = processes(models)
    told = daemon.post("/api/features", {"feature": "low_vram", "enabled": True}).json()
    (flag,) = [each for each in told if each["id"] == "low_vram"]
    assert (flag["enabled"], flag["backends"][0]["way"]) == (True, "restart")
    with ThreadPoolExecutor(20) as threads:
        assert [reply.status for reply in threads.map(lambda _: chat(daemon, "m0"), range(20))] == [200] * 20
    wait_until(lambda: len(processes(models)) == 1, "the earlier process to end")
    (after,) = processes(models)
    assert after != before
    assert b"LLAMA_ARG_CACHE_TYPE_K=q8_0" in variables(after)
    daemon.signal(signal.SIGHUP)
    assert chat(daemon, "m0").status == 200
    assert processes(models) == [after]


def engines_of(daemon: Daemon) -> dict[str, tuple[int, int, str]]:
    """Pid, port and phase of each engine, by its model."""
    return {
        each["model"]: (each["pid"], each["port"], each["phase"]) for each in daemon.get("/status").json()["engines"]
    }


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A runtime folder; a socket's path has to be short."""
    with tempfile.TemporaryDirectory(prefix="run-") as folder:
        yield Path(folder)


USUAL: dict[str, Any] = {"command": [], "environment": ["LLAMA_ARG_THREADS=1"]}
"""The usual command, which has the engine behind a socket."""


def with_program(runtime: Path, folder: Path) -> dict[str, str]:
    """The variables of a daemon that finds its program in a folder, and has this runtime folder."""
    return {"XDG_RUNTIME_DIR": str(runtime), "PATH": f"{folder}:{os.environ['PATH']}"}


def sockets(runtime: Path) -> list[str]:
    return sorted(str(each) for each in (runtime / "ollama-proxyd/engines").glob("*.sock"))


def test_the_usual_command_has_an_engine_behind_a_socket(
    start: Start, models: Path, runtime: Path, llama_program: Path
) -> None:
    env = with_program(runtime, llama_program.parent)
    daemon = start(engine=USUAL, env=env).ready("m0", "m1")
    with ThreadPoolExecutor(20) as threads:
        asked = threads.map(lambda number: chat(daemon, "m0", stream=number % 2 == 1).status, range(20))
        assert list(asked) == [200] * 20
    (engine,) = daemon.get("/status").json()["engines"]
    assert ([engine["socket"]], engine["port"]) == (sockets(runtime), None)
    assert Path(engine["socket"]).parent.stat().st_mode & 0o777 == 0o700
    (pid,) = processes(models)
    os.kill(pid, signal.SIGKILL)
    assert chat(daemon, "m0").status == 200
    wait_until(lambda: len(sockets(runtime)) == 1, "the file of the one that was killed is gone")
    daemon.kill()

    again = start(engine=USUAL, env=env).ready("m0", "m1")
    assert chat(again, "m0").status == 200
    assert processes(models) != [pid]
    assert "runs since an earlier start, and is taken over" in again.log.read_text()
    assert [each["socket"] for each in again.get("/status").json()["engines"]] == sockets(runtime)
    again.stop()
    assert (processes(models), sockets(runtime)) == ([], [])


def test_an_engine_that_hangs_is_replaced_without_loss(start: Start, models: Path) -> None:
    daemon = start(monitoring={"health_interval_s": 2, "health_timeout_s": 2}, upstream={"probe_s": 1}).ready(
        "m0", "m1"
    )
    assert chat(daemon, "m0").status == 200
    (before,) = processes(models)
    os.kill(before, signal.SIGSTOP)
    with ThreadPoolExecutor(20) as threads:
        asked = [threads.submit(chat, daemon, "m0", stream=number % 2 == 1) for number in range(19)]
        assert chat(daemon, "m1").status == 200
        assert [each.result().status for each in asked] == [200] * 19
    assert before not in processes(models)
    assert "m0 answered nothing any more, and was ended" in daemon.log.read_text()


def test_an_engine_leaves_when_its_file_is_gone(start: Start, models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    (folder / "m0.gguf").write_bytes((models / "m0.gguf").read_bytes())
    daemon = start(folder=folder, monitoring={"health_interval_s": 1, "health_timeout_s": 1}).ready("m0")
    assert chat(daemon, "m0").status == 200
    (folder / "m0.gguf").unlink()
    wait_until(lambda: processes(folder) == [], "it has left")
    wait_until(lambda: daemon.get("/status").json()["engines"] == [], "it is told of no more")


def test_an_engine_whose_socket_is_removed_is_replaced_without_loss(
    start: Start, models: Path, runtime: Path, llama_program: Path
) -> None:
    daemon = start(engine=USUAL, env=with_program(runtime, llama_program.parent)).ready("m0")
    assert chat(daemon, "m0").status == 200
    (before,) = processes(models)
    (file,) = sockets(runtime)
    Path(file).unlink()
    with ThreadPoolExecutor(20) as threads:
        asked = threads.map(lambda number: chat(daemon, "m0", stream=number % 2 == 1).status, range(20))
        assert list(asked) == [200] * 20
    wait_until(lambda: before not in processes(models), "the one that nothing reaches has ended")
    assert "runs, but not where it listened, and is replaced" in daemon.log.read_text()


LONG: dict[str, Any] = {
    "messages": [{"role": "system", "content": "You are careful. " * 40}, {"role": "user", "content": "hello"}],
    "max_tokens": 4,
    "temperature": 0,
}


@pytest.mark.parametrize("program", [{}, USUAL])
def test_a_prompt_outlives_its_engine_on_the_disk(
    start: Start, models: Path, runtime: Path, llama_program: Path, tmp_path: Path, program: dict[str, Any]
) -> None:
    env, saved = with_program(runtime, llama_program.parent), tmp_path / "state/ollama-proxyd/prompts/llama"

    def cached(daemon: Daemon) -> tuple[int, int]:
        """Tokens of the prompt that were read anew, and those that were held."""
        timings = chat(daemon, "m3", **LONG).json()["timings"]
        return timings["prompt_n"], timings["cache_n"]

    daemon = start(engine=program, env=env, saved_prompts={"max_gb": 0.5}).ready("m3")
    whole, held = cached(daemon)
    assert held == 0
    assert daemon.post("/models/unload", {"model": "m3"}).status == 200
    wait_until(lambda: processes(models) == [], "the engine has ended")
    (file,) = saved.iterdir()
    assert (file.stat().st_mode & 0o777, saved.stat().st_mode & 0o777) == (0o600, 0o700)
    daemon.stop()

    again = start(engine=program, env=env, saved_prompts={"max_gb": 0.5}).ready("m3")
    assert chat(again, "m3", messages=[{"role": "user", "content": "another one. " * 200}]).status == 200
    assert list(saved.iterdir()) == [file], "another conversation has no need of it"
    read, held = cached(again)
    assert read + held == whole
    assert read < whole / 2
    assert list(saved.iterdir()) == []
    state = again.get("/status").json()["saved_prompts"]
    assert (state["read_tokens_total"] >= held, state["files"], state["reason"]) == (True, 0, None)
    again.stop()
    assert len(list(saved.iterdir())) == 1
    start(engine=program, env=env).ready("m3")
    wait_until(lambda: not saved.exists(), "what was saved is removed where nothing is to be kept")


def test_a_program_that_knows_no_sockets_gets_a_port(
    start: Start, models: Path, runtime: Path, llama_program: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old/llama-server"
    old.parent.mkdir()
    old.write_text(f"""#!/bin/sh
case "$*" in *.sock*) echo "couldn't bind HTTP server socket" >&2; exit 1;; esac
exec {llama_program} "$@"
""")
    old.chmod(0o755)
    daemon = start(engine=USUAL, env=with_program(runtime, old.parent)).ready("m0", "m1")
    assert [chat(daemon, model).status for model in ("m0", "m1")] == [200, 200]
    assert all(each["port"] and each["socket"] is None for each in daemon.get("/status").json()["engines"])
    assert daemon.get("/status").json()["engines_ended"] == []
    assert daemon.log.read_text().count("made no Unix socket") == 1


def test_engines_outlive_a_daemon_that_is_killed_and_the_next_one_takes_them_over(start: Start, models: Path) -> None:
    daemon = start().ready("m0", "m1")
    assert [chat(daemon, model).status for model in ("m0", "m1")] == [200, 200]
    before, running = engines_of(daemon), processes(models)
    daemon.kill()
    assert processes(models) == running
    (notes,) = daemon.folder.glob("state/ollama-proxyd/engines/running-*.json")
    assert notes.stat().st_mode & 0o777 == 0o600

    again = start().ready("m0", "m1")
    with ThreadPoolExecutor(20) as threads:
        replies = list(threads.map(lambda number: chat(again, f"m{number % 2}").status, range(20)))
    assert replies == [200] * 20
    assert engines_of(again) == before
    assert processes(models) == running
    again.stop()
    assert processes(models) == []
    assert list(again.folder.glob("state/ollama-proxyd/engines/running-*.json")) == []


def test_a_daemon_that_is_killed_while_engines_load_leaves_no_orphan(start: Start, models: Path) -> None:
    daemon = start().ready("m5")
    waiting = [daemon.sent("POST", "/v1/chat/completions", {**CHAT, "model": f"m{number}"}) for number in (3, 4, 5)]
    wait_until(lambda: processes(models), "an engine runs")
    daemon.kill()
    for connection in waiting:
        connection.close()
    again = start(engine={"context_tokens": 2048}).ready("m5")
    wait_until(lambda: processes(models) == [], "what would be started otherwise now has ended")
    assert chat(again, "m5").status == 200
    assert len(processes(models)) == 1


def test_engines_are_ended_where_none_is_configured_any_more(
    start: Start, start_daemon: StartDaemon, models: Path
) -> None:
    daemon = start().ready("m0")
    assert chat(daemon, "m0").status == 200
    daemon.kill()
    start_daemon(config_of(), folder=daemon.folder).alive()
    wait_until(lambda: processes(models) == [], "the engine of the daemon before has ended")


def test_batching_sets_the_slots_of_processes_and_a_context_that_is_lean_already_stays(
    start: Start, models: Path
) -> None:
    daemon = start().ready("m0")
    flags = {}
    for feature in ("batching", "lean_context"):
        told = daemon.post("/api/features", {"feature": feature, "enabled": True}).json()
        (flags[feature],) = [each for each in told if each["id"] == feature]
    assert (flags["batching"]["enabled"], flags["batching"]["backends"][0]["way"]) == (True, "restart")
    assert flags["lean_context"]["enabled"] is False
    assert "1024 tokens of context are configured" in flags["lean_context"]["backends"][0]["reason"]
    assert chat(daemon, "m0").status == 200
    words = Path(f"/proc/{processes(models)[0]}/cmdline").read_bytes().split(b"\0")
    assert (words[words.index(b"--parallel") + 1], words[words.index(b"--ctx-size") + 1]) == (b"8", b"1024")
