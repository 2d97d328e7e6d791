"""A relay that breaks off an engine's stream where a test wants it, and an Ollama in front of a real llama-server."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web


class Relay:
    """Passes everything on to an engine; of each answer to a POST only the first `frames` that are no comments."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.frames: int | None = None
        """None passes all of it."""
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        left = self.frames if request.method == "POST" else None
        async with (
            aiohttp.ClientSession() as client,
            client.request(request.method, self.target + request.path_qs, data=await request.read()) as reply,
        ):
            response = web.StreamResponse(status=reply.status, headers={"Content-Type": reply.headers["Content-Type"]})
            await response.prepare(request)
            end = b"\n\n" if reply.content_type == "text/event-stream" else b"\n"
            body = await reply.read()
            for at, frame in enumerate(body.split(end)[:-1] if left is not None else [body]):
                if at == left:
                    assert request.transport is not None
                    request.transport.abort()
                    break
                await response.write(frame + end if left is not None else frame)
            else:
                await response.write_eof()
            return response


class OllamaLike:
    """Ollama's chats and prompts over a real llama-server, translated as Ollama 0.33 does (llm/llama_server.go).

    A last message of an assistant goes on, and earlier thinking is not sent.
    """

    def __init__(self, target: str, model: str) -> None:
        self.target = target
        self.model = model
        self.asked: list[dict[str, Any]] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/api/tags":
            entry = {"name": f"{self.model}:latest", "model": f"{self.model}:latest", "digest": "d" * 64}
            return web.json_response({"models": [entry]})
        if request.path not in {"/api/chat", "/api/generate"}:
            return web.json_response({"error": "not found"}, status=404)
        asked = await request.json()
        self.asked.append(asked)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        async for line in self.lines(request.path, asked):
            await response.write(json.dumps(line).encode() + b"\n")
        await response.write_eof()
        return response

    async def lines(self, of: str, asked: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The lines of an answer, the last of which tells how it ended."""
        path, sent = self._translated(of, asked)
        async with aiohttp.ClientSession() as client, client.post(self.target + path, json=sent) as reply:
            reason = "stop"
            async for line in reply.content:
                if not line.startswith(b"data: {"):
                    continue
                frame = json.loads(line[6:])
                choice = frame["choices"][0]
                if choice["finish_reason"]:
                    reason = choice["finish_reason"]
                    timings = frame["timings"]
                    continue
                said = choice.get("delta", choice)
                content, thinking = said.get("content") or said.get("text") or "", said.get("reasoning_content")
                if content or thinking:
                    yield self._line(of, asked, content, thinking, {"done": False})
        end = {"done": True, "done_reason": "length" if reason == "length" else "stop"}
        end |= {"prompt_eval_count": timings["cache_n"] + timings["prompt_n"], "eval_count": timings["predicted_n"]}
        yield self._line(of, asked, "", None, end)

    def _translated(self, path: str, asked: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        options = asked.get("options") or {}
        sent = {"model": self.model, "stream": True, "temperature": options.get("temperature", 0.8)}
        if "num_predict" in options:
            sent["max_tokens"] = options["num_predict"]
        if asked.get("think") is not None:
            sent["chat_template_kwargs"] = {"enable_thinking": bool(asked["think"])}
        if asked.get("raw"):
            return "/v1/completions", {**sent, "prompt": asked["prompt"]}
        messages = [{"role": each["role"], "content": each.get("content", "")} for each in asked.get("messages", [])]
        if path == "/api/generate":
            messages = [{"role": "user", "content": asked["prompt"]}]
        return "/v1/chat/completions", {**sent, "messages": messages}

    def _line(
        self, path: str, asked: dict[str, Any], content: str, thinking: str | None, end: dict[str, Any]
    ) -> dict[str, Any]:
        said = {"thinking": thinking} if thinking else {}
        if path == "/api/chat":
            words: dict[str, Any] = {"message": {"role": "assistant", "content": content, **said}}
        else:
            words = {"response": content, **said}
        head = {"model": asked["model"], "created_at": "2026-11-28T12:00:00Z"}
        return {**head, **words, **end}


Upstream = Relay | OllamaLike


@asynccontextmanager
async def standing(*upstreams: Upstream) -> AsyncGenerator[None, None]:
    """Each on a free port of loopback."""
    runners = []
    for each in upstreams:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", each.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        each.port = runner.addresses[0][1]
        runners.append(runner)
    try:
        yield
    finally:
        for runner in runners:
            await runner.cleanup()


Make = Callable[[str], Upstream]
