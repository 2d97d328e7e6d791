"""No request keeps the loop waiting, or stays in memory, however long its texts are.

Routes come from the application's own table and fields from the request structs, so that new ones are covered.
Waiting is counted in processor time of this process, which does not depend on what else the machine does.
"""

import asyncio
import ctypes
import gc
import importlib
import json
import pkgutil
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import psutil
import pytest
from aiohttp import web

from ollama_proxyd.core import hints, tuning, what_if
from ollama_proxyd.core.events import Accepted, Embedded, Finished
from ollama_proxyd.dialects import ollama as ollama_dialect
from ollama_proxyd.dialects import openai as openai_dialect
from ollama_proxyd.edges import http_api
from ollama_proxyd.edges.http_api import ollama, openai
from ollama_proxyd.edges.http_api.body import SMALL_BYTES
from ollama_proxyd.edges.http_api.context import LARGE_BODIES
from ollama_proxyd.edges.http_api.server import build_app
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.http_api.status_json import status_json
from ollama_proxyd.edges.plumbing.hint_headers import HEADERS
from ollama_proxyd.services.status import snapshot
from tests.edges.http_api.conftest import Serve, Site
from tests.fakes import FakeBackend, services_of

MB = 1_000_000
FLOOR_S = 0.05
FLOOR_BYTES = 60 * MB
"""Reading so much takes as long on a usual machine, and longer where all takes longer."""
FACTOR = 2
"""How many times the reading of a body may be waited for at once: it is joined, then read, and each is one step.

A step is timed in the same run, right after each try, since a busy machine makes both slower.
"""
TRIES = 3
MOST_ANSWERED_BYTES = 20_000
LONG_ANSWERS = ("/openapi.json", "/docs", "/ui/")
"""They are the same whatever is sent."""
MOST_KEPT_CHARACTERS = MB
MOST_KEPT_BYTES = 60 * MB
MOST_KEPT_BODIES = 5
"""Of some forty that were sent; the allocator keeps some room for the next."""
BASE = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "prompt": "x", "input": "x", "stream": False}

SENDER = """
import http.client, json, sys
for line in sys.stdin:
    port, method, path, field, size, headers, unit, is_escaped = json.loads(line)
    text = unit * (size // len(json.dumps(unit)[1:-1] if is_escaped else unit.encode("utf-8", "surrogatepass")))
    value = [{"role": "user", "content": text}] if field == "messages" else text
    asked = {**json.loads(sys.argv[1]), **({field: value} if field else {text: 1})}
    body = json.dumps(asked, ensure_ascii=is_escaped).encode("utf-8", "surrogatepass") if method == "POST" else text
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        print(json.dumps([reply.status, len(reply.read(200_000)), len(str(reply.headers))]), flush=True)
    except OSError as error:
        print(json.dumps([0, 0, 0]), flush=True)
    connection.close()
"""


def modules_of(package: Any) -> Iterator[Any]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(found.name)


def text_fields(path: str = "") -> list[str]:
    """Every top-level field that a route of that API reads, and a key that none has."""
    package = {"/v1/": openai_dialect, "/api/": ollama_dialect}.get(path[: path.find("/", 1) + 1], http_api)
    structs = {
        kind
        for module in modules_of(package)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    }
    found = {name for kind in structs for name in kind.__struct_fields__}
    own = (*what_if.REQUEST, *what_if.SYSTEM, *hints.FIELDS, *tuning.KEYS) if package is http_api else ()
    return ["", *sorted(found.union(own))]


def fields_of(path: str, size: int, *, is_large: bool) -> Sequence[str]:
    """The fields that are tried: each at the smallest size, else those that routing keeps or passes over.

    So it is where another path's reader reads, too.
    """
    if not is_large:
        return ("",)
    return {MB: text_fields(path), 10 * MB: ["", "model", "messages"]}.get(size, ["messages"])


async def routes() -> list[tuple[str, str, bool]]:
    """Method, path, and whether it takes large bodies."""
    app = build_app(await services_of(FakeBackend("npu")), ServerSettings(port=0))
    found = []
    for route in app.router.routes():
        assert route.resource is not None
        path = route.resource.canonical.replace("{name}", "tiny").replace("{backend_id}", "npu")
        if route.method != "*" and path not in {"/status/events", "/efficiency/hold", "/api/blobs/{digest}"}:
            found.append((route.method, path, route.handler in app[LARGE_BODIES]))
    return found


def reader_of(found: Any) -> Any:
    """The functions that read a body, without the values that they were given: those say where an engine is asked."""
    if isinstance(found, partial):
        return reader_of(found.func)
    cells = [each.cell_contents for each in getattr(found, "__closure__", None) or ()]
    return (getattr(found, "__code__", type(found)), *map(reader_of, cells))


async def first_of_each_reader() -> set[str]:
    """The first path of all those whose bodies are read alike."""
    app = build_app(await services_of(FakeBackend("npu")), ServerSettings(port=0))
    firsts: dict[Any, str] = {}
    for route in app.router.routes():
        assert route.resource is not None
        if route.handler in app[LARGE_BODIES]:
            firsts.setdefault(reader_of(route.handler), route.resource.canonical)
    return set(firsts.values())


class Forgetting(list[Any]):
    """A list that takes everything and keeps nothing."""

    def append(self, _: Any, /) -> None:
        pass


@dataclass
class Lag:
    """The most processor time that this process used between two moments at which the loop was free."""

    worst_s: float = 0.0

    async def watch(self) -> None:
        while True:
            before = time.process_time()
            await asyncio.sleep(0.002)
            self.worst_s = max(self.worst_s, time.process_time() - before)


@asynccontextmanager
async def lag() -> AsyncIterator[Lag]:
    found = Lag()
    task = asyncio.create_task(found.watch())
    yield found
    task.cancel()


class Sender:
    """A client in a process of its own, whose work is not counted."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process, self._port = process, port

    async def send(
        self,
        method: str,
        path: str,
        field: str,
        size: int,
        headers: dict[str, str] | None = None,
        unit: tuple[str, bool] = ("x", True),
    ) -> tuple[int, int, int]:
        """The status, and how many bytes came with it in body and headers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = json.dumps([self._port, method, path, field, size, headers or {}, *unit])
        self._process.stdin.write(order.encode() + b"\n")
        status, body, head = json.loads(await self._process.stdout.readline())
        return status, body, head

    async def check(
        self,
        method: str,
        path: str,
        field: str,
        size: int,
        *,
        has_steps: bool = False,
        headers: dict[str, str] | None = None,
        unit: tuple[str, bool] = ("x", True),
    ) -> None:
        """Hold a request against the bounds; what keeps the loop waiting does so each time, chance does not."""
        worst_s = []
        for _ in range(TRIES):
            async with lag() as found:
                _status, body, head = await self.send(method, path, field, size, headers, unit)
            assert path.startswith(LONG_ANSWERS) or body + head < MOST_ANSWERED_BYTES, (method, path, field, headers)
            steps_s = FACTOR * decoding_s(size) if has_steps else 0.0
            if found.worst_s < FLOOR_S + steps_s or found.worst_s < decoding_s(FLOOR_BYTES) + steps_s:
                return
            worst_s.append((found.worst_s, steps_s))
        raise AssertionError((method, path, field, size, unit, worst_s))


@asynccontextmanager
async def sender(site: Site) -> AsyncIterator[Sender]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SENDER, json.dumps(BASE), stdin=pipe, stdout=pipe
    )
    yield Sender(process, site.server.port)
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


def decoding_s(size: int) -> float:
    """The processor time of reading a body of that size once."""
    body = msgspec.json.encode({"text": "x" * size})
    before = time.process_time()
    msgspec.json.decode(body)
    return time.process_time() - before


UNITS = {
    "half letters": ("\ud800", True),
    "half letters as bytes": ("\ud800", False),
    "letters that look like halves": ("\ud558", False),
    "whole pairs": ("\U0001f600", True),
    "line ends": ("\n", True),
    "backslashes": ("\\", True),
    "one half at the end of much": ("x" * 999_994 + "\ud800", True),
}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
@pytest.mark.parametrize("name", UNITS)
async def test_no_odd_letters_keep_the_loop_waiting(serve: Serve, name: str, path: str) -> None:
    site = await serve(FakeBackend("npu"))
    size = 20 * MB
    async with sender(site) as client:
        await client.check("POST", path, "messages", size, has_steps=True, unit=UNITS[name])


def resident_bytes() -> int:
    """What the process has in memory, without what its threads have freed and the allocator still holds."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(psutil.Process().memory_info().rss)


def kept(site: Site) -> str:
    """Everything that is remembered of requests."""
    ledger = site.services.ledger
    return repr((ledger.recent(), ledger.last_routed, status_json(snapshot(site.services))))


async def test_every_route_but_those_of_inference_takes_small_bodies(serve: Serve) -> None:
    site = await serve()
    async with sender(site) as client:
        for method, path, is_large in await routes():
            if method == "POST":
                status, *_ = await client.send(method, path, "", SMALL_BYTES)
                assert (status == 413) is not is_large, path


@pytest.mark.timeout(240)
@pytest.mark.parametrize("size", [MB, 10 * MB, 30 * MB, 60 * MB])
async def test_no_long_body_keeps_the_loop_waiting_or_stays(serve: Serve, size: int) -> None:
    backend = FakeBackend("npu")
    backend.requests = Forgetting()
    backend.managed = Forgetting()
    site = await serve(backend)
    firsts = await first_of_each_reader()
    async with sender(site) as client:
        for is_warm in (False, True):  # what the first bodies of a process make is there once
            before = resident_bytes()
            for method, path, is_large in await routes():
                if is_large or (is_warm and size == MB):
                    for field in fields_of(path, size if path in firsts else max(size, 10 * MB), is_large=is_large):
                        await client.check(method, path, field, size, has_steps=True)
    assert len(kept(site)) < MOST_KEPT_CHARACTERS
    assert resident_bytes() - before < max(MOST_KEPT_BYTES, MOST_KEPT_BODIES * size)


async def test_no_long_field_of_a_small_body_keeps_the_loop_waiting_or_stays(serve: Serve) -> None:
    site = await serve()
    async with sender(site) as client:
        for method, path, is_large in await routes():
            for field in text_fields(path) if method == "POST" and not is_large else ():
                await client.check(method, path, field, SMALL_BYTES - 1_000)
    assert len(kept(site)) < MOST_KEPT_CHARACTERS


async def test_no_long_header_keeps_the_loop_waiting_or_stays(serve: Serve) -> None:
    site = await serve()
    names = (*HEADERS.values(), "X-Request-ID", "User-Agent", "Origin", "Referer", "Cookie", "Expect", "Authorization")
    async with sender(site) as client:
        for name in names:
            for method, path in (("POST", "/v1/chat/completions"), ("GET", "/status"), ("POST", "/api/chat")):
                await client.check(method, path, "model", 4, headers={name: "x" * 60_000})
    assert len(kept(site)) < MOST_KEPT_CHARACTERS


def test_a_handler_is_in_the_table_once() -> None:
    """The size of bodies goes by the handler, so that none may serve two routes of other sizes."""
    handlers = [each.handler for module in (openai, ollama) for each in module.ROUTES if isinstance(each, web.RouteDef)]
    assert len(handlers) == len(set(handlers))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("path", ["/v1/embeddings", "/api/embed"])
async def test_no_long_vectors_keep_the_loop_waiting(serve: Serve, path: str) -> None:
    """A program that indexes sends a thousand texts at once; streams beside it go on."""
    vectors = tuple(tuple(0.1 + number for number in range(1_000)) for _ in range(1_000))
    site = await serve(FakeBackend("npu", Accepted(), Embedded(vectors), Finished()))
    worst_s = []
    for _ in range(TRIES):
        async with lag() as found, site.client.post(path, json=BASE) as reply:
            assert len(await reply.read()) > MB
        worst_s.append(found.worst_s)
    assert min(worst_s) < max(FLOOR_S, decoding_s(FLOOR_BYTES)), worst_s
