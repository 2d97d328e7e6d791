"""A gRPC server on a free port in front of fake backends, and a channel to it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from ollama_proxyd.edges.grpc_api import compute_pb2 as pb
from ollama_proxyd.edges.grpc_api.server import GrpcServer
from ollama_proxyd.edges.grpc_api.settings import Door, GrpcSettings
from ollama_proxyd.edges.plumbing.access import AccessRules
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from tests.fakes import FakeBackend, services_of

DOOR = Door("127.0.0.1", 64 * 1024 * 1024, names_programs=True)


@dataclass
class Site:
    """A running server, what is behind it, and a channel to it."""

    server: GrpcServer
    services: Services
    rules: Cell[AccessRules]
    channel: Any

    def call(self, name: str, request: Any, **options: Any) -> Any:
        """A call of the service, under way."""
        answers = {"Generate": pb.GenerateResponse, "Embed": pb.EmbedResponse, "ListBackends": pb.ListBackendsResponse}
        answers |= {"HealthCheck": pb.HealthCheckResponse, "ExecutePipeline": pb.ExecutePipelineResponse}
        streamed = {"GenerateStream": pb.GenerateStreamResponse, "ExecutePipelineStream": pb.PipelineStreamResponse}
        make = self.channel.unary_stream if name in streamed else self.channel.unary_unary
        return make(
            f"/compute.v1.ComputeService/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=(answers | streamed)[name].FromString,
        )(request, **options)

    async def failure(self, name: str, request: Any, **options: Any) -> Any:
        """The error with which a call ends, before it has said anything."""
        call = self.call(name, request, **options)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (call.read() if name.endswith("Stream") else call)
        return caught.value


Serve = Callable[..., Awaitable[Site]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server for some backends; all are stopped after the test."""
    sites: list[Site] = []

    async def start(*backends: FakeBackend, door: Door = DOOR, rules: AccessRules | None = None, **around: Any) -> Site:
        services = await services_of(*(backends or (FakeBackend("npu"),)), **around)
        cell = Cell(rules or AccessRules())
        server = GrpcServer(services, GrpcSettings(0), cell, door)
        await server.start()
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
        sites.append(Site(server, services, cell, channel))
        return sites[-1]

    yield start
    for site in sites:
        await site.channel.close()
        await site.server.stop(0)
