"""Answers requests that HTTP's parser refuses, in the client's dialect and without repeating them."""

import logging
import re
from functools import partial
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http_exceptions import ContentLengthError, HttpProcessingError, LineTooLong, TransferEncodingError

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.http_api.access import Door
from ollama_proxyd.edges.http_api.context import SERVER_NAME
from ollama_proxyd.edges.http_api.errors import RENDERERS, ErrorRenderers, error_reply
from ollama_proxyd.edges.http_api.hints import REQUEST_ID_HEADER, new_id
from ollama_proxyd.edges.http_api.hot_routes import HotRoutes

MOST_HEADER_BYTES = 64 * 1024
"""All programs on localhost share their cookies, and browsers send them all."""
_REQUEST_LINE = re.compile(rb"[A-Z]{1,20} (/[!-~]{0,100})")


class Runner(web.AppRunner):
    """Runs an application whose connections are of `_Protocol`; aiohttp has no option for that."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        made.__class__ = _Server
        assert isinstance(made, _Server)
        made.renderers = self.app[RENDERERS]
        made.request_handler = HotRoutes(self.app, made.request_handler)  # type: ignore[assignment]
        made.request_factory = partial(self.app._make_request, _cls=_Request)
        return made


class _Request(web.Request):
    """A request whose notes are looked up without an exception where there are none, as is usual."""

    def __contains__(self, key: object) -> bool:
        return key in self._state

    def get(self, key: Any, default: Any = None) -> Any:
        """See web.Request."""
        return self._state.get(key, default)


class _Server(web.Server):
    """Makes a protocol for each connection."""

    renderers: ErrorRenderers

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class _Protocol(Door):
    """A connection; it keeps the path of the last request line, for what the parser refuses has none."""

    __slots__ = ("_path",)

    def connection_made(self, transport: Any) -> None:
        self._path = ""
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if line := _REQUEST_LINE.match(data):
            self._path = line[1].decode("ascii")
        super().data_received(data)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on after a pause; aiohttp also asks for it at the end of each body, where the parser has nothing left."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it may quote the request
    ) -> web.StreamResponse:
        super().handle_error(request, status, exc, "")  # logs, and raises where an answer has begun
        assert isinstance(self._manager, _Server)
        error = _refusal(exc) if status == 400 else ProxyError(ErrorKind.INTERNAL, "the proxy failed; see its log")
        reply = error_reply(error, self._manager.renderers.beside(self._path))
        reply.headers.update({hdrs.SERVER: SERVER_NAME, REQUEST_ID_HEADER: new_id()})
        reply.force_close()
        return reply


def _refusal(error: BaseException | None) -> ProxyError:
    """The sentence for a request that cannot be read."""
    code = "bad_request"
    if isinstance(error, LineTooLong) and error.args[1] == MOST_HEADER_BYTES:
        code = "header_too_long"
        message = (
            f"a header is longer than {MOST_HEADER_BYTES // 1024} KiB; delete cookies of other programs on this host"
        )
    elif isinstance(error, LineTooLong):
        code = "target_too_long"
        message = "the path is too long; send what it holds in the body"
    elif isinstance(error, ContentLengthError | TransferEncodingError):
        message = "the body has no length that can be read; send Content-Length, or chunks"
    else:
        message = "this is no request of HTTP/1.1; check the client's address: it begins with http://"
    return ProxyError(ErrorKind.INVALID_REQUEST, message, code=code)


def protocol_log() -> logging.Logger:
    """Where faults below the middleware are logged; bytes that are no HTTP and clients that leave are not ours."""
    log = logging.getLogger(__name__)
    log.addFilter(_is_ours)
    return log


def _is_ours(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError | ConnectionError))
