"""Ollama's own Python client, as it is published, manages the models of stand-ins for Ollama through the daemon."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import ollama
import pytest
from aiohttp import web

from tests.e2e.harness import Daemon, config_of

pytestmark = pytest.mark.real


class StandIn:
    """Keeps models and files as Ollama does, as far as its answers show."""

    def __init__(self, *models: str) -> None:
        self.models = set(models)
        self.blobs: dict[str, bytes] = {}
        self.loaded: set[str] = set()
        self.left = asyncio.Event()
        """Set when a client left in the middle of a pull."""

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**30)
        app.add_routes(
            [
                web.get("/", _says("Ollama is running")),
                web.get("/api/version", _says({"version": "0.33.0"})),
                web.get("/api/ps", self.ps),
                web.post("/api/generate", self.generate),
                web.get("/api/tags", self.tags),
                web.post("/api/show", _says({"capabilities": ["completion"]})),
                web.post("/api/pull", self.pull),
                web.post("/api/create", self.create),
                web.post("/api/copy", self.copy),
                web.delete("/api/delete", self.delete),
                web.get("/api/blobs/{digest}", self.has_blob),
                web.post("/api/blobs/{digest}", self.take_blob),
            ]
        )
        return app

    async def tags(self, _: web.Request) -> web.Response:
        rows = [{"name": name, "model": name, "digest": "a" * 64, "details": {}} for name in sorted(self.models)]
        return web.json_response({"models": rows})

    async def ps(self, _: web.Request) -> web.Response:
        return web.json_response({"models": [{"name": name, "model": name, "size": 1} for name in sorted(self.loaded)]})

    async def generate(self, request: web.Request) -> web.Response:
        """Loads and unloads, as a request without a prompt does."""
        asked = await request.json()
        (self.loaded.discard if asked.get("keep_alive") == 0 else self.loaded.add)(asked["model"])
        done = {"model": asked["model"], "created_at": "2027-01-15T00:00:00Z", "response": "", "done": True}
        return web.json_response({**done, "done_reason": "unload" if asked.get("keep_alive") == 0 else "load"})

    async def pull(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        if asked["model"] == "missing":
            return await _lines(request, [{"status": "pulling manifest"}, {"error": "file does not exist"}])
        if asked["model"] == "endless":
            try:
                return await _lines(request, [{"status": "pulling manifest"}], hangs=True)
            except asyncio.CancelledError:
                self.left.set()
                raise
        self.models.add(f"{asked['model']}:latest")
        if asked.get("stream") is False:
            return web.json_response({"status": "success"})
        pulled = {"status": "pulling aaaaaaaaaaaa", "digest": "sha256:a", "total": 10, "completed": 10}
        return await _lines(request, [{"status": "pulling manifest"}, pulled, {"status": "success"}])

    async def create(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        assert all(digest in self.blobs for digest in (asked.get("files") or {}).values())
        self.models.add(f"{asked['model']}:latest")
        return web.json_response({"status": "success"})

    async def copy(self, request: web.Request) -> web.Response:
        self.models.add(f"{(await request.json())['destination']}:latest")
        return web.Response()

    async def delete(self, request: web.Request) -> web.Response:
        asked = (await request.json())["model"]
        name = asked if ":" in asked else f"{asked}:latest"
        if name not in self.models:
            return web.json_response({"error": f"model '{name}' not found"}, status=404)
        self.models.remove(name)
        return web.Response()

    async def has_blob(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if request.match_info["digest"] in self.blobs else 404)

    async def take_blob(self, request: web.Request) -> web.Response:
        body, digest = await request.read(), request.match_info["digest"]
        if digest != f"sha256:{hashlib.sha256(body).hexdigest()}":
            return web.json_response({"error": "digest mismatch"}, status=400)
        self.blobs[digest] = body
        return web.Response(status=201)


def _says(what: str | dict[str, Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=what) if isinstance(what, str) else web.json_response(what)

    return answer


async def _lines(request: web.Request, lines: list[dict[str, Any]], *, hangs: bool = False) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    for line in lines:
        await response.write(json.dumps(line).encode() + b"\n")
    if hangs:
        await asyncio.Event().wait()
    return response


@asynccontextmanager
async def managed(folder: Path, **stand_ins: StandIn) -> AsyncIterator[ollama.AsyncClient]:
    """A client of a daemon in front of these."""
    async with AsyncExitStack() as stack:
        backends = []
        for name, stand_in in stand_ins.items():
            runner = web.AppRunner(stand_in.app(), handler_cancellation=True, shutdown_timeout=0.2)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
            backends.append({"id": name, "type": "ollama", "endpoint": endpoint, "hardware": name})
        daemon = Daemon(folder, config_of(*backends, detection={"enabled": False}))
        stack.callback(daemon.stop)
        await asyncio.to_thread(daemon.ready)
        async with ollama.AsyncClient(host=daemon.url) as client:
            yield client


async def names(client: ollama.AsyncClient) -> set[str | None]:
    return {model.model for model in (await client.list()).models}


async def test_models_are_pulled_made_copied_and_deleted_through_the_daemon(tmp_path: Path) -> None:
    one = StandIn("tiny:latest")
    async with managed(tmp_path, cpu=one) as client:
        told = [each.status async for each in await client.pull("new", stream=True)]
        assert told == ["pulling manifest", "pulling aaaaaaaaaaaa", "success"]
        assert await names(client) == {"tiny:latest", "new:latest"}
        assert (await client.pull("other")).status == "success"
        file = tmp_path / "model.gguf"
        file.write_bytes(b"x" * 5_000_000)
        digest = await client.create_blob(file)
        assert (await client.create("made", files={"model.gguf": digest})).status == "success"
        assert (await client.copy("made", "copied")).status == "success"
        await client.delete("new")
        assert await names(client) == {"tiny:latest", "other:latest", "made:latest", "copied:latest"}
        with pytest.raises(ollama.ResponseError, match="not found") as missing:
            await client.delete("new")
        assert missing.value.status_code == 404


async def test_a_failed_pull_is_an_error_and_one_that_is_left_ends(tmp_path: Path) -> None:
    one = StandIn("tiny:latest")
    async with managed(tmp_path, cpu=one) as client:
        with pytest.raises(ollama.ResponseError, match="file does not exist"):
            [each async for each in await client.pull("missing", stream=True)]
        progress = await client.pull("endless", stream=True)
        assert (await anext(progress)).status == "pulling manifest"
        assert isinstance(progress, AsyncGenerator)
        await progress.aclose()
        async with asyncio.timeout(60):
            await one.left.wait()


async def test_of_two_both_lose_a_model_and_one_gets_a_new_one(tmp_path: Path) -> None:
    npu, cpu = StandIn("tiny:latest"), StandIn("tiny:latest", "large:latest")
    async with managed(tmp_path, npu=npu, cpu=cpu) as client:
        await client.delete("tiny")
        assert (npu.models, cpu.models) == (set(), {"large:latest"})
        await client.copy("large", "big")
        assert (npu.models, cpu.models) == (set(), {"large:latest", "big:latest"})
        await client.pull("new")
        assert ("new:latest" in npu.models) is not ("new:latest" in cpu.models)
