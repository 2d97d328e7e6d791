"""Engines, a picker in a process of its own, and the answers that come through Envoy."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.free_ports import free_port
from tests.real_things import ROOT


@dataclass
class PickerProgram:
    """`ollama-proxyd picker` on a configuration file."""

    process: asyncio.subprocess.Process
    port: int
    http_port: int
    file: Path
    config: dict[str, Any]

    async def choose(self, mode: str) -> None:
        """Put a mode in force, as `ollama-proxyctl mode` does."""
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"http://127.0.0.1:{self.http_port}/efficiency", json={"mode": mode}) as reply,
        ):
            assert reply.status == 200

    async def status(self) -> Any:
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"http://127.0.0.1:{self.http_port}/status") as reply,
        ):
            return await reply.json()

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


StartPicker = Callable[[dict[str, Any]], Awaitable[PickerProgram]]


@pytest.fixture
async def start_picker(tmp_path: Path) -> AsyncIterator[StartPicker]:
    """Start the program; it is ready when it says so by gRPC health checking."""
    running: list[PickerProgram] = []

    async def start(config: dict[str, Any]) -> PickerProgram:
        port, http_port, file = free_port(), free_port(), tmp_path / "picker.yaml"
        server = {"http_port": http_port, **config.get("server", {})}
        whole = {
            **config,
            "picker": {"port": port, "secure_serving": False, **config.get("picker", {})},
            "server": server,
        }
        file.write_text(json.dumps(whole))
        environ = {**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
        environ.pop("XDG_RUNTIME_DIR", None)
        command = (sys.executable, "-P", "-m", "ollama_proxyd", "--config", str(file), "picker")
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environ)
        running.append(PickerProgram(process, port, http_port, file, whole))
        await _ready(running[-1])
        return running[-1]

    yield start
    for program in running:
        if program.process.returncode is None:
            program.process.kill()
        await program.process.wait()


async def _ready(program: PickerProgram) -> None:
    port = program.config["picker"].get("health_port", program.port)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(60):
        stub = health_pb2_grpc.HealthStub(channel)
        await stub.Check(health_pb2.HealthCheckRequest(service="liveness"), wait_for_ready=True)
        async for answer in stub.Watch(health_pb2.HealthCheckRequest(service="readiness")):
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
