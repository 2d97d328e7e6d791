"""A picker on a free port in front of fake backends, and a gateway that speaks to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import pytest

from ollama_proxyd.core.engine_load import NOT_TOLD, EngineLoad
from ollama_proxyd.core.fleet import BackendSpec, Hardware, Profile
from ollama_proxyd.core.requests import Api
from ollama_proxyd.edges.picker_api import ext_proc_pb2 as pb
from ollama_proxyd.edges.picker_api.server import SERVICE, PickerServer
from ollama_proxyd.edges.picker_api.settings import PickerSettings
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.engine_loads import EngineLoads
from ollama_proxyd.services.inventory import BackendConfig
from ollama_proxyd.services.picker import Picker
from tests.fakes import FakeBackend, services_of

MODES = {"none": 0, "streamed": 1, "buffered": 2, "partial": 3, "duplex": 4}
LIMITS = (64 * 1024, 256 * 1024)
POWERS = {"slow": Profile(5.0, 1.0, 10.0), "fast": Profile(200.0, 0.1, 100.0)}


async def until(says: Callable[[], bool]) -> None:
    """Wait until it is so: the picker hears of it by a message of its own."""
    async with asyncio.timeout(20):
        while not says():  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.01)


def backend(name: str, **more: Any) -> FakeBackend:
    """An endpoint of its own address: `slow` needs little energy, `fast` little time."""
    port = 8000 + sum(name.encode())
    profile = POWERS.get(name, Profile(50.0, 0.2, 50.0))
    spec = BackendSpec(name, name, Api.OPENAI, f"http://10.0.0.1:{port}/v1", Hardware.NVIDIA, profile=profile, **more)
    return FakeBackend(BackendSpec(**{**_fields(spec), "is_local": False}))


def _fields(spec: BackendSpec) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in BackendSpec.__dataclass_fields__}


class Told:
    """Loads that a test sets."""

    def __init__(self) -> None:
        self.loads: dict[str, EngineLoad] = {}

    async def read(self, config: BackendConfig) -> EngineLoad:
        return self.loads.get(config.spec.id, NOT_TOLD)


@dataclass
class Site:
    """A running picker, what is behind it, and a channel to it."""

    services: Services
    server: PickerServer
    loads: EngineLoads
    told: Told
    channel: Any
    streams: list["Stream"] = field(default_factory=list)

    def address(self, name: str) -> str:
        return self.services.fleet.view(name).spec.endpoint.split("/")[2]

    async def say(self, **loads: EngineLoad) -> None:
        """Have engines tell these loads."""
        self.told.loads = loads
        await self.loads.ask()

    def stream(self, mode: str = "duplex", path: str = "/v1/chat/completions", **more: Any) -> "Stream":
        call = self.channel.stream_stream(
            f"/{SERVICE}/Process",
            request_serializer=pb.ProcessingRequest.SerializeToString,
            response_deserializer=pb.ProcessingResponse.FromString,
        )()
        self.streams.append(Stream(call, MODES[mode], path, **more))
        return self.streams[-1]

    async def ask(self, body: bytes, **more: Any) -> "Stream":
        """A whole request, and where it goes."""
        stream = self.stream(**more)
        await stream.head(ends=not body)
        if body:
            await stream.body(body, ends=True)
        await stream.read_decision()
        return stream

    def in_flight(self, name: str) -> int:
        return self.services.fleet.view(name).in_flight


class Stream:
    """One request as a gateway carries it."""

    def __init__(
        self,
        call: Any,
        mode: int,
        path: str,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        within: Sequence[str] | str | None = None,
    ) -> None:
        self.call = call
        self.mode = mode
        self.headers = {":method": method, ":path": path, **(headers or {})}
        self.within = within
        self.decision: Any = None
        self.refusal: Any = None

    async def head(self, *, ends: bool = False) -> None:
        message = pb.ProcessingRequest()
        message.protocol_config.request_body_mode = self.mode
        message.protocol_config.response_body_mode = self.mode if self.mode == MODES["duplex"] else 0
        message.request_headers.end_of_stream = ends
        for name, value in self.headers.items():
            message.request_headers.headers.headers.add(key=name, raw_value=value.encode())
        if self.within is not None:
            fields = message.metadata_context.filter_metadata["envoy.lb.subset_hint"]
            fields["x-gateway-destination-endpoint-subset"] = (
                self.within if isinstance(self.within, str) else list(self.within)
            )
        await self.call.write(message)

    async def body(self, piece: bytes, *, ends: bool) -> None:
        message = pb.ProcessingRequest()
        message.request_body.body, message.request_body.end_of_stream = piece, ends
        await self.call.write(message)

    async def answer_head(self, status: int = 200, served: str | None = None, **headers: str) -> Any:
        message = pb.ProcessingRequest()
        message.response_headers.headers.headers.add(key=":status", raw_value=str(status).encode())
        for name, value in headers.items():
            message.response_headers.headers.headers.add(key=name.replace("_", "-"), raw_value=value.encode())
        if served is not None:
            message.metadata_context.filter_metadata["envoy.lb"]["x-gateway-destination-endpoint-served"] = served
        await self.call.write(message)
        return await self.call.read()

    async def answer_body(self, piece: bytes, *, ends: bool) -> Any:
        message = pb.ProcessingRequest()
        message.response_body.body, message.response_body.end_of_stream = piece, ends
        await self.call.write(message)
        return await self.call.read()

    async def read_decision(self) -> None:
        """The next message that decides."""
        while True:
            told = await self.call.read()
            if told.WhichOneof("response") == "immediate_response":
                self.refusal = told.immediate_response
                return
            if told.dynamic_metadata.fields:
                self.decision = told
                return

    @property
    def addresses(self) -> list[str]:
        """Where it goes, by the header and by the metadata alike."""
        part = getattr(self.decision, self.decision.WhichOneof("response"))
        (header,) = part.response.header_mutation.set_headers
        assert header.header.key == "x-gateway-destination-endpoint"
        assert header.append_action == pb.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
        in_header: str = header.header.raw_value.decode()
        assert self.decision.dynamic_metadata["envoy.lb"]["x-gateway-destination-endpoint"] == in_header
        assert part.response.clear_route_cache
        return in_header.split(",")

    async def end(self) -> None:
        await self.call.done_writing()
        while await self.call.read() is not grpc.aio.EOF:
            pass


Serve = Callable[..., Awaitable[Site]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a picker for some backends; all are stopped after the test."""
    sites: list[Site] = []

    async def start(
        *backends: FakeBackend, settings: PickerSettings | None = None, secure: bool = False, **around: Any
    ) -> Site:
        services = await services_of(*(backends or (backend("slow"), backend("fast"))), **around)
        chosen, told = settings or PickerSettings(notice_s=0), Told()
        chosen = replace(chosen, port=0, secure_serving=secure)
        loads = EngineLoads(services.fleet, told, services.clock, lambda: chosen.load_interval_s)
        picker = Picker(services, loads, lambda endpoint: endpoint.split("/")[2], lambda: chosen.limits)
        server = PickerServer(picker, services.fleet, chosen, lambda: LIMITS)
        await server.start()
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
        sites.append(Site(services, server, loads, told, channel))
        return sites[-1]

    yield start
    for site in sites:
        for stream in site.streams:
            stream.call.cancel()
        await site.channel.close()
        await site.server.stop(0)
