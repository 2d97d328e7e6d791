"""POST /ui/render: text of an answer as safe HTML, by a worker process that lives only while a page asks."""

import asyncio
import json
import sys
from typing import Final

import msgspec
from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.http_api.context import RENDER_PATH
from ollama_proxyd.edges.http_api.strict_json import JSON_TYPE, read_struct

MOST_CHARACTERS: Final = 20_000
"""A longer block is shown as it is: rendering takes a second for the worst text of this length."""
DEADLINE_S: Final = 5.0
STARTED_WITHIN_S: Final = 10.0
"""A new worker gets that much more for its first text."""
IDLE_S: Final = 60.0
MOST_WAITING: Final = 16
_MOST_LINE = 2 * 1024 * 1024
_WORKER = ("-P", "-m", "ollama_proxyd.edges.http_api.markdown")
_SHOW_TEXT = "show the text as it is"


class Text(msgspec.Struct):
    """The body: what is to be rendered."""

    text: str


class Renderer:
    """Owns the worker process: started with the first text, ended after the last, killed by a text that takes long."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._worker: asyncio.subprocess.Process | None = None
        self._ending: asyncio.TimerHandle | None = None
        self._ended: set[asyncio.Task[int]] = set()

    @property
    def pid(self) -> int | None:
        """The worker's process, None where there is none."""
        return None if self._worker is None else self._worker.pid

    @property
    def _is_running(self) -> bool:
        return self._worker is not None and self._worker.returncode is None

    async def render(self, text: str) -> bytes:
        """The worker's answer; raises ProxyError where there is none. Cancelled, it leaves the line."""
        if self._waiting >= MOST_WAITING:
            raise ProxyError(ErrorKind.OVERLOADED, f"{MOST_WAITING} texts wait to be rendered; {_SHOW_TEXT}")
        self._waiting += 1
        try:
            async with self._turn:
                return await self._exchange(json.dumps(text).encode() + b"\n")
        finally:
            self._waiting -= 1

    async def _exchange(self, line: bytes) -> bytes:
        answer = b""
        try:
            async with asyncio.timeout(DEADLINE_S + (0.0 if self._is_running else STARTED_WITHIN_S)):
                answer = await self._ask(line)
        except (OSError, ValueError, TimeoutError):
            answer = b""
        finally:
            if not answer.endswith(b"\n"):  # also where the client left: the rest would answer the next text
                self.end()
        if not answer:
            raise ProxyError(ErrorKind.UNAVAILABLE, f"the text was not rendered in {DEADLINE_S:g} s; {_SHOW_TEXT}")
        self._end_later()
        return answer

    async def _ask(self, line: bytes) -> bytes:
        if self._worker is None or not self._is_running:
            self._worker = await _start()
        writer, reader = self._worker.stdin, self._worker.stdout
        if writer is None or reader is None:
            raise TypeError("a worker without pipes")
        writer.write(line)
        await writer.drain()
        return await reader.readline()

    def _end_later(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
        self._ending = asyncio.get_running_loop().call_later(IDLE_S, self.end)

    def end(self) -> None:
        """End the worker, if there is one."""
        worker, self._worker = self._worker, None
        if self._ending is not None:
            self._ending.cancel()
        if worker is not None and worker.returncode is None:
            worker.kill()
            last_words = asyncio.get_running_loop().create_task(worker.wait(), name="end of a worker")
            self._ended.add(last_words)
            last_words.add_done_callback(self._ended.discard)

    async def close(self) -> None:
        """End the worker, and wait until it is gone."""
        self.end()
        await asyncio.gather(*self._ended)


async def _start() -> asyncio.subprocess.Process:
    """A worker; what it complains about might quote the text."""
    pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(
        sys.executable, *_WORKER, stdin=pipe, stdout=pipe, stderr=nowhere, limit=_MOST_LINE
    )


RENDERER: web.AppKey[Renderer] = web.AppKey("renderer", Renderer)


async def render(request: web.Request) -> web.Response:
    """Blocks of an answer as safe HTML, each with the line after its last; null where that would be too much."""
    text = (await read_struct(request, Text)).text
    if len(text) > MOST_CHARACTERS:
        message = f"text: at most {MOST_CHARACTERS} characters are rendered, not {len(text)}; {_SHOW_TEXT}"
        raise ProxyError(ErrorKind.TOO_LARGE, message, param="text")
    return web.Response(body=await request.app[RENDERER].render(text), headers={"Content-Type": JSON_TYPE})


async def end(app: web.Application) -> None:
    """End the worker with the server."""
    await app[RENDERER].close()


ROUTES = (web.post(RENDER_PATH, render),)
