"""One request that a gateway carries, as a call of gRPC: messages of external processing in, and the answers out."""

from collections.abc import Awaitable

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.edges.picker_api import ext_proc_pb2 as pb
from ollama_proxyd.edges.picker_api.exchange import Bodies, Exchange
from ollama_proxyd.edges.picker_api.streams import OK, Answers, CallFault
from ollama_proxyd.services.picker import Picker

MORE_BYTES = 64 * 1024
"""What a message may have beside a body."""
AROUND_BYTES = 64
"""What a message of a body alone has around it: nothing of the body itself may be counted twice."""


class Processing:
    """From the head of a request to the end of its answer."""

    ends_after_answer = outlasts_client = False

    def __init__(self, picker: Picker, bodies: Bodies) -> None:
        self._bodies = bodies
        self._exchange = Exchange(picker, bodies)
        self._expected_bytes = 0

    def expect(self, size_bytes: int) -> None:
        """A message has begun to come; raises CallFault with what the client is told where it is too large."""
        held_bytes = max(size_bytes - AROUND_BYTES, 0)
        try:
            self._bodies.hold(held_bytes, size_bytes - MORE_BYTES)
        except ProxyError as error:
            raise CallFault(OK, "", (self._exchange.refusal(error),)) from error
        self._expected_bytes = held_bytes

    def take(self, message: bytes) -> Answers | Awaitable[Answers]:
        """The answers to a message."""
        self._come()
        return self._exchange.take(pb.ProcessingRequest.FromString(message))

    def close(self) -> None:
        """The gateway asks no more."""
        self._come()
        self._exchange.close()

    def _come(self) -> None:
        self._bodies.held_bytes -= self._expected_bytes
        self._expected_bytes = 0
