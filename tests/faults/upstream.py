"""The scripted upstream: one process, healthy engines of both dialects, each of which has one fault.

The address names the fault: `/c/KIND/API/CASE/MODEL` before an engine's own paths;
`/good/API/NUMBERS` is an engine without one. `/control/…` is for the suite.
"""

import asyncio
import contextlib
import json
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import uvloop

from tests.faults.answers import dumps, vectors
from tests.faults.engine import answer_probe
from tests.faults.exchange import Connection, Exchange, Left
from tests.faults.kinds import KINDS, Kind, Port

QUEUE = 4
"""More connections than a queue of none takes."""


@dataclass
class Listener:
    """A port of one case's own, whose fault begins when it is armed."""

    listening: socket.socket
    port: Port
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]
    is_armed: bool = False

    def start(self) -> int:
        self._task = asyncio.create_task(self._accept())
        number: int = self.listening.getsockname()[1]
        return number

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            accepted, _ = await loop.sock_accept(self.listening)
            if self.is_armed:
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                accepted.close()
                continue
            reader, writer = await asyncio.open_connection(sock=accepted)
            TASKS.add(asyncio.create_task(self.serve(reader, writer)))

    def arm(self) -> None:
        if self.is_armed:
            return
        self.is_armed = True
        if self.port is Port.RESETS:
            return
        self._task.cancel()
        if self.port is Port.CLOSED:
            self.listening.close()
            return
        self.listening.listen(0)
        self.queue = [socket.socket() for _ in range(QUEUE)]
        for waiting in self.queue:
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(self.listening.getsockname())

    def close(self) -> None:
        self._task.cancel()
        self.listening.close()
        for waiting in getattr(self, "queue", ()):
            waiting.close()


TASKS: set[asyncio.Task[Any]] = set()


class Upstream:
    """Everything that the process has to remember."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.listeners: list[Listener] = []
        self.connections: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        connection = Connection(reader, writer)
        self.connections.add(writer)
        try:
            while await self._serve_one(connection):
                pass
        except (Left, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self.connections.discard(writer)
            writer.close()

    async def _serve_one(self, connection: Connection) -> bool:
        """Whether another request may follow."""
        head = (await connection.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, _ = head.split("\r\n", 1)[0].split(" ")
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        connection.served += 1
        _, first, *rest = target.split("/")
        if first == "control":
            await connection.send(reply(self._control(rest)))
            return True
        length = int(headers.get("content-length", 0))
        if target.endswith("/v1/messages"):  # only older engines are played, which answer in their first API
            await connection.reader.readexactly(length)
            await connection.send(reply({"error": "not found"}, b"404 Not Found"))
            return True
        x, kind = self._exchange(connection, first, rest)
        if kind is not None and kind.prompt_bytes and method == "POST":
            await self._serve_early(x, kind)
            return False
        if length:
            x.body = json.loads(await connection.reader.readexactly(length))
        x.model = str(x.body.get("model", x.model))
        probed = answer_probe(method, x)
        if probed is not None:
            await connection.send(reply(probed))
            return headers.get("connection") != "close"
        await self._act(x, kind)
        return x.keeps and headers.get("connection") != "close"

    async def _serve_early(self, x: Exchange, kind: Kind) -> None:
        """Answers before the body was read, of which only the beginning is looked at."""
        beginning = (await x.connection.reader.read(65536)).replace(b" ", b"")
        x.body = {"stream": b'"stream":true' in beginning}
        await self._act(x, kind)

    async def _act(self, x: Exchange, kind: Kind | None) -> None:
        if x.embeds:
            await x.reply(
                dumps(vectors("openai" if "/v1/" in x.path else x.api, x.model)), content_type="application/json"
            )
            return
        if kind is None or kind.shape not in {"", "stream" if x.stream else "whole"}:
            await x.ready().answer()
            return
        x.nth = self.hits[x.case] = self.hits[x.case] + 1
        await kind.act(x.ready())

    def _exchange(self, connection: Connection, first: str, rest: list[str]) -> tuple[Exchange, Kind | None]:
        """The request, and the fault that its address names."""
        if first == "good":
            api, models, *path = rest
            return Exchange(connection, api, "/" + "/".join(path), "", {}, models), None
        name, api, case, model, *path = rest
        return Exchange(connection, api, "/" + "/".join(path), model, {}, model, case), KINDS[name]

    def _control(self, words: list[str]) -> Any:
        match words:
            case ["listen", name]:
                return self._listen(KINDS[name].port)
            case ["arm"]:
                for listener in self.listeners:
                    listener.arm()
            case ["disarm"]:
                while self.listeners:
                    self.listeners.pop().close()
            case ["hits"]:
                return {"hits": self.hits, "connections": len(self.connections) - 1}
        return {}

    def _listen(self, port: Port) -> int:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        listening.setblocking(False)
        self.listeners.append(Listener(listening, port, self.serve))
        return self.listeners[-1].start()


def reply(value: Any, status: bytes = b"200 OK") -> bytes:
    """A short answer in JSON."""
    body = dumps(value)
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


async def main() -> None:
    server = await asyncio.start_server(Upstream().serve, "127.0.0.1", 0, limit=1 << 20, backlog=2048)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
