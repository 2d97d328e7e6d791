"""The gRPC door of a whole daemon, with a client of generated code in another process."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from grpc_tools import protoc

from ollama_proxyd.app.sources import Demo
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.edges import grpc_api
from tests.app.conftest import Start
from tests.app.test_reload import CALM, END, FRAME
from tests.real_things import ROOT
from tests.upstreams.engines import openai_list
from tests.upstreams.fake_engines import FakeEngine, Handler, Says, serving

CONFIG: dict[str, Any] = {**CALM, "server": {"grpc_port": 0}, "routing": {"retries": 0}}
STREAMS = 20


def held(let_go: asyncio.Event) -> Handler:
    """An answer that goes on when it is let go."""

    async def chat(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(FRAME)
        await let_go.wait()
        await response.write(FRAME + END)
        return response

    return chat


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Any]:
    """Starts the client, for a port and targets."""
    folder = tmp_path / "made"
    folder.mkdir()
    proto = Path(grpc_api.__file__).parent
    assert (
        protoc.main(["", f"-I{proto}", f"--python_out={folder}", f"--grpc_python_out={folder}", "compute.proto"]) == 0
    )
    running: list[asyncio.subprocess.Process] = []

    async def start(port: int, *targets: str) -> asyncio.subprocess.Process:
        command = [sys.executable, "-m", "tests.app.grpc_client", str(folder), str(port), str(STREAMS), *targets]
        running.append(await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE))
        return running[-1]

    yield start
    for each in running:
        if each.returncode is None:
            each.kill()
        await each.communicate()


async def test_twenty_streams_go_on_over_a_reload_a_switch_of_the_mode_and_the_end_of_a_backend(
    start: Start, client: Any
) -> None:
    let_go = asyncio.Event()
    routes = {"GET /v1/models": Says(openai_list("m")), "POST /v1/chat/completions": held(let_go)}
    async with AsyncExitStack() as stack:
        stays = await stack.enter_async_context(serving(FakeEngine(routes)))
        dies = serving(FakeEngine(routes))
        backends = [
            {"id": name, "type": "openai", "endpoint": url, "slots": STREAMS}
            for name, url in (("stays", stays.url), ("dies", (await dies.__aenter__()).url))
        ]
        running = await start({**CONFIG, "backends": backends}, Demo.NEVER)
        port = running.daemon.grpc_port
        assert port is not None
        program = await client(port, "stays", "dies")
        async with asyncio.timeout(30):
            assert await program.stdout.readline() == b"begun\n"
            await running.rewrite({**CONFIG, "backends": backends, "monitoring": {"log_level": "warning"}})
            async with running.client.post(f"{running.daemon.url}/efficiency", json={"mode": "Performance"}) as reply:
                assert reply.status == 200
            assert running.daemon.grpc_port == port
            await dies.__aexit__(None, None, None)
            let_go.set()
            told = json.loads(await program.stdout.readline())
    assert [each["text"] for each in told if each["target"] == "stays"] == ["xx"] * (STREAMS // 2)
    assert all(each["reason"] and each["backend"] == each["target"] for each in told)
    ends = {(each["target"], each["done"], each["code"]) for each in told}
    assert ends == {("stays", True, "OK"), ("dies", False, "UNAVAILABLE")}
    outcomes = running.services.ledger.recent()
    assert len(outcomes) == STREAMS, "each is in the books"
    assert all(view.in_flight == 0 for view in running.services.fleet.views.value)


async def test_where_it_is_served_is_told_by_the_version(start: Start) -> None:
    running = await start(CONFIG, Demo.NEVER)
    async with running.client.get(f"{running.daemon.url}/version") as reply:
        assert (await reply.json())["grpc_endpoint"] == f"127.0.0.1:{running.daemon.grpc_port}"


async def test_nothing_of_grpc_is_imported_unless_it_is_asked_for() -> None:
    code = "import sys, ollama_proxyd.app.daemon; sys.exit(any(n in sys.modules for n in ('grpc', 'google.protobuf')))"
    program = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT)
    assert await program.wait() == 0


async def test_a_missing_package_is_named_with_what_to_do(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("ollama_proxyd.edges.grpc_api.")]:
        if not name.endswith((".settings", ".compute_pb2")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(ProxyError, match=r"server\.grpc_port is set, and the Python package grpc is not installed"):
        await start(CONFIG)
