"""A program that behaves as `ollama serve` does, by its recorded answers and its sources (0.33), for it is not here.

It lists the models of its store, loads one by an empty request into a child process, a real llama-server, and asks
that. What it was told by its environment it keeps to: its port, how long models stay, how many requests at once.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.free_ports import free_port  # noqa: E402
from tests.upstreams import ollama_store  # noqa: E402 - it runs as a program of its own
from tests.upstreams.breaking import OllamaLike  # noqa: E402

NEEDED = "OLLAMA_FAKE_NEEDS"
"""The name of a model that needs more memory than there is."""
BALLAST = "OLLAMA_FAKE_BALLAST"
"""Bytes that it has beside a model."""
GONE = "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error"


BROKEN = "an error was encountered while running the model: unexpected EOF"


def write(path: Path, text: str = "") -> Path:
    """The program `ollama` at a path, whose runner is the llama-server that $OLLAMA_FAKE_RUNNER names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n{text}\n[ "$1" = serve ] || exit 2\nexec {sys.executable} {__file__}\n')
    path.chmod(0o755)
    return path


def seconds(value: Any) -> float | None:
    """A keep_alive; None: for ever."""
    number = float(str(value).rstrip("s").replace("m", "")) * (60 if str(value).endswith("m") else 1)
    return None if number < 0 else number


class Runner:
    """A llama-server with one model."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, name: str, context: int) -> None:
        self.process, self.name, self.context = process, name, context
        self.like = OllamaLike(f"http://127.0.0.1:{port}", name)
        self.leaves: asyncio.TimerHandle | None = None


class Serve:
    """The server."""

    def __init__(self) -> None:
        self.store = Path(os.environ["OLLAMA_MODELS"])
        self.slots = int(os.environ.get("OLLAMA_NUM_PARALLEL", "1"))
        self.free = asyncio.Semaphore(self.slots)
        self.runner: Runner | None = None
        self.loading = asyncio.Lock()
        self.ballast = b""

    def manifests(self) -> dict[str, Path]:
        """Those that can be read."""
        found = {}
        for path in sorted(self.store.glob("manifests/*/*/*/*")):
            try:
                json.loads(path.read_text())
            except (ValueError, FileNotFoundError):  # another server of this store may have removed it
                continue
            host, space, model, tag = path.parts[-4:]
            prefix = "" if space == "library" else f"{space}/"
            found[(f"{host}/{space}/" if host != "registry.ollama.ai" else prefix) + f"{model}:{tag}"] = path
        return found

    def weights(self, name: str) -> Path:
        layers = json.loads(self.manifests()[name].read_text())["layers"]
        digest = next(each["digest"] for each in layers if each["mediaType"].endswith(".model"))
        return self.store / "blobs" / str(digest).replace(":", "-")

    def prune(self) -> None:
        """As it does at its start."""
        told = "".join(path.read_text() for path in self.manifests().values())
        for path in self.store.glob("blobs/*"):
            if path.name.replace("-", ":", 1) not in told:
                path.unlink()

    async def version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "0.33.0"})

    async def root(self, _: web.Request) -> web.Response:
        return web.Response(text="Ollama is running")

    def entry(self, name: str) -> dict[str, Any]:
        details = {"format": "gguf", "family": "llama", "parameter_size": "1M", "quantization_level": "F32"}
        size = self.weights(name).stat().st_size
        return {"name": name, "model": name, "size": size, "digest": "d" * 64, "details": details}

    async def tags(self, _: web.Request) -> web.Response:
        return web.json_response({"models": [self.entry(name) for name in self.manifests()]})

    async def ps(self, _: web.Request) -> web.Response:
        held = [] if self.runner is None else [{**self.entry(self.runner.name), "size_vram": 0}]
        return web.json_response({"models": held})

    def named(self, asked: dict[str, Any]) -> str:
        name = str(asked.get("model") or asked.get("name"))
        name = name if ":" in name.rsplit("/", maxsplit=1)[-1] else f"{name}:latest"
        if name not in self.manifests():
            raise failure(404, f"model '{name}' not found")
        return name

    async def show(self, request: web.Request) -> web.Response:
        name = self.named(await request.json())
        able = ["embedding"] if "embed" in name else ["completion", "tools", "thinking"]
        return web.json_response({"modelfile": f"FROM {name}", "details": {}, "capabilities": able})

    async def load(self, asked: dict[str, Any]) -> Runner:
        name, options = self.named(asked), asked.get("options") or {}
        context = int(options.get("num_ctx") or os.environ.get("OLLAMA_CONTEXT_LENGTH") or 4096)
        async with self.loading:
            held = self.runner
            if held is None or held.process.returncode is not None or (held.name, held.context) != (name, context):
                await self.unload()
                self.runner = held = await self.started(name, context)
        said = asked.get("keep_alive")
        stays_s = seconds(os.environ.get("OLLAMA_KEEP_ALIVE", "5m") if said is None else said)
        if held.leaves is not None:
            held.leaves.cancel()
        loop = asyncio.get_running_loop()
        held.leaves = None if stays_s is None else loop.call_later(stays_s, held.process.kill)
        return held

    async def started(self, name: str, context: int) -> Runner:
        if name == os.environ.get(NEEDED):
            raise failure(500, "model requires more system memory (9.9 GiB) than is available (7.6 GiB)")
        port = free_port()
        more = ["--embeddings", "--pooling", "mean"] if "embed" in name else ["--jinja"]
        words = ["--model", self.weights(name), "--host", "127.0.0.1", "--port", port, "-t", 1, "--offline", *more]
        words += ["-c", context * self.slots, "-np", self.slots]
        process = await asyncio.create_subprocess_exec(os.environ["OLLAMA_FAKE_RUNNER"], *map(str, words))
        while not await is_well(port):
            if process.returncode is not None:
                raise failure(500, f"llama-server process has terminated: exit status {process.returncode}")
            await asyncio.sleep(0.05)
        self.ballast = b"\x01" * int(os.environ.get(BALLAST, "0"))
        return Runner(process, port, name, context)

    async def unload(self) -> None:
        held, self.runner = self.runner, None
        if held is not None and held.process.returncode is None:
            held.process.kill()
            await held.process.wait()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        is_embedding = request.path == "/api/embed"
        begun = {"model": asked.get("model"), "created_at": "2026-11-28T12:00:00Z"}
        words = asked.get("input") if is_embedding else asked.get("messages") or asked.get("prompt")
        if not words and asked.get("keep_alive") == 0:
            await self.unload()
            return web.json_response({**begun, "response": "", "done": True, "done_reason": "unload"})
        if not is_embedding and "embed" in self.named(asked):
            raise failure(400, f'"{asked["model"]}" does not support generate')
        runner = await self.load(asked)
        if not words:
            told = {"embeddings": []} if is_embedding else {"response": "", "done": True, "done_reason": "load"}
            return web.json_response({**begun, **told})
        async with self.free:
            if is_embedding:
                return await self.embedded(runner, asked)
            lines = runner.like.lines(request.path, asked)
            try:
                return await whole(lines) if asked.get("stream") is False else await streamed(request, lines)
            except aiohttp.ClientConnectionError as error:
                raise failure(500, GONE) from error

    async def embedded(self, runner: Runner, asked: dict[str, Any]) -> web.Response:
        async with aiohttp.ClientSession() as client:
            url = f"{runner.like.target}/v1/embeddings"
            async with client.post(url, json={"input": asked["input"]}) as reply:
                told = await reply.json()
        vectors = [each["embedding"] for each in told["data"]]
        return web.json_response({"model": asked["model"], "embeddings": vectors, "prompt_eval_count": 1})

    async def passed(self, request: web.Request) -> web.Response:
        """What llama-server answers itself."""
        asked = await request.json()
        runner = await self.load({"model": asked["model"]})
        url = runner.like.target + request.path
        async with self.free, aiohttp.ClientSession() as client, client.post(url, json=asked) as reply:
            kind = {"Content-Type": reply.headers["Content-Type"]}
            return web.Response(status=reply.status, body=await reply.read(), headers=kind)

    async def pull(self, request: web.Request) -> web.StreamResponse:
        """From a folder in place of a registry, slowly."""
        name = str((await request.json())["model"])
        source = Path(os.environ["OLLAMA_FAKE_REGISTRY"]) / name
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        steps: list[dict[str, Any]] = [{"status": "pulling manifest"}]
        if source.exists():
            steps += [{"status": "pulling 0", "digest": "sha256:0", "total": 9, "completed": done} for done in (3, 9)]
            steps += [{"status": "success"}]
        else:
            steps += [{"error": "pull model manifest: file does not exist"}]
        for each in steps:
            await asyncio.sleep(float(os.environ.get("OLLAMA_FAKE_PULL_S", "0")))
            if each.get("status") == "success":
                ollama_store.add(self.store, name, source.read_bytes())
            await response.write(json.dumps(each).encode() + b"\n")
        return response

    async def delete(self, request: web.Request) -> web.Response:
        name = self.named(await request.json())
        try:
            self.manifests()[name].unlink()
        except (KeyError, FileNotFoundError):  # another server of this store was quicker
            raise failure(404, f"model '{name}' not found") from None
        return web.Response()


async def streamed(request: web.Request, lines: AsyncGenerator[dict[str, Any], None]) -> web.StreamResponse:
    """An answer as it comes; where the runner dies, an error ends it."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    try:
        async for line in lines:
            if not response.prepared:
                await response.prepare(request)
            await response.write(json.dumps(line).encode() + b"\n")
    except (aiohttp.ClientPayloadError, UnboundLocalError) as error:
        if not response.prepared:
            raise failure(500, BROKEN) from error
        await response.write(json.dumps({"error": BROKEN}).encode() + b"\n")
    await response.write_eof()
    return response


async def whole(lines: AsyncGenerator[dict[str, Any], None]) -> web.Response:
    """The same in one piece."""
    try:
        told = [line async for line in lines]
    except (aiohttp.ClientPayloadError, UnboundLocalError) as error:
        raise failure(500, BROKEN) from error
    if "response" in told[-1]:
        return web.json_response({**told[-1], "response": "".join(each["response"] for each in told)})
    said = {key: "".join(each["message"].get(key) or "" for each in told) for key in ("content", "thinking")}
    return web.json_response({**told[-1], "message": {"role": "assistant", **said}})


def failure(status: int, words: str) -> web.HTTPException:
    """An error in its form."""
    kind = {404: web.HTTPNotFound, 400: web.HTTPBadRequest, 500: web.HTTPInternalServerError}[status]
    return kind(text=json.dumps({"error": words}), content_type="application/json")


async def is_well(port: int) -> bool:
    """Whether a llama-server has loaded."""
    with contextlib.suppress(aiohttp.ClientError):
        async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/health") as reply:
            return reply.status == 200
    return False


async def main() -> None:
    """Serve until it is told to end."""
    serve = Serve()
    if not os.environ.get("OLLAMA_NOPRUNE"):
        serve.prune()
    app = web.Application()
    app.add_routes([web.get("/", serve.root), web.get("/api/version", serve.version), web.get("/api/tags", serve.tags)])
    app.add_routes([web.get("/api/ps", serve.ps), web.post("/api/show", serve.show), web.post("/api/pull", serve.pull)])
    app.add_routes([web.post(f"/api/{each}", serve.answer) for each in ("generate", "chat", "embed")])
    app.add_routes([web.post(f"/v1/{each}", serve.passed) for each in ("embeddings", "messages", "responses")])
    app.add_routes([web.delete("/api/delete", serve.delete)])
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    host, _, port = os.environ["OLLAMA_HOST"].partition(":")
    await web.TCPSite(runner, host, int(port)).start()
    ends = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ends.set)
    sys.stderr.write(f"Listening on {host}:{port} (version 0.33.0)\n")
    await ends.wait()
    await serve.unload()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
