"""Times the endpoint picker: a decision alone, and whole requests of a gateway over gRPC to a picker on one core."""

import argparse
import asyncio
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from ollama_proxyd.app.foundation import Foundation
from ollama_proxyd.config.load import defaults
from ollama_proxyd.core.engine_load import EngineLoad, PickerLimits, Saturation
from ollama_proxyd.core.fleet import BackendSpec, Hardware, LoadedModel, Model, Probe, Profile
from ollama_proxyd.core.requests import Api, Json
from ollama_proxyd.edges.picker_api import ext_proc_pb2 as pb
from ollama_proxyd.edges.picker_api.asking import read_head
from ollama_proxyd.edges.storage.history import NoHistory
from ollama_proxyd.services.carried import Carried
from ollama_proxyd.services.engine_loads import EngineLoads
from ollama_proxyd.services.inventory import BackendConfig
from ollama_proxyd.services.picker import Picker

SIZES = (10, 100, 1000)
UNDER_WAY = 2
"""Requests under way on each backend, on average, while decisions are timed."""
METHOD = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
METRICS = b"vllm:num_requests_running{} 2\nvllm:num_requests_waiting{} 0\nvllm:kv_cache_usage_perc{} 0.3\n"
MODELS = json.dumps({"object": "list", "data": [{"id": "bench", "object": "model", "owned_by": "vllm"}]}).encode()
BODY = json.dumps(
    {"model": "bench", "messages": [{"role": "user", "content": "word " * 400}], "max_tokens": 200, "stream": True}
).encode()


class _Forgetful:
    """A state store that keeps nothing."""

    def get(self, key: str) -> Json:  # noqa: ARG002
        return None

    def put(self, key: str, value: Json) -> None:
        pass

    async def written(self) -> None:
        pass


class _Told:
    """Engines that all tell one load."""

    async def read(self, _: BackendConfig) -> EngineLoad:
        return EngineLoad(running=2, waiting=0, cache_share=0.3)


def _specs(ports: Sequence[int]) -> list[BackendSpec]:
    """Backends of three classes of cards."""
    cards = (Profile(72, 0.2, 40), Profile(300, 0.1, 90), Profile(700, 0.05, 160))
    return [
        BackendSpec(
            f"b{at}",
            f"b{at}",
            Api.OPENAI,
            f"http://127.0.0.1:{port}",
            Hardware.NVIDIA,
            "vllm",
            cards[at % 3],
            is_local=False,
        )
        for at, port in enumerate(ports)
    ]


def _head() -> Any:
    message = pb.ProcessingRequest()
    message.protocol_config.request_body_mode = message.protocol_config.response_body_mode = 4
    headers = {":method": "POST", ":path": "/v1/chat/completions", "content-type": "application/json"}
    for name, value in headers.items():
        message.request_headers.headers.headers.add(key=name, raw_value=value.encode())
    return message


async def decisions_us(number: int, rounds: int = 5) -> tuple[float, ...]:
    """The mean processor time of reading a request and deciding it in each round, in microseconds."""
    foundation = Foundation.build(defaults(), _Forgetful(), NoHistory())
    services = foundation.services
    services.fleet.reconcile([BackendConfig(spec) for spec in _specs(range(10_000, 10_000 + number))])
    for view in services.fleet.views.value:
        services.fleet.note_up(view.spec.id, Probe((Model("bench"),), (LoadedModel("bench"),)))
    loads = EngineLoads(services.fleet, _Told(), services.clock, lambda: 1.0)
    await loads.ask()
    limits = PickerLimits(3, Saturation(5, 0.8))
    picker = Picker(services, loads, lambda endpoint: endpoint.split("/")[2], lambda: limits)
    head, times, under_way = read_head(_head()), list[float](), list[Carried]()
    asked = max(4000 // number, 100)
    for _ in range(1 + rounds):  # in the first one the fleet is compiled
        spent_ns = 0
        for _ in range(asked):
            began_ns = time.process_time_ns()
            picked = picker.pick(await head.with_body(BODY))
            spent_ns += time.process_time_ns() - began_ns
            if not isinstance(picked, Carried):
                raise TypeError("the request was not read")
            under_way.append(picked)
            if len(under_way) > UNDER_WAY * number:
                under_way.pop(0).end(None)
        times.append(spent_ns / asked / 1000)
    await foundation.close(lambda: False)
    return tuple(times[1:])


class Latencies(NamedTuple):
    """Whole decisions of a run: how many a second, how long each took, and the picker's processor time of each."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


async def _engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All engines: their models and their metrics."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            body = METRICS if b"/metrics" in head else MODELS
            kind = b"text/plain" if body is METRICS else b"application/json"
            size = str(len(body)).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nContent-Length: " + size + b"\r\n\r\n")
            writer.write(body)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


@asynccontextmanager
async def _picker(folder: Path, number: int) -> AsyncIterator[tuple[int, int]]:
    """The port of a picker in a process of its own, on the last core, and that process."""
    engines = [await asyncio.start_server(_engine, "127.0.0.1", 0) for _ in range(number)]
    ports, picker_port = [each.sockets[0].getsockname()[1] for each in engines], _free_port()
    backends = [
        {
            "id": spec.id,
            "type": "openai",
            "flavor": "vllm",
            "endpoint": spec.endpoint,
            "hardware": "nvidia",
            "characteristics": {
                "power_watts": spec.profile.power_w,
                "avg_latency_ms": (spec.profile.ttft_s or 0) * 1000,
                "max_tokens_per_second": spec.profile.decode_tps,
            },
        }
        for spec in _specs(ports)
    ]
    file = folder / "picker.json"
    await asyncio.to_thread(
        file.write_text, json.dumps({"backends": backends, "picker": {"port": picker_port}, "server": {"http_port": 0}})
    )
    environ = {**os.environ, "HOME": str(folder), "XDG_STATE_HOME": str(folder)}
    environ.pop("XDG_RUNTIME_DIR", None)
    last = max(os.sched_getaffinity(0))
    command = (sys.executable, "-P", "-m", "ollama_proxyd", "--log-level", "error", "--config", str(file), "picker")
    program = await asyncio.create_subprocess_exec(
        *command, env=environ, stdout=asyncio.subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, {last})
    )
    try:
        yield picker_port, program.pid
    finally:
        program.terminate()
        await program.wait()
        for each in engines:
            each.close()


def cpu_s(pid: int) -> float:
    """The processor time of all threads of a process, by the scheduler's own count."""
    found = 0
    for each in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        found += int(each.read_text(encoding="ascii").split()[0])
    return found / 1e9


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Gateway:
    """Sends whole requests and notes how long each decision took."""

    def __init__(self, port: int, pid: int) -> None:
        self._pid = pid
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self._process = channel.stream_stream(
            METHOD,
            request_serializer=pb.ProcessingRequest.SerializeToString,
            response_deserializer=pb.ProcessingResponse.FromString,
        )
        self._head = _head()
        self._body = pb.ProcessingRequest(request_body=pb.HttpBody(body=BODY, end_of_stream=True))
        answer = pb.ProcessingRequest()
        answer.response_headers.headers.headers.add(key=":status", raw_value=b"200")
        answer.response_headers.end_of_stream = True
        self._answer = answer
        self.times_s: list[float] = []

    async def ask(self) -> None:
        """One request: the decision, its body, and the head of its answer."""
        began_s = time.perf_counter()
        call = self._process()
        await call.write(self._head)
        await call.write(self._body)
        decision = await call.read()
        self.times_s.append(time.perf_counter() - began_s)
        if not decision.dynamic_metadata.fields:
            raise RuntimeError(f"not decided: {decision}")
        await call.read()
        await call.write(self._answer)
        await call.read()
        await call.done_writing()
        await call.read()

    async def closed(self, streams: int, seconds: float) -> Latencies:
        """So many at once, each of which asks again as soon as it is answered."""
        self.times_s.clear()
        spent_s, until_s = cpu_s(self._pid), time.perf_counter() + seconds

        async def ask_on() -> None:
            while time.perf_counter() < until_s:
                await self.ask()

        await asyncio.gather(*(ask_on() for _ in range(streams)))
        return self._seen(seconds, cpu_s(self._pid) - spent_s)

    def _seen(self, seconds: float, cpu_seconds: float) -> Latencies:
        times = sorted(self.times_s)
        p50_s, p99_s = times[len(times) // 2], times[len(times) * 99 // 100]
        return Latencies(len(times) / seconds, p50_s * 1000, p99_s * 1000, cpu_seconds / len(times) * 1e6)


async def over_grpc(number: int, seconds: float) -> dict[str, Latencies]:
    """What a gateway sees of a picker for so many backends."""
    with tempfile.TemporaryDirectory() as folder:
        async with _picker(Path(folder), number) as (port, pid):
            gateway = Gateway(port, pid)
            await _ready(gateway)
            await gateway.closed(4, 1.0)
            return {f"{streams} at once": await gateway.closed(streams, seconds) for streams in (1, 4, 16)}


async def _ready(gateway: Gateway) -> None:
    """Wait until it decides."""
    for _ in range(300):
        try:
            await gateway.ask()
        except (RuntimeError, grpc.aio.AioRpcError):
            await asyncio.sleep(0.1)
        else:
            return
    raise TimeoutError("the picker is not ready")


async def _main(sizes: Sequence[int], seconds: float) -> None:
    print("| backends | reading and deciding: processor time, median of 5 rounds (lowest … highest) |\n| --- | --- |")
    for number in sizes:
        times = sorted(await decisions_us(number))
        print(f"| {number} | {times[len(times) // 2]:.0f} µs ({times[0]:.0f} … {times[-1]:.0f}) |", flush=True)
    print("\n| backends | over gRPC | decisions/s | p50 | p99 | the picker's processor time |")
    print("| --- | --- | --- | --- | --- | --- |")
    for number in sizes:
        for name, seen in (await over_grpc(number, seconds)).items():
            told = f"{seen.per_s:.0f} | {seen.p50_ms:.2f} ms | {seen.p99_ms:.2f} ms | {seen.cpu_us:.0f} µs"
            print(f"| {number} | {name} | {told} |", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench picker", description="The endpoint picker on one core.")
    parser.add_argument("--backends", metavar="NUMBERS", default=",".join(map(str, SIZES)), help="say 10,100,1000")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement over gRPC (5)")
    options = parser.parse_args()
    asyncio.run(_main([int(each) for each in options.backends.split(",")], options.seconds))


if __name__ == "__main__":
    main()
