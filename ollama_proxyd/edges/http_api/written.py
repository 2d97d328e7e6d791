"""An answer as it is written to its client's connection."""

import asyncio
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from aiohttp import ClientConnectionResetError, HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.base_protocol import BaseProtocol
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http_writer import StreamWriter

from ollama_proxyd.edges.http_api import access, routing_headers
from ollama_proxyd.edges.http_api.context import FRONTEND, REQUEST_ID, SERVER_NAME, speaks_anthropic
from ollama_proxyd.edges.http_api.hints import REQUEST_ID_HEADER, new_id

MOST_SILENT_S: Final = 120.0
"""A client that takes nothing for so long keeps its backend no more: neither others nor a stop of the engine wait."""
_ANSWERED_HERE = routing_headers.unrouted("the proxy answers this itself")


async def complete(request: web.Request, response: web.StreamResponse) -> None:
    """Give an answer the headers that every answer has, just before it goes out."""
    _complete(request, response.headers)


def _complete(request: web.Request, headers: MutableMapping[str, str]) -> None:
    headers[hdrs.SERVER] = SERVER_NAME
    headers[REQUEST_ID_HEADER] = request.get(REQUEST_ID) or new_id()
    if FRONTEND in request:
        headers[routing_headers.FRONTEND] = request[FRONTEND].name
    if speaks_anthropic(request):
        headers["request-id"] = headers[REQUEST_ID_HEADER]
    if routing_headers.BACKEND_USED not in headers:
        headers.update(_ANSWERED_HERE)
    access.add_cors_headers(request, headers)


async def until_taken(protocol: BaseProtocol) -> None:
    """Wait until a client takes more; raises ConnectionError where it has left, or takes nothing for too long.

    Many may wait at once, and go on waiting when one of them gives up: aiohttp's own wait is cancelled for all.
    """
    while protocol.writing_paused:
        if (transport := protocol.transport) is None:
            raise ClientConnectionResetError
        if (waiter := protocol._drain_waiter) is None or waiter.done():
            waiter = protocol._drain_waiter = asyncio.get_running_loop().create_future()
        waiting_bytes = transport.get_write_buffer_size()
        await asyncio.wait({waiter}, timeout=MOST_SILENT_S)
        if waiter.done():
            if not waiter.cancelled() and waiter.exception() is not None:
                raise ClientConnectionResetError
        elif transport.get_write_buffer_size() >= waiting_bytes:
            transport.abort()
            raise ClientConnectionResetError


class Stream(web.StreamResponse):
    """An answer that is under way; its headers leave together with the first piece of it."""

    _send_headers_immediately = False

    def feed(self, piece: bytes) -> bool:
        """Send a piece at once; whether the client takes more now. Raises ConnectionError where it has left."""
        writer = self._payload_writer
        if not isinstance(writer, StreamWriter):
            raise TypeError("the answer has not begun")
        protocol = writer._protocol
        if writer._headers_buf:
            writer._send_headers_with_payload(piece, is_eof=False)
        elif (transport := protocol.transport) is None or transport.is_closing():
            raise ClientConnectionResetError
        else:
            transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if writer.chunked else piece)
        return not protocol._paused

    async def drain(self) -> None:
        """Wait until the client takes more; raises ConnectionError where it takes nothing for too long."""
        if isinstance(writer := self._payload_writer, StreamWriter):
            await until_taken(writer.protocol)

    async def end(self, trailers: Mapping[str, str]) -> None:
        """End the answer with trailer fields (RFC 9112, 7.1.2), for which aiohttp has no call."""
        writer = self._payload_writer
        if trailers and isinstance(writer, StreamWriter) and writer.chunked and writer.transport is not None:
            if writer._headers_buf:
                writer.send_headers()
            fields = "".join(f"{name}: {value}\r\n" for name, value in trailers.items())
            writer.transport.write(f"0\r\n{fields}\r\n".encode("ascii"))
            writer._eof = True
        await self.write_eof()

    async def break_off(self) -> None:
        """Close the connection before the end: who reads bytes has no other sign that some are missing."""
        writer = self._payload_writer
        if isinstance(writer, StreamWriter) and writer.transport is not None:
            writer.transport.close()
        self._eof_sent = True


class Answer(Stream):
    """What was asked of a model, whole or as a stream; its head is made in one step, where aiohttp takes a dozen.

    head: its headers, each under the name that all here use; they are no longer the caller's.
    """

    def __init__(self, head: dict[str, str], body: bytes | None = None) -> None:
        super().__init__()
        self._head: Any = head  # a plain one takes half the time, and its writer reads no more than the items
        self._whole = body

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Make the head, unless it is made already; a stream for a client of HTTP/1.0 ends with its connection."""
        if self.prepared:
            return self._payload_writer
        assert isinstance(request, web.Request)
        writer, headers, version = request.writer, self._head, request.version
        self._payload_writer, self._req, keeps = writer, request, request.keep_alive
        if self._whole is not None:
            headers[hdrs.CONTENT_LENGTH] = str(len(self._whole))
        elif version >= HttpVersion11:
            writer.enable_chunking()
            headers[hdrs.TRANSFER_ENCODING] = "chunked"
        else:
            keeps = False
        self._keep_alive = keeps
        headers[hdrs.DATE] = rfc822_formatted_time()
        if keeps is not (version >= HttpVersion11):
            headers[hdrs.CONNECTION] = "keep-alive" if keeps else "close"
        _complete(request, headers)
        await writer.write_headers(f"HTTP/{version.major}.{version.minor} 200 OK", headers)
        self._head = None  # nobody reads it any more, and a thousand streams may be open for long
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """End the answer."""
        await super().write_eof(self._whole or data)
