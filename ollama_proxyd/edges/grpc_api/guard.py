"""Who sends a call: each is held against the access rules before its handler runs."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.programs import UNKNOWN, Program
from ollama_proxyd.dialects.framing.jsonbody import invalid_request
from ollama_proxyd.edges.grpc_api.failures import abort
from ollama_proxyd.edges.plumbing.access import EVERYWHERE, AccessRules, Caller
from ollama_proxyd.edges.plumbing.peers import Owner, Place, owner_between, place_of
from ollama_proxyd.edges.plumbing.programs import ProgramSearch
from ollama_proxyd.services.cell import Cell

PATIENCE_S: Final = 0.05
"""Who asks is not worth a longer wait."""
MOST_KNOWN: Final = 256
_BEHAVIOURS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


class Callers:
    """The senders of calls.

    Web pages cannot speak gRPC: browsers open no HTTP/2 connection without TLS. So the name of the host, which
    tells a page from a program on HTTP, is not looked at.
    """

    def __init__(self, rules: Cell[AccessRules], host: str) -> None:
        self._rules = rules
        self._host = host
        self._search = ProgramSearch()
        self._known: dict[Owner, Program] = {}
        self.port = 0
        """Where the server listens."""

    def check(self, context: Any) -> None:
        """Raise ProxyError for another user of this machine, and for a call without the token."""
        metadata = context.invocation_metadata() or ()
        peer, own = self._ends(context)
        owner = None if peer is None or own is None else owner_between(peer, own)
        caller = Caller(
            authorizations=[value for name, value in metadata if name == "authorization"],
            api_keys=[value for name, value in metadata if name == "x-api-key"],
            is_from_here=peer is None or own is None or peer.host in {own.host, "::1"} or peer.host.startswith("127."),
            uid=None if owner is None else owner.uid,
        )
        self._rules.value.check_user(caller)
        self._rules.value.check_token(caller)

    async def program(self, context: Any) -> Program:
        """The program that calls, as far as it is found in time."""
        peer, own = self._ends(context)
        owner = None if peer is None or own is None else owner_between(peer, own)
        if owner is None:
            return UNKNOWN
        if owner not in self._known:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    found = await self._search.find(owner)
            except TimeoutError:
                return UNKNOWN  # the next call may find more
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[owner] = found
        return self._known[owner]

    def _ends(self, context: Any) -> tuple[Place | None, Place | None]:
        """Both ends of a call's connection; from this machine to an address of its own both have the same host."""
        kind, _, where = unquote(context.peer()).partition(":")
        host, _, port = where.rpartition(":")
        if kind not in {"ipv4", "ipv6"} or not port.isdecimal():
            return None, None
        peer = place_of((host.strip("[]"), int(port)))
        if peer is None:
            return None, None
        own = peer.host if self._host in EVERYWHERE or ":" in peer.host else self._host
        return peer, place_of(("127.0.0.1" if own == "localhost" else own, self.port))


class Guard(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Lets only those in whom the access rules let in, whatever service they call."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """The handler of a call, behind the check of its sender."""
        handler = await continuation(details)
        if handler is None:
            return None
        guarded: dict[str, Any] = {
            kind: self._guarded(getattr(handler, kind)) for kind in _BEHAVIOURS if getattr(handler, kind) is not None
        }
        if not handler.request_streaming:
            guarded["request_deserializer"] = _or_none(handler.request_deserializer)
        return handler._replace(**guarded)

    def _guarded(self, behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        async def answer(message: Any, context: Any) -> Any:
            await self._check(context, message)
            return await behaviour(message, context)

        async def stream(message: Any, context: Any) -> AsyncGenerator[Any, None]:
            await self._check(context, message)
            async for each in behaviour(message, context):
                yield each

        return stream if inspect.isasyncgenfunction(behaviour) else answer

    async def _check(self, context: Any, message: Any) -> None:
        try:
            self._callers.check(context)
            if message is None:
                raise invalid_request("the message cannot be read as the one that this call takes")
        except ProxyError as error:
            await abort(context, error)


def _or_none(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """What bytes are as a message; None for what is none, of which grpc makes a fault of the server."""

    def message(data: bytes) -> Any:
        try:
            return read(data)
        except DecodeError:
            return None

    return message
