"""The API tests of openai, anthropic and llama.cpp: what passes at a llama-server passes through the daemon."""

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

from tests.e2e.harness import LlamaServer, Server, StartDaemon, StartLlama, config_of, llama
from tests.real_things import installed

CHAT, EMBEDDINGS, RERANKING = (), ("--embeddings", "--pooling", "mean"), ("--embeddings", "--pooling", "rank")
NAMES = (
    *("claude-opus-5-5", "claude-test", "dummy", "gpt-3.5-turbo", "gpt-3.5-turbo-instruct", "gpt-4.1", "gpt-6-astra"),
    *("model", "string", "test", "text-embedding-3-small"),
)
"""What the suites call the model."""
RUN_S = 280
OWN_ROUTES = "a route of llama-server's own, which no client of OpenAI, Ollama or Anthropic has"


class Suite(NamedTuple):
    """One suite: where it is, how it is told the server, and which failures of the daemon are meant, by what reason."""

    folder: str
    environment: Callable[[Server], Mapping[str, str]]
    files: Sequence[str]
    flags: Sequence[str] = CHAT
    options: Sequence[str] = ()
    meant: Mapping[str, str] = MappingProxyType({})
    least: int = 1
    """So many pass directly, else the suite has not run."""


def of_sdk(prefix: str) -> Callable[[Server], Mapping[str, str]]:
    return lambda server: {"TEST_API_BASE_URL": f"{server.url}{prefix}"}


def of_llamacpp(server: Server) -> Mapping[str, str]:
    return {"DEBUG_EXTERNAL": "1", "PORT": server.url.rpartition(":")[2]}


LLAMACPP = "llama_cpp_python-*/vendor/llama.cpp/tools/server/tests"
ONE_CLIENT = ("-k", "not aiohttp and not strict")
"""Each test is there once for each of the SDK's HTTP clients, and once more with answers checked strictly."""
SUITES = {
    "openai": Suite(
        "openai-*",
        of_sdk("/v1"),
        [
            f"tests/api_resources/{name}"
            for name in ("test_completions.py", "test_models.py", "test_responses.py", "chat")
        ],
        options=ONE_CLIENT,
        least=40,
    ),
    "openai-embeddings": Suite(
        "openai-*", of_sdk("/v1"), ["tests/api_resources/test_embeddings.py"], EMBEDDINGS, ONE_CLIENT, least=6
    ),
    "anthropic": Suite(
        "anthropic-*",
        of_sdk(""),
        ["tests/api_resources/test_messages.py", "tests/api_resources/test_models.py"],
        options=ONE_CLIENT,
        meant={"deprecated_model_warning": "it asks for models that are not there"},
        least=20,
    ),
    "llama.cpp": Suite(
        LLAMACPP,
        of_llamacpp,
        [
            f"unit/{name}.py"
            for name in ("test_basic", "test_chat_completion", "test_compat_anthropic", "test_compat_oai_responses")
        ],
        meant={
            "token_count|thinking_history_in_template|test_logit_bias": OWN_ROUTES,
            "multiple_choices": "it chooses a slot, which is the daemon's to choose",
            "anthropic_empty_messages": "Anthropic's API refuses what has no messages",
            "image|vision": "the daemon says 400 of an image that the model cannot see, llama-server says 500",
        },
        least=30,
    ),
    "llama.cpp-embeddings": Suite(LLAMACPP, of_llamacpp, ["unit/test_embedding.py"], EMBEDDINGS, least=20),
    "llama.cpp-reranking": Suite(LLAMACPP, of_llamacpp, ["unit/test_rerank.py"], RERANKING, least=10),
}


def passed(suite: Suite, server: Server, found: Path) -> set[str]:
    """The names of the tests that pass at a server."""
    home = Path(installed("install-client-suites"))
    folder = next((home / "suites").glob(suite.folder))
    command: list[str] = [
        str(home / "env" / "bin" / "python"),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        "--timeout=60",
    ]
    subprocess.run(
        [*command, f"--junitxml={found}", *suite.options, *suite.files],
        cwd=folder,
        env={**os.environ, **suite.environment(server), "PYTEST_ADDOPTS": "", "NO_PROXY": "*"},
        capture_output=True,
        timeout=RUN_S,
        check=False,
    )
    cases = ElementTree.parse(found).iter("testcase")
    return {f"{case.get('classname')}::{case.get('name')}" for case in cases if len(case) == 0}


@pytest.mark.parametrize("name", SUITES)
def test_what_passes_directly_passes_through_the_daemon(
    start_llama: StartLlama, start_daemon: StartDaemon, tmp_path: Path, name: str
) -> None:
    suite = SUITES[name]
    engine: LlamaServer = start_llama("tiny", *suite.flags).ready()
    daemon = start_daemon(config_of(llama("engine", engine), models={"tiny": list(NAMES)})).ready("tiny")
    directly = passed(suite, engine, tmp_path / "directly.xml")
    through = passed(suite, daemon, tmp_path / "through.xml")
    print(f"{name}: {len(directly)} pass directly, {len(through)} through the daemon")  # noqa: T201 - read in CI
    print("only through the daemon:", *sorted(through - directly), sep="\n  ")  # noqa: T201
    lost = {each for each in directly - through if not any(re.search(kind, each) for kind in suite.meant)}
    assert not lost
    assert len(directly) >= suite.least
