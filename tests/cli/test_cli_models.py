"""`models` and `engines`: what is where, loading with its progress, stopping, and what an engine wrote."""

import asyncio
import json
from collections.abc import Callable, Iterator
from socket import socket

import pytest

from ollama_proxyd.core.events import Accepted, Finished, FinishReason
from ollama_proxyd.core.fleet import LoadedModel
from ollama_proxyd.core.management import Managed
from tests.cli.conftest import Ctl, ServedDaemon
from tests.cli.program import Start
from tests.fakes import FakeBackend
from tests.services.engines.machine import ONE_GB_MODEL, Case
from tests.services.engines.run_by_us import RunByUs, with_pool

LOADS = (Accepted(), Finished(FinishReason.LOAD))
PULLS = (
    Managed(200, "application/x-ndjson"),
    b'{"status":"pulling manifest"}\n{"status":"pulling abc","total":200,"completed":50}\n{"status":"success"}\n',
)


@pytest.fixture
def case() -> Case:
    return Case()


@pytest.fixture
def ours(serve: Callable[..., ServedDaemon], control_socket: socket, case: Case) -> Iterator[ServedDaemon]:
    """A daemon that runs engines, of two models."""
    daemon = serve(RunByUs(case, "big", "small"))
    daemon.services = with_pool(daemon.services, case)
    daemon.listen(control_socket)
    yield daemon
    daemon.run(case.pool.close())


@pytest.fixture
def ollama(serve: Callable[..., ServedDaemon], control_socket: socket) -> FakeBackend:
    """An Ollama with a model in memory."""
    backend = FakeBackend("npu", *LOADS, loaded=(LoadedModel("tiny:latest"),))
    backend.management = PULLS
    serve(backend).listen(control_socket)
    return backend


def test_an_engine_is_started_with_its_progress_and_stopped(ours: ServedDaemon, ctl: Ctl, case: Case) -> None:
    case.machine.sizes["big"] = int(0.405 * ONE_GB_MODEL)
    assert "nothing runs" in ctl("engines").output
    started = ctl("engines", "start", "llama", "big")
    assert "llama big loading" in started.stderr
    assert "big is loaded at llama after" in started.stdout
    told = ctl("engines").output
    assert "llama   big    ready  ram" in told
    assert "memory ram:" in told
    assert "llama-big spoke" in ctl("engines", "log", "llama").output
    assert ctl("engines", "stop", "llama").output == "stopped at llama: big\n"
    assert ctl("engines", "stop", "llama").output == "stopped at llama: nothing ran\n"


def test_why_an_engine_ended_stands_below_those_that_run(ours: ServedDaemon, ctl: Ctl, case: Case) -> None:
    case.machine.dies.add("small")
    failed = ctl("models", "load", "small")
    assert (failed.exit_code, "could not load model 'small'" in failed.stderr) == (1, True)
    assert "llama: " in ctl("engines").output
    assert "ended with status 1" in ctl("engines").output
    assert json.loads(ctl("engines", "--json").stdout)["engines_ended"][0]["model"] == "small"


def test_a_log_is_followed_from_as_many_lines_as_are_asked_for_until_the_daemon_ends(
    ours: ServedDaemon, ctl: Ctl, start: Start, case: Case
) -> None:
    case.machine.wrote, case.machine.says = ["one", "two"], asyncio.Queue()
    ctl("models", "load", "big")
    following = start("engines", "log", "llama", "-n", "2", "--follow")
    assert (following.line(), following.line()) == ("two", "llama-big spoke")
    ours.leave()
    status, _, error = following.finish()
    assert (status, "has ended; start it with: ollama-proxyd" in error) == (69, True)


def test_models_are_shown_with_where_they_are_in_memory(ours: ServedDaemon, ctl: Ctl) -> None:
    ctl("models", "load", "big")
    told = ctl("models").output
    assert "llama ready" in told
    assert "llama not told" in told or "llama on disk" in told


def test_each_step_of_loading_is_a_line_of_json_for_programs(ours: ServedDaemon, ctl: Ctl) -> None:
    steps = [json.loads(line) for line in ctl("models", "load", "big", "--json").stdout.splitlines()]
    assert (steps[0]["status"], steps[-1]["status"]) == ("loading", "success")


def test_models_are_unloaded_anywhere(ollama: FakeBackend, ctl: Ctl) -> None:
    assert "npu in memory" in ctl("models").output
    assert "npu let go of it" in ctl("models", "unload", "tiny").output
    assert ollama.unloaded == ["tiny:latest"]


def test_a_pull_shows_each_step_and_ends_in_one_sentence(ollama: FakeBackend, ctl: Ctl) -> None:
    result = ctl("models", "pull", "new", "--backend", "npu")
    assert result.stdout == "new is here\n"
    assert result.stderr.splitlines() == ["pulling manifest", "pulling abc", "success"]


def test_a_pull_that_fails_on_its_way_is_a_failure(ollama: FakeBackend, ctl: Ctl) -> None:
    ollama.management = (*PULLS[:1], b'{"status":"pulling manifest"}\n{"error":"no space left on device"}\n')
    result = ctl("models", "pull", "new")
    assert (result.exit_code, "no space left on device" in result.stderr) == (1, True)


def test_what_is_not_there_is_told_with_what_there_is(ollama: FakeBackend, ctl: Ctl) -> None:
    assert "not found" in ctl("models", "load", "nothing").stderr
    assert "is no engine that the proxy runs" in ctl("engines", "stop", "npu").stderr
    assert "no engine of npu runs" in ctl("engines", "log", "npu").stderr
