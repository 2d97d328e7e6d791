"""A client's connection, which answers its requests in its one task, and lets go early of what they hold."""

import asyncio
from contextlib import suppress
from typing import Any

from aiohttp import web
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import _PAYLOAD_ACCESS_ERROR, ERROR, _ErrInfo
from multidict import CIMultiDict, CIMultiDictProxy

_NO_HEADERS = CIMultiDictProxy(CIMultiDict[str]())


class Request(web.Request):
    """A request whose notes are looked up without an exception where there are none, as is usual."""

    def __contains__(self, key: object) -> bool:
        return key in self._state

    def get(self, key: Any, default: Any = None) -> Any:
        """See web.Request."""
        return self._state.get(key, default)

    def forget(self) -> None:
        """Let go of the headers and of the body that was read: the answer has begun, and may take long."""
        self._message = self._message._replace(headers=_NO_HEADERS, raw_headers=())
        self._headers = _NO_HEADERS
        self._cache.clear()  # what was asked of it so far
        if self._payload.at_eof():
            self._payload = EMPTY_PAYLOAD


class Connection(web.RequestHandler):
    """Answers one request after the other; a client that leaves cancels what works for it.

    aiohttp makes a task for each, for handlers that leave something in their context, and holds each as it came until
    it is answered.
    """

    __slots__ = ()

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._messages: Any = []  # a deque takes 600 bytes for its first

    async def start(self) -> None:
        """Answer all requests of the connection, then close it."""
        while not self._force_close:
            if not self._messages:
                await self._until_asked()
            if not await self._answer(self._next_request()):
                break
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
            if self._keepalive_handle is None:
                self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    async def _until_asked(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _next_request(self) -> tuple[web.BaseRequest, Any]:
        """The next request, and what answers it; there is one."""
        manager, make, answer, task = self._manager, self._request_factory, self._request_handler, self._task_handler
        assert manager is not None
        assert make is not None
        assert answer is not None
        message, payload = self._messages.pop(0)
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        manager.requests_count += 1
        if isinstance(message, _ErrInfo):
            answer, message = self._make_error_handler(message), ERROR
        return make(message, payload, self, StreamWriter(self, self._loop), task), answer  # type: ignore[arg-type]

    async def _answer(self, asked: tuple[web.BaseRequest, Any]) -> bool:
        """Whether another request may follow."""
        request, answer = asked
        del asked
        try:
            response, has_left = await self._handle_request(request, None, answer)
            if has_left:
                return False
            self._keepalive = bool(response.keep_alive)
            if not request.content.is_eof():
                await self._read_rest(request)
            request.content.set_exception(_PAYLOAD_ACCESS_ERROR)
        except ConnectionError:
            return False
        except BaseException:  # the client has left, or a fault of ours, which the loop logs
            self.force_close()
            raise
        finally:
            request._task = None  # type: ignore[assignment] # the frames of a failure may hold the request
        return self._keepalive and not self._close and not self._force_close

    async def _read_rest(self, request: web.BaseRequest) -> None:
        """Read a moment of a body that nobody wanted, so that its client reads the answer."""
        body = request.content
        if self._lingering_time and not self._force_close:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._lingering_time):
                    while not body.is_eof():
                        await body.readany()
        if not body.is_eof():
            self.close()
