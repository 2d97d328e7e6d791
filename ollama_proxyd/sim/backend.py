"""Simulated engines behind the Backend port, and what the machine's sensors say."""

import asyncio
from collections.abc import AsyncGenerator, Mapping

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Embedded, Event, Finished, FinishReason, Timings, Usage
from ollama_proxyd.core.fleet import BackendSpec, LoadedModel, Model, Probe
from ollama_proxyd.core.management import Managed, Management
from ollama_proxyd.core.readings import NO_SENSOR, DeviceState, Maybe, PowerState, Reading, Sensed
from ollama_proxyd.core.requests import Api, Json, Operation, Request
from ollama_proxyd.core.slots import Slots, SlotsFrom
from ollama_proxyd.sim.engine import Engine, Phase, Work
from ollama_proxyd.sim.machines import Device
from ollama_proxyd.sim.traffic import Job
from ollama_proxyd.sim.virtual_time import EPOCH_S
from ollama_proxyd.sim.world import World

CRITICAL_C = 100.0
FAN_FROM_C, FAN_FULL_C = 45.0, 90.0
"""Between these the fan's speed rises with the temperature."""


def spec_of(device: Device) -> BackendSpec:
    """The backend as its owner has configured it."""
    return BackendSpec(
        id=device.id,
        name=device.id,
        api=Api.OLLAMA,
        endpoint=f"http://127.0.0.1:1/{device.id}",
        hardware=device.hardware,
        flavor="ollama",
        profile=device.profile,
    )


class SimulatedBackend:
    """One engine of the world; a request's id leads to what it truly needs."""

    can_keep = can_unload = True
    can_manage = False

    def __init__(self, spec: BackendSpec, world: World, jobs: Mapping[str, Job]) -> None:
        self.spec = spec
        self._world = world
        self._engine = world.engines[spec.id]
        self._jobs = jobs
        self._keep_s: dict[str, float] = {}

    def keep(self, model: str, seconds: float | None) -> None:
        """Keep a model that long after each answer; None: as the engine does by itself."""
        if seconds is None:
            self._keep_s.pop(model, None)
        else:
            self._keep_s[model] = seconds

    async def unload(self, model: str) -> None:
        """Let go of a model."""
        self._world.change(self._engine, lambda now_s: self._engine.unload(model, now_s))

    async def answer(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
        """The answer in few events: its first word, and its end."""
        keep_s = self._keep_s.get(model)
        work = self._world.begin(self.spec.id, self._jobs[request.hints.request_id], keep_s)
        try:
            await work.first
            yield Accepted(asked_s=keep_s)
            if request.operation is not Operation.EMBEDDING:
                yield Delta(text="word")
            await work.done
        finally:
            if not work.done.done():
                self._world.change(self._engine, lambda now_s: self._engine.leave(work, now_s))
        if request.operation is Operation.EMBEDDING:
            yield Embedded(((1.0,),))
        yield _end(work)

    def can_resume(self, _request: Request) -> bool:
        """Answers stay where they began."""
        return False

    async def probe(self) -> Probe:
        """Which models there are and which are in memory."""
        self._world.catch_up()
        device = self._engine.device
        return Probe(
            models=tuple(Model(name, int(gb * 1e9)) for name, gb in device.sizes_gb.items()),
            loaded=tuple(
                LoadedModel(name, expires_unix_s=EPOCH_S + until_s) for name, until_s in self._engine.resident.items()
            ),
            version="simulated",
            slots=Slots(device.slots, SlotsFrom.TOLD) if device.tells_slots else None,
        )

    async def show(self, _model: str, _body: Mapping[str, Json]) -> Mapping[str, Json]:
        """There are no details."""
        raise ProxyError(ErrorKind.UNSUPPORTED, "a simulated model has no details")

    def manage(self, _asked: Management) -> AsyncGenerator[Managed | bytes, None]:
        """There are no files."""
        raise ProxyError(ErrorKind.UNSUPPORTED, "a simulated backend has no files")

    async def count_tokens(self, _request: Request, _model: str) -> int | None:
        """Nothing is counted."""
        return None


def _end(work: Work) -> Finished:
    job, spent_s = work.job, work.spent_s
    is_cut = job.max_tokens is not None and job.output_tokens >= job.max_tokens
    timings = Timings(
        total_s=sum(spent_s.values()),
        load_s=spent_s[Phase.WAKE] + spent_s[Phase.LOAD],
        prompt_s=spent_s[Phase.PREFILL],
        decode_s=spent_s[Phase.DECODE] or None,
    )
    usage = Usage(job.prompt_tokens, job.output_tokens or None, cached_tokens=work.cached_tokens)
    return Finished(FinishReason.LENGTH if is_cut else FinishReason.STOP, usage, timings)


class MachineSensor:
    """All sensors of the simulated machine."""

    name = "simulated machine"

    def __init__(self, world: World) -> None:
        self._world = world

    async def read(self) -> Sensed:
        """What they say now."""
        self._world.catch_up()
        now_s, machine = asyncio.get_running_loop().time(), self._world.machine
        devices = tuple(self._device(engine, now_s) for engine in self._world.engines.values())
        on_battery = machine.battery_j is not None
        parts: dict[str, Maybe[object]] = {"on_battery": Reading(on_battery, now_s), "games": Reading(0, now_s)}
        if machine.battery_j is not None:
            left_j = machine.battery_j - self._world.spent_j - machine.floor_w * now_s
            drawn_w = machine.floor_w + sum(engine.power_w() for engine in self._world.engines.values())
            parts["battery_percent"] = Reading(max(100 * left_j / machine.battery_j, 0.0), now_s)
            parts["battery_state"] = Reading("discharging", now_s)
            parts["battery_rate_w"] = Reading(drawn_w, now_s)
        return Sensed(parts, devices)

    def _device(self, engine: Engine, now_s: float) -> DeviceState:
        device, heat = engine.device, self._world.heat_of(engine)
        if not engine.awake:
            return DeviceState(device.id, device.hardware, device.id, PowerState.ASLEEP)
        power_w, energy_j = self._world.metered(engine)
        fan_percent = min(max((heat.now_c - FAN_FROM_C) / (FAN_FULL_C - FAN_FROM_C), 0.0), 1.0) * 100
        return DeviceState(
            id=device.id,
            hardware=device.hardware,
            name=device.id,
            power_state=PowerState.AWAKE,
            temperature_c=Reading(heat.now_c, now_s),
            critical_c=Reading(CRITICAL_C, now_s),
            slope_c_per_s=Reading(heat.slope_c_per_s, now_s),
            fan_percent=Reading(fan_percent, now_s),
            power_w=Reading(power_w, now_s) if device.metered else NO_SENSOR,
            energy_j=Reading(energy_j, now_s) if device.metered else NO_SENSOR,
            throttling=Reading("", now_s),
        )
