"""Two engines that note what they are asked, one of each API, and ways to ask a daemon in front of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.app.conftest import Running
from tests.fakes import settle

CALM: dict[str, Any] = {"sensors": {"enabled": False}, "dbus": {"enabled": False}, "sleep": {"enabled": False}}
MODELS = ("small:1b", "large:70b")


class Engine:
    """An Ollama that notes what it is asked."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.url = ""
        self.fails = False
        self.is_ill = False
        self.models_here = list(MODELS)
        self.pulls: list[str] = []
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.deleted: list[str] = []
        self.asked_to_delete: list[str] = []
        self.forms: list[list[tuple[str, Any]]] = []
        self.pull_ends: list[dict[str, Any]] = []
        """How the next pulls end, where not well."""

    async def tags(self, _: web.Request) -> web.Response:
        if self.is_ill:
            return web.json_response({"error": "ill"}, status=500)
        return web.json_response({"models": [{"name": name, "model": name, "size": 1} for name in self.models_here]})

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models_here]}
        )

    async def ps(self, _: web.Request) -> web.Response:
        return web.json_response({"models": [{"name": name, "model": name, "size": 1} for name in self.models_here]})

    async def version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "0.33.0"})

    async def pull(self, request: web.Request) -> web.StreamResponse:
        model = (await request.json())["model"]
        self.pulls.append(model)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        layer = {"status": "pulling", "digest": "sha256:1", "total": 100, "completed": 40}
        await response.write(json.dumps(layer).encode() + b"\n")
        await self.may_end.wait()
        last = self.pull_ends.pop(0) if self.pull_ends else {"status": "success"}
        if last.get("status") == "success":
            self.models_here.append(model)
        await response.write(json.dumps(last).encode() + b"\n")
        return response

    async def transcribe(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.forms.append([(name, value) for name, value in form.items() if isinstance(value, str)])
        return web.json_response({"text": "hi"})

    async def note(self, request: web.Request) -> web.Response:
        """Whatever is passed on."""
        self.bodies.append(await request.json())
        return web.json_response({"content": "hi", "data": []})

    async def delete(self, request: web.Request) -> web.Response:
        model = (await request.json())["model"]
        self.asked_to_delete.append(model)
        if model not in self.models_here:
            return web.json_response({"error": f"model '{model}' not found"}, status=404)
        self.models_here.remove(model)
        self.deleted.append(model)
        return web.Response()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        if self.fails:
            return web.json_response({"error": "out of order"}, status=500)
        await self.may_answer.wait()
        said = {"model": body["model"], "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant"}}
        last = {**said, "message": {"role": "assistant", "content": "hi"}, "done": True, "done_reason": "stop"}
        return web.Response(body=json.dumps(last).encode() + b"\n", content_type="application/x-ndjson")

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        if self.fails:
            return web.json_response({"error": {"message": "out of order"}}, status=500)
        choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
        if body.get("stream"):
            delta = {"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            first = json.dumps({"id": "x", "model": body["model"], "choices": [delta]})
            await response.write(f"data: {first}\n\n".encode())
            await self.may_answer.wait()
            await response.write(b"data: [DONE]\n\n")
            return response
        await self.may_answer.wait()
        return web.json_response({"id": "x", "object": "chat.completion", "model": body["model"], "choices": [choice]})


@asynccontextmanager
async def two_engines() -> AsyncIterator[tuple[Engine, Engine]]:
    """Both, while the context is open."""
    made, runners = (Engine(), Engine()), []
    for each in made:
        app = web.Application()
        app.add_routes([web.get("/api/tags", each.tags), web.get("/api/ps", each.ps)])
        app.add_routes(
            [web.get("/api/version", each.version), web.post("/api/chat", each.chat), web.post("/api/pull", each.pull)]
        )
        app.add_routes([web.post("/v1/chat/completions", each.completions)])
        app.add_routes([web.post("/v1/audio/transcriptions", each.transcribe)])
        app.add_routes([web.post(path, each.note) for path in ("/v1/messages", "/infill", "/v1/images/generations")])
        app.add_routes([web.get("/v1/models", each.models), web.delete("/api/delete", each.delete)])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        each.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    for runner in runners:
        await runner.cleanup()
    await settle()  # connections close in the loop's next steps


def config(engines: tuple[Engine, Engine], *frontends: dict[str, Any], **more: Any) -> dict[str, Any]:
    backends = [
        {"id": name, "type": api, "endpoint": each.url, "labels": [name, "any"], "slots": 4}
        for (name, api), each in zip((("gpu", "ollama"), ("npu", "openai")), engines, strict=True)
    ]
    return {**CALM, "backends": backends, "frontends": list(frontends), **more}


class Reply:
    """What a client of a front end got."""

    def __init__(self, status: int, headers: Any, text: str) -> None:
        self.status = status
        self.headers = headers
        self.text = text

    @property
    def json(self) -> Any:
        return json.loads(self.text)


async def ask(running: Running, path: str, body: Any = None, *, host: str = "", url: str = "", **headers: str) -> Reply:
    """Ask by a host name; without a body it is a GET."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()} | ({"Host": host} if host else {})
    method = "GET" if body is None else "POST"
    address = (url or running.daemon.url) + path
    async with running.client.request(method, address, json=body, headers=sent) as reply:
        return Reply(reply.status, reply.headers, await reply.text())


def chat(model: str = "small:1b", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], **fields}


DOORS = ("/api/chat", "/v1/chat/completions")
