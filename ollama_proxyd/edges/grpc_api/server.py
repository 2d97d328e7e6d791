"""The gRPC server, from the first listening to the last answer."""

import logging
from typing import Any, Final

import grpc
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.grpc_api import compute_pb2
from ollama_proxyd.edges.grpc_api.guard import Callers, Guard
from ollama_proxyd.edges.grpc_api.service import ComputeService
from ollama_proxyd.edges.grpc_api.settings import Door, GrpcSettings
from ollama_proxyd.edges.plumbing.access import LOOPBACK_NAMES, AccessRules
from ollama_proxyd.edges.plumbing.port_owner import port_owner
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

MOST_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""gRPC's own limit of a message."""
MOST_AT_ONCE: Final = 64
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MOST_MESSAGE_BYTES),
    ("grpc.max_concurrent_streams", MOST_AT_ONCE),
    ("grpc.max_metadata_size", 8192),
    ("grpc.so_reuseport", 0),  # two daemons on one port would share its connections unseen
    ("grpc.keepalive_time_ms", 60_000),  # a client that is gone without a word frees its backend
    ("grpc.keepalive_timeout_ms", 20_000),
)
_SERVICE: Final = compute_pb2.DESCRIPTOR.services_by_name["ComputeService"]
_STATUSES: Final = {
    True: health_pb2.HealthCheckResponse.SERVING,
    False: health_pb2.HealthCheckResponse.NOT_SERVING,
}


class GrpcServer:
    """Listens from `start` to `stop`."""

    def __init__(self, services: Services, settings: GrpcSettings, rules: Cell[AccessRules], door: Door) -> None:
        self._services = services
        self._settings = settings
        self._door = Cell(door)
        self._callers = Callers(rules, door.host)
        self._health = health.aio.HealthServicer()
        self._tasks = Tasks("grpc")
        self._server: Any = None

    @property
    def port(self) -> int:
        """The port in use, once started."""
        return self._callers.port

    async def start(self) -> None:
        """Begin to listen; raises ProxyError with a sentence that says why it cannot."""
        guard = Guard(self._callers)
        self._server = grpc.aio.server(interceptors=(guard,), options=_OPTIONS, maximum_concurrent_rpcs=MOST_AT_ONCE)
        service = ComputeService(self._services, self._callers, self._door)
        self._server.add_generic_rpc_handlers((_handlers(service),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (_SERVICE.full_name, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        self._callers.port = self._listen()
        await self._server.start()
        self._tasks.start("health", self._follow_health())
        log.info("gRPC is served on port %d", self.port)

    def _listen(self) -> int:
        host, port = self._door.value.host, self._settings.port
        try:
            bound = int(self._server.add_insecure_port(_address(host, port or 0)))
            if host in LOOPBACK_NAMES:
                self._listen_on_ipv6(bound)
        except RuntimeError as error:
            owner = port_owner(port or 0)
            who = f", taken by {owner}" if owner else ""
            message = f"cannot listen on {host} port {port} for gRPC{who}; choose another with server.grpc_port"
            raise ProxyError(ErrorKind.UNAVAILABLE, message, code="port_taken" if owner else "cannot_listen") from error
        return bound

    def _listen_on_ipv6(self, port: int) -> None:
        """Listen on the other loopback too, since `localhost` is ::1 first for many clients."""
        try:
            self._server.add_insecure_port(_address("::1", port))
        except RuntimeError as error:
            log.debug("gRPC is not served on [::1]:%d: %s", port, error)

    def reconfigure(self, door: Door) -> None:
        """Apply what may change while listening."""
        self._door.set(door)

    async def _follow_health(self) -> None:
        async for is_serving in self._services.fleet.is_serving.changes():
            for name in ("", _SERVICE.full_name):
                await self._health.set(name, _STATUSES[is_serving])

    async def stop(self, within_s: float) -> None:
        """Take no further calls; those under way go on so long, and are then broken off."""
        await self._tasks.close()
        await self._health.enter_graceful_shutdown()
        await self._server.stop(within_s)


def _address(host: str, port: int) -> str:
    name = "127.0.0.1" if host == "localhost" else host
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def _handlers(service: ComputeService) -> Any:
    """Each call of the service, by its description."""
    handlers = {}
    for method in _SERVICE.methods:
        make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        handlers[method.name] = make(
            getattr(service, method.name),
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )
    return grpc.method_handlers_generic_handler(_SERVICE.full_name, handlers)
