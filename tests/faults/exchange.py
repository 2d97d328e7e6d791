"""One request at the scripted upstream, and the words with which a fault is written down."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.answers import Frames, frames, spoken

STREAM_TYPES = {"openai": "text/event-stream", "ollama": "application/x-ndjson"}
BEAT_S = 0.01
"""Between two pieces that should reach the other side one by one."""
PATIENCE_S = 30.0
"""How long a silent upstream waits until the other side leaves."""


class Left(Exception):
    """The other side has gone."""


@dataclass
class Connection:
    """A connection to the scripted upstream."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    served: int = 0
    """Requests that were read on it, with the one under way."""

    async def send(self, data: bytes) -> None:
        try:
            self.writer.write(data)
            await self.writer.drain()
        except (OSError, RuntimeError) as error:  # RuntimeError: uvloop has closed the transport
            raise Left from error

    def reset(self) -> None:
        """End it with an RST."""
        with contextlib.suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()

    async def until_left(self, patience_s: float = PATIENCE_S) -> None:
        """Say nothing until the other side leaves."""
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(patience_s):
                while await self.reader.read(65536):
                    pass

    async def is_left(self) -> bool:
        """Whether the other side has gone; looked at for one beat."""
        try:
            async with asyncio.timeout(BEAT_S):
                return not await self.reader.read(1)
        except TimeoutError:
            return False
        except OSError:
            return True


@dataclass
class Exchange:
    """A request, and the answer that an engine without faults would give: `frames`."""

    connection: Connection
    api: str
    path: str
    model: str
    body: dict[str, Any]
    knows: str = ""
    """Its models, as the address names them."""
    case: str = ""
    nth: int = 1
    """Which request of its case this is."""
    frames: Frames = field(default_factory=lambda: Frames((), (), ()))
    keeps: bool = False
    chunked: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it is no chat."""
        return self.path.endswith(("/api/generate", "/completion", "/completions")) and "chat" not in self.path

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream", self.api == "ollama"))

    @property
    def embeds(self) -> bool:
        return "embed" in self.path

    def ready(self) -> "Exchange":
        """The same with its frames."""
        start = spoken(self._last_words())
        self.frames = frames(self.api, self.model, start, stream=self.stream, plain=self.is_plain)
        return self

    def _last_words(self) -> str:
        """What the answer has to go on from."""
        messages = self.body.get("messages") or [{"content": self.body.get("prompt", "")}]
        last = messages[-1].get("content") or ""
        return last if isinstance(last, str) else json.dumps(last)

    @property
    def type(self) -> str:
        return STREAM_TYPES[self.api] if self.stream else "application/json"

    async def head(
        self,
        status: str = "200 OK",
        *more: str,
        content_type: str | None = "",
        length: int | None = None,
        chunked: bool | None = None,
    ) -> None:
        """The head of an answer as engines send it: a stream in chunks, anything else with its length."""
        self.chunked = self.stream if chunked is None else chunked
        lines = [f"HTTP/1.1 {status}", *more]
        if content_type is not None:
            lines.append(f"Content-Type: {content_type or self.type}")
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
        elif chunked is None or length is not None:
            lines.append(f"Content-Length: {sum(map(len, self.frames.all)) if length is None else length}")
        else:
            lines.append("Connection: close")
        await self.send("\r\n".join([*lines, "", ""]).encode())

    async def send(self, data: bytes) -> None:
        """Bytes as they are."""
        await self.connection.send(data)

    async def say(self, *pieces: bytes) -> None:
        """Pieces of the body, each a chunk where the answer is chunked."""
        for piece in pieces:
            await self.send(b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece)

    async def end(self) -> None:
        """The proper end of the body."""
        if self.chunked:
            await self.send(b"0\r\n\r\n")
        self.keeps = True

    async def begin(self, words: int) -> None:
        """The answer up to so many words."""
        await self.head()
        await self.say(*self.frames.opening, *self.frames.words[:words])

    async def answer(self) -> None:
        """The answer that an engine without faults gives."""
        await self.head()
        await self.say(*self.frames.all)
        await self.end()

    async def reply(self, body: bytes, status: str = "200 OK", *more: str, content_type: str | None = "") -> None:
        """Another body, with its length."""
        await self.head(status, *more, content_type=content_type, length=len(body), chunked=False)
        await self.send(body)
        self.keeps = True

    async def beat(self) -> None:
        await asyncio.sleep(BEAT_S)

    async def reset(self) -> None:
        """An RST, once what was sent has had time to arrive."""
        await self.beat()
        self.connection.reset()

    async def silence(self) -> None:
        await self.connection.until_left()

    async def trickle(self, data: bytes, every_s: float) -> None:
        """One byte after another, until the other side leaves or all is sent."""
        for at in range(len(data)):
            await self.send(data[at : at + 1])
            await asyncio.sleep(every_s)


Act = Callable[[Exchange], Awaitable[None]]
