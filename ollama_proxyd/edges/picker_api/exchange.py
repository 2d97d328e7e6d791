"""One request on its way through a gateway: its messages, and what each is answered with."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.text import LARGE_BYTES
from ollama_proxyd.edges.picker_api import ext_proc_pb2 as pb
from ollama_proxyd.edges.picker_api.answering import Answering
from ollama_proxyd.edges.picker_api.asking import OPENAI, Head, header_texts, read_head, read_served
from ollama_proxyd.edges.picker_api.streams import Answers
from ollama_proxyd.edges.picker_api.telling import NOTHING_CHANGED, answered_by, destination, pieces, refused
from ollama_proxyd.services.carried import Carried, Picked
from ollama_proxyd.services.large import off_loop
from ollama_proxyd.services.picker import Errand, Picker

FULL_DUPLEX: Final = pb.ProcessingMode.FULL_DUPLEX_STREAMED
BUFFERED: Final = pb.ProcessingMode.BUFFERED
_READS_BODIES: Final = frozenset({FULL_DUPLEX, BUFFERED})
"""In these modes alone the endpoint can be chosen after the body was seen."""


class Bodies:
    """How much of all requests is held until their endpoints are chosen."""

    def __init__(self, limits: Callable[[], tuple[int, int]]) -> None:
        self._limits = limits
        """The most bytes of one body, and of all together."""
        self.held_bytes = 0

    def hold(self, more_bytes: int, size_bytes: int) -> None:
        """Hold so much more of a body, which then has `size_bytes`; raises ProxyError beyond the limits."""
        most, most_in_all = self._limits()
        if size_bytes > most:
            message = f"the body has more than {most} bytes, the most that server.max_body_bytes allows"
            raise ProxyError(ErrorKind.TOO_LARGE, message)
        if self.held_bytes + more_bytes > most_in_all:
            message = (
                f"the bodies of all requests would exceed {most_in_all} bytes, the most that server.max_bodies_bytes "
                "allows; try again"
            )
            raise ProxyError(ErrorKind.UNAVAILABLE, message, code="bodies_full", retry_after_s=1.0)
        self.held_bytes += more_bytes


class Exchange:
    """From the head of a request to the end of its answer."""

    def __init__(self, picker: Picker, bodies: Bodies) -> None:
        self._picker = picker
        self._bodies = bodies
        self._head: Head | None = None
        self._request_mode = self._response_mode = FULL_DUPLEX
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._is_decided = False
        self._picked: Picked | Carried | None = None
        self._answering: Answering | None = None

    def take(self, message: Any) -> Answers | Awaitable[Answers]:
        """The answers to a message, none where more of the request has to come first; large bodies take a while."""
        part = message.WhichOneof("request")
        if part is None or message.observability_mode:
            return ()
        try:
            return _TAKES[part](self, message)
        except ProxyError as error:
            return (self.refusal(error),)

    def refusal(self, error: ProxyError) -> bytes:
        """What is told where it cannot be decided."""
        self._is_decided = True
        self._let_go()
        return refused(error, OPENAI if self._head is None else self._head.dialect)

    def _request_headers(self, message: Any) -> Answers:
        if message.HasField("protocol_config"):
            self._request_mode = message.protocol_config.request_body_mode
            self._response_mode = message.protocol_config.response_body_mode
        self._head = read_head(message)
        if message.request_headers.end_of_stream or self._request_mode not in _READS_BODIES:
            return (self._decide(self._head.without_body(), "request_headers"),)
        return () if self._request_mode == FULL_DUPLEX else (NOTHING_CHANGED["request_headers"],)

    def _request_body(self, message: Any) -> Answers | Awaitable[Answers]:
        if self._is_decided or self._head is None:
            return (NOTHING_CHANGED["request_body"],) if self._request_mode != FULL_DUPLEX else ()
        body = message.request_body
        self._held_bytes += len(body.body)
        self._bodies.hold(len(body.body), self._held_bytes)
        self._held.append(body.body)
        if not body.end_of_stream and self._request_mode == FULL_DUPLEX:
            return ()
        return self._decide_with_body(())

    def _request_trailers(self, _: Any) -> Answers | Awaitable[Answers]:
        trailers = (NOTHING_CHANGED["request_trailers"],)
        return trailers if self._is_decided or self._head is None else self._decide_with_body(trailers)

    def _decide_with_body(self, then: Answers) -> Answers | Awaitable[Answers]:
        """Decide by the whole body, at once where it is small."""
        assert self._head is not None
        head, body = self._head, b"".join(self._held)
        if len(body) >= LARGE_BYTES:
            return self._decide_later(head, body, then)
        return self._with_body(head.read(body) if body else head.without_body(), body, then)

    async def _decide_later(self, head: Head, body: bytes, then: Answers) -> Answers:
        try:
            return self._with_body(await off_loop(len(body), lambda: head.read(body)), body, then)
        except ProxyError as error:
            return (self.refusal(error),)

    def _with_body(self, errand: Errand, body: bytes, then: Answers) -> Answers:
        """Decide, and hand the body on where the gateway has given it away."""
        if self._request_mode != FULL_DUPLEX:
            told: Answers = (self._decide(errand, "request_body"),)
        else:
            told = (self._decide(errand, "request_headers"), *pieces("request_body", body, ends=not then))
        self._let_go()
        return (*told, *then)

    def _decide(self, errand: Errand, part: str) -> bytes:
        self._is_decided = True
        self._picked = picked = self._picker.pick(errand)
        if isinstance(picked, Carried):
            assert self._head is not None
            self._answering = Answering(picked, self._head.dialect)
            picked = picked.picked
        return destination(picked, part)

    def _response_headers(self, message: Any) -> Answers:
        picked, answering = self._picked, self._answering
        if answering is None or not isinstance(picked, Carried):
            return (NOTHING_CHANGED["response_headers"],)
        headers, served = header_texts(message.response_headers.headers), read_served(message)
        status = headers.get(":status", "")
        answering.begin(
            int(status) if status.isascii() and status.isdigit() else 502,
            headers.get("content-type", ""),
            headers.get("content-encoding", ""),
            served,
        )
        if message.response_headers.end_of_stream:
            answering.end()
        addresses = picked.picked.addresses
        is_known = served in addresses or (served is None and len(addresses) == 1)
        return (answered_by(picked.picked, picked.backend_id if is_known else None),)

    def _response_body(self, message: Any) -> Answers:
        body = message.response_body
        if self._answering is not None:
            self._answering.hear(body.body)
            if body.end_of_stream:
                self._answering.end()
        if self._response_mode != FULL_DUPLEX:
            return (NOTHING_CHANGED["response_body"],)
        return tuple(pieces("response_body", body.body, ends=body.end_of_stream))

    def _response_trailers(self, _: Any) -> Answers:
        if self._answering is not None:
            self._answering.end()
        return (NOTHING_CHANGED["response_trailers"],)

    def close(self) -> None:
        """The gateway asks no more."""
        self._let_go()
        if self._answering is not None:
            self._answering.leave()

    def _let_go(self) -> None:
        self._bodies.held_bytes -= sum(map(len, self._held))
        self._held.clear()


_TAKES: Final[Mapping[str, Callable[[Exchange, Any], Answers | Awaitable[Answers]]]] = {
    "request_headers": Exchange._request_headers,
    "request_body": Exchange._request_body,
    "request_trailers": Exchange._request_trailers,
    "response_headers": Exchange._response_headers,
    "response_body": Exchange._response_body,
    "response_trailers": Exchange._response_trailers,
}
