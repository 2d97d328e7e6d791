"""Starts the demo fleet: four simulated devices, each on its own port of loopback."""

import asyncio
from collections.abc import Sequence

from aiohttp import web

from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.requests import Api
from ollama_proxyd.edges.demo.devices import DEVICES, SimulatedDevice
from ollama_proxyd.edges.demo.engine import SimulatedEngine
from ollama_proxyd.edges.demo.server import make_app

_HOST = "127.0.0.1"
_ANY_PORT = (0,) * len(DEVICES)
_SHUTDOWN_S = 0.1


class DemoFleet:
    """The running devices, as backends."""

    def __init__(self, runners: Sequence[web.AppRunner], specs: tuple[BackendSpec, ...]) -> None:
        self._runners = runners
        self.specs = specs

    async def close(self) -> None:
        """End every device, whatever it is saying."""
        await asyncio.gather(*(runner.cleanup() for runner in self._runners))


async def start_demo(time_scale: float = 1.0, ports: Sequence[int] = _ANY_PORT) -> DemoFleet:
    """Start every device; port 0 takes a free one. `time_scale` below 1 makes all of them faster than life."""
    runners: list[web.AppRunner] = []
    specs: list[BackendSpec] = []
    for device, port in zip(DEVICES, ports, strict=True):
        runner = web.AppRunner(
            make_app(SimulatedEngine(device, time_scale)),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=_SHUTDOWN_S,
        )
        runners.append(runner)
        try:
            await runner.setup()
            await web.TCPSite(runner, _HOST, port).start()
        except OSError:
            await DemoFleet(runners, ()).close()
            raise
        specs.append(_spec(device, runner.addresses[0][1]))
    return DemoFleet(runners, tuple(specs))


def _spec(device: SimulatedDevice, port: int) -> BackendSpec:
    return BackendSpec(
        slots=1,
        id=device.id,
        name=f"Simulated {device.label}",
        api=Api.OLLAMA,
        endpoint=f"http://{_HOST}:{port}",
        hardware=device.hardware,
        flavor="demo",
        profile=device.profile,
    )
