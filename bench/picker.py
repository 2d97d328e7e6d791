"""Times the endpoint picker: a decision alone, and whole requests of a gateway over gRPC to a picker on one core."""

import argparse
import asyncio
import json
import os
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import uvloop

from bench.gateway import Gateway, Latencies, at_random, evenly, head
from ollama_proxyd.app.foundation import Foundation
from ollama_proxyd.config.load import defaults
from ollama_proxyd.core.engine_load import EngineLoad, PickerLimits, Saturation
from ollama_proxyd.core.fleet import BackendSpec, Hardware, LoadedModel, Model, Probe, Profile
from ollama_proxyd.core.requests import Api, Json
from ollama_proxyd.edges.picker_api.asking import read_head
from ollama_proxyd.edges.storage.history import NoHistory
from ollama_proxyd.services.carried import Carried
from ollama_proxyd.services.engine_loads import EngineLoads
from ollama_proxyd.services.inventory import BackendConfig
from ollama_proxyd.services.picker import Picker

SIZES = (10, 100, 1000)
CORE = max(os.sched_getaffinity(0))
"""The picker's own."""
UNDER_WAY = 2
"""Requests under way on each backend, on average, while decisions are timed."""
METRICS = b"vllm:num_requests_running{} 2\nvllm:num_requests_waiting{} 0\nvllm:kv_cache_usage_perc{} 0.3\n"
MODELS = json.dumps({"object": "list", "data": [{"id": "bench", "object": "model", "owned_by": "vllm"}]}).encode()
BODY = json.dumps(
    {"model": "bench", "messages": [{"role": "user", "content": "word " * 400}], "max_tokens": 200, "stream": True}
).encode()


ANSWER = json.dumps(
    {
        "object": "chat.completion",
        "model": "bench",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 150}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 420, "completion_tokens": 150, "total_tokens": 570},
    }
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
    asked_by, times, under_way = read_head(head()), list[float](), list[Carried]()
    asked = max(4000 // number, 100)
    for _ in range(1 + rounds):  # in the first one the fleet is compiled
        spent_ns = 0
        for _ in range(asked):
            began_ns = time.process_time_ns()
            picked = picker.pick(asked_by.read(BODY))
            spent_ns += time.process_time_ns() - began_ns
            if not isinstance(picked, Carried):
                raise TypeError("the request was not read")
            under_way.append(picked)
            if len(under_way) > UNDER_WAY * number:
                under_way.pop(0).end(None)
        times.append(spent_ns / asked / 1000)
    await foundation.close(lambda: False)
    return tuple(times[1:])


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
async def _picker(folder: Path, number: int, *, is_secure: bool) -> AsyncIterator[tuple[int, int]]:
    """The port of a picker in a process of its own, on the last core, and that process; scheduled as this one is."""
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
    file, listens = folder / "picker.json", {"port": picker_port, "secure_serving": is_secure}
    await asyncio.to_thread(
        file.write_text,
        json.dumps({"backends": backends, "picker": listens, "server": {"http_port": 0}}),
    )
    environ = {**os.environ, "HOME": str(folder), "XDG_STATE_HOME": str(folder)}
    environ.pop("XDG_RUNTIME_DIR", None)
    command = (sys.executable, "-P", "-m", "ollama_proxyd", "--log-level", "error", "--config", str(file), "picker")
    program = await asyncio.create_subprocess_exec(
        *command, env=environ, stdout=asyncio.subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, {CORE})
    )
    try:
        yield picker_port, program.pid
    finally:
        program.terminate()
        await program.wait()
        for each in engines:
            each.close()


class Spent(NamedTuple):
    """What a process has had of its core, by the scheduler's own count."""

    ran_s: float
    waited_s: float
    """While others had it."""

    @classmethod
    def of(cls, pid: int) -> "Spent":
        """What all threads of a process have had by now."""
        told = [each.read_text(encoding="ascii").split() for each in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        ran, waited = ([int(each[at]) for each in told] for at in (0, 1))
        return cls(sum(ran) / 1e9, sum(waited) / 1e9)

    def since(self, before: "Spent", requests: int) -> tuple[float, float]:
        """The microseconds of each request that it ran, and waited, since then."""
        ran_s, waited_s = self.ran_s - before.ran_s, self.waited_s - before.waited_s
        return ran_s / requests * 1e6, waited_s / requests * 1e6


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def over_grpc(
    number: int, rate: float, seconds: float, answer: bytes, *, is_secure: bool
) -> dict[str, tuple[Latencies, float, float]]:
    """What a gateway sees of a picker for so many backends.

    With the microseconds of each request that the picker ran, and that it waited for its core.
    """
    with tempfile.TemporaryDirectory() as folder:
        async with _picker(Path(folder), number, is_secure=is_secure) as (port, pid):
            gateway = await _ready(port, answer, is_secure=is_secure)
            found = dict[str, tuple[Latencies, float, float]]()
            for name, gaps in {"evenly": evenly(rate), "at random": at_random(rate)}.items():
                await gateway.run(gaps, 1.0)
                before = Spent.of(pid)
                seen = await gateway.run(gaps, seconds)
                found[name] = seen, *Spent.of(pid).since(before, len(gateway.times_s))
            return found


async def _ready(port: int, answer: bytes, *, is_secure: bool) -> Gateway:
    """A gateway, as soon as the picker decides."""
    loop, context = asyncio.get_running_loop(), None
    if is_secure:  # as gateways do, which trust the certificate unseen
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
    for _ in range(300):
        try:
            _, gateway = await loop.create_connection(lambda: Gateway(BODY, answer), "127.0.0.1", port, ssl=context)
            await gateway.run(evenly(20), 0.2)
        except (RuntimeError, OSError):
            await asyncio.sleep(0.1)
        else:
            return gateway
    raise TimeoutError("the picker is not ready")


async def _main(sizes: Sequence[int], rate: float, seconds: float, answer: bytes, *, is_secure: bool) -> None:
    print("| backends | reading and deciding: processor time, median of 5 rounds (lowest … highest) |\n| --- | --- |")
    for number in sizes:
        times = sorted(await decisions_us(number))
        print(f"| {number} | {times[len(times) // 2]:.0f} µs ({times[0]:.0f} … {times[-1]:.0f}) |", flush=True)
    print("\n| backends | requests come | decisions/s | p50 | p99 | longest | processor time | wait for the core |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for number in sizes:
        for name, (seen, ran_us, waited_us) in (
            await over_grpc(number, rate, seconds, answer, is_secure=is_secure)
        ).items():
            told = f"{seen.per_s:.0f} | {seen.p50_ms:.2f} ms | {seen.p99_ms:.2f} ms | {seen.most_ms:.2f} ms"
            print(f"| {number} | {name} | {told} | {ran_us:.0f} µs | {waited_us:.0f} µs |", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench picker", description="The endpoint picker on one core.")
    parser.add_argument("--backends", metavar="NUMBERS", default=",".join(map(str, SIZES)), help="say 10,100,1000")
    parser.add_argument("--rate", type=float, default=1000.0, help="requests a second (1000)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement over gRPC (5)")
    parser.add_argument("--tls", action="store_true", help="as gateways of the extension do")
    parser.add_argument("--answers", action="store_true", help="answers have bodies that tell their tokens")
    parser.add_argument("--first", action="store_true", help="before all other programs on both cores, as root")
    options = parser.parse_args()
    if options.first:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    os.sched_setaffinity(0, os.sched_getaffinity(0) - {CORE} or {CORE})
    sizes = [int(each) for each in options.backends.split(",")]
    answer = ANSWER if options.answers else b""
    uvloop.run(_main(sizes, options.rate, options.seconds, answer, is_secure=options.tls))


if __name__ == "__main__":
    main()
