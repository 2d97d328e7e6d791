"""A fleet of real llama-servers and the daemon in front of it, for the tests of this folder."""

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import tiny_model
from tests.e2e.harness import (
    ROOT,
    Daemon,
    Fleet,
    LlamaServer,
    Server,
    StartDaemon,
    StartLlama,
    config_of,
    llama,
)
from tests.real_things import installed

_running: list[Server] = []
collect_ignore = ["test_real_mlx.py"] if os.environ.get("TESTS_SKIP_NOTHING") else []
"""CI, in which nothing is skipped, has no two minutes for the packages and starts of mlx_lm.server."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """A failed test shows what the daemon wrote last."""
    report: Any = yield
    if report.failed:
        for server in _running:
            if isinstance(server, Daemon):
                report.sections.append((f"last words of {server.log}", server.log_tail()))
    return report


@pytest.fixture(autouse=True)
def _no_web_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def llama_program() -> Path:
    return Path(installed("install-llama-server"))


@pytest.fixture(scope="session")
def node_clients() -> Path:
    installed("install-node-clients")
    return ROOT / "tests" / "e2e" / "node"


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.build(tmp_path_factory.mktemp("model") / "tiny.gguf")


def _keep(stack: ExitStack, server: Server) -> None:
    _running.append(server)
    stack.callback(_running.remove, server)
    stack.callback(server.stop)


def _llama_starter(stack: ExitStack, program: Path, model: Path, folder: Path) -> StartLlama:
    def start(alias: str, *flags: str, port: int = 0) -> LlamaServer:
        server = LlamaServer(program, model, alias, folder, *flags, port=port)
        _keep(stack, server)
        return server

    return start


def _daemon_starter(stack: ExitStack, parent: Path) -> StartDaemon:
    def start(
        config: dict[str, Any],
        folder: Path | None = None,
        env: dict[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> Daemon:
        folder = folder or parent / f"daemon-{config['server']['http_port']}"
        folder.mkdir(exist_ok=True)
        daemon = Daemon(folder, config, env, options)
        _keep(stack, daemon)
        return daemon

    return start


@pytest.fixture(scope="session")
def _session_stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_llama(llama_program: Path, model_file: Path, tmp_path: Path) -> Iterator[StartLlama]:
    """Starts a llama-server that lives as long as the test: `start_llama(alias, *flags, port=0)`."""
    with ExitStack() as stack:
        yield _llama_starter(stack, llama_program, model_file, tmp_path)


@pytest.fixture
def start_daemon(tmp_path: Path) -> Iterator[StartDaemon]:
    """Starts a daemon that lives as long as the test: `start_daemon(config, folder=None, env=None, options=())`."""
    with ExitStack() as stack:
        yield _daemon_starter(stack, tmp_path)


@pytest.fixture(scope="session")
def fleet(
    llama_program: Path, model_file: Path, tmp_path_factory: pytest.TempPathFactory, _session_stack: ExitStack
) -> Fleet:
    start = _llama_starter(_session_stack, llama_program, model_file, tmp_path_factory.mktemp("fleet"))
    started = Fleet(
        tiny=start("tiny"),
        calm=start("calm", "--reasoning", "off"),
        tinyembed=start("tinyembed", "--embeddings", "--pooling", "mean"),
    )
    for server in (started.tiny, started.calm, started.tinyembed):
        server.ready()
    return started


@pytest.fixture(scope="session")
def session_daemons(tmp_path_factory: pytest.TempPathFactory, _session_stack: ExitStack) -> StartDaemon:
    """Starts a daemon that lives as long as the session, for tests that change nothing in it."""
    return _daemon_starter(_session_stack, tmp_path_factory.mktemp("daemons"))


@pytest.fixture(scope="session")
def daemon(fleet: Fleet, session_daemons: StartDaemon) -> Daemon:
    """The daemon in front of the whole fleet; tests that change its state start one of their own."""
    config = config_of(
        llama("thinker", fleet.tiny, hardware="nvidia"),
        llama("talker", fleet.calm, hardware="igpu"),
        llama("embedder", fleet.tinyembed, hardware="npu"),
    )
    return session_daemons(config).ready("tiny", "calm", "tinyembed")
