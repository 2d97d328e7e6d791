"""The picker's gRPC server, from the first listening to the last answer."""

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.picker_api import ext_proc_pb2 as pb
from ollama_proxyd.edges.picker_api.exchange import Bodies, Exchange
from ollama_proxyd.edges.picker_api.settings import PickerSettings
from ollama_proxyd.edges.plumbing.port_owner import port_owner
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.picker import Picker
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

SERVICE: Final = pb.DESCRIPTOR.services_by_name["ExternalProcessor"].full_name
LIVENESS: Final = "liveness"
READY: Final = ("", "readiness", SERVICE)
"""The names of the endpoint picker protocol that tell whether a backend serves."""
MOST_MESSAGE_BYTES: Final = 2**31 - 1
"""Bodies in one message are bounded by server.max_body_bytes."""
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_STATUSES: Final = {True: _SERVING, False: health_pb2.HealthCheckResponse.NOT_SERVING}
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MOST_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 8192),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 60_000),  # a gateway that is gone without a word frees its slots
    ("grpc.keepalive_timeout_ms", 20_000),
)


class PickerServer:
    """Listens from `start` to `stop`."""

    def __init__(
        self, picker: Picker, fleet: Fleet, settings: PickerSettings, body_limits: Callable[[], tuple[int, int]]
    ) -> None:
        self._picker = picker
        self._bodies = Bodies(body_limits)
        self._fleet = fleet
        self._settings = settings
        self._health = health.aio.HealthServicer()
        self._tasks = Tasks("picker")
        self._server: Any = None
        self.port = 0
        """The port in use, once started."""

    @property
    def held_bytes(self) -> int:
        """How much of all bodies is held until their endpoints are chosen."""
        return self._bodies.held_bytes

    async def start(self) -> None:
        """Begin to listen; raises ProxyError with a sentence that says why it cannot."""
        self._server = grpc.aio.server(options=_OPTIONS)
        process = grpc.stream_stream_rpc_method_handler(
            self._process,
            request_deserializer=pb.ProcessingRequest.FromString,
            response_serializer=pb.ProcessingResponse.SerializeToString,
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Process": process}),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.port = self._listen()
        await self._health.set(LIVENESS, _SERVING)
        await self._server.start()
        self._tasks.start("health", self._follow_health())
        log.info("the endpoint picker is served on port %d", self.port)

    def _listen(self) -> int:
        host, port = self._settings.host, self._settings.port
        try:
            return int(self._server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))
        except RuntimeError as error:
            owner = port_owner(port)
            who = f", taken by {owner}" if owner else ""
            message = f"cannot listen on {host} port {port} for the picker{who}; choose another with picker.port"
            raise ProxyError(ErrorKind.UNAVAILABLE, message, code="port_taken" if owner else "cannot_listen") from error

    async def _follow_health(self) -> None:
        async for is_serving in self._fleet.is_serving.changes():
            for name in READY:
                await self._health.set(name, _STATUSES[is_serving])

    async def _process(self, messages: AsyncIterator[Any], _: Any) -> AsyncIterator[Any]:
        """One request of a gateway; a fault of ours ends its stream with an error, as if the picker were gone."""
        exchange = Exchange(self._picker, self._bodies)
        try:
            async for message in messages:
                for answer in await exchange.take(message):
                    yield answer
        except Exception:
            log.exception("a request could not be decided by a fault of the picker")
            raise
        finally:
            exchange.close()

    async def stop(self, within_s: float) -> None:
        """Take no further requests; those under way go on so long, and are then left to the gateway."""
        await self._tasks.close()
        await self._health.enter_graceful_shutdown()
        await self._server.stop(within_s)
