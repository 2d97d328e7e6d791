"""How much memory engines may have: what is configured, and what is counted now."""

from collections.abc import Iterable
from math import inf, isfinite

from ollama_proxyd.core.engine_program import EngineSettings
from ollama_proxyd.core.errors import IN_USE, ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BYTES_PER_GB, BackendSpec, Hardware
from ollama_proxyd.core.memory_budget import RAM, Budget, Budgets, Bytes, Short, Verdict
from ollama_proxyd.core.policy.obstacles import MORE_ROOM
from ollama_proxyd.core.readings import DeviceState, Reading, SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import EngineRunner

_IN_MAIN_MEMORY = frozenset({Hardware.CPU, Hardware.IGPU, Hardware.NPU, Hardware.UNKNOWN})
"""What such a device works with lies in main memory, beside its own count where it has one."""
CARDS = frozenset({Hardware.NVIDIA, Hardware.AMDGPU})
PROCESS_BYTES = 300e6
"""Main memory of a process whose model lies on a card."""


class Room:
    """The budgets of main memory and of each device."""

    def __init__(self, settings: EngineSettings, system: Cell[SystemState], runner: EngineRunner) -> None:
        self.settings = settings
        self._system = system
        self._runner = runner

    def needs(self, spec: BackendSpec, model_bytes: float) -> Bytes:
        """Which memories a model takes there."""
        device = self.device_of(spec)
        if spec.hardware in _IN_MAIN_MEMORY:
            own = {} if device is None or device == "cpu" else {device: model_bytes}
            return {RAM: model_bytes, **own}
        process = PROCESS_BYTES if spec.engine is None else max(PROCESS_BYTES, spec.engine.facts.process_bytes)
        return {RAM: process, device or spec.hardware.value: model_bytes}

    def device_of(self, spec: BackendSpec) -> str | None:
        """The device that it runs on: as configured, else the only one of its class."""
        if spec.pci_address is not None:
            return spec.pci_address
        alike = [each.id for each in self._system.value.devices if each.hardware is spec.hardware]
        return alike[0] if len(alike) == 1 else None

    def most_bytes(self, needs: Bytes) -> int | None:
        """Main memory that a process may have at the most, which is what all may have; None without a limit."""
        limit = self._main(0.0).limit
        return int(limit) if isfinite(limit) and needs.get(RAM) else None

    def budgets(self, ours: Iterable[Bytes]) -> Budgets:
        """How much there may be of each; `ours` is what engines have of it now."""
        held = list(ours)
        found = {RAM: self._main(sum([each.get(RAM, 0.0) for each in held]))}
        for device in self._system.value.devices:
            if device.id != "cpu":
                found[device.id] = self._of(device, sum([each.get(device.id, 0.0) for each in held]))
        limit = self._device_limit
        for hardware in CARDS:
            found.setdefault(hardware.value, Budget(limit, limit))
        return found

    @property
    def _margin(self) -> float:
        return self.settings.margin_gb * BYTES_PER_GB

    @property
    def _device_limit(self) -> float:
        return inf if self.settings.device_gb is None else self.settings.device_gb * BYTES_PER_GB

    def _main(self, ours: float) -> Budget:
        limit = inf if self.settings.ram_gb is None else self.settings.ram_gb * BYTES_PER_GB
        try:
            whole, available = self._runner.main_memory()
        except OSError:
            return Budget(limit, limit)
        limit = min(limit, whole - self._margin)
        return Budget(limit, min(limit, available + ours - self._margin))

    def _of(self, device: DeviceState, ours: float) -> Budget:
        limit, whole, used = self._device_limit, device.memory_total_bytes, device.memory_used_bytes
        if not isinstance(whole, Reading):
            return Budget(limit, limit)
        limit = min(limit, whole.value - self._margin)
        others = max(used.value - ours, 0.0) if isinstance(used, Reading) else 0.0
        return Budget(limit, min(limit, whole.value - others - self._margin))


def why_never(backend_id: str, model: str, short: Short) -> Reason:
    """Why a model does not fit, with the numbers."""
    gigabytes = {"needed_gb": short.needed / BYTES_PER_GB, "limit_gb": short.limit / BYTES_PER_GB}
    return Reason("never_fits", backend_id=backend_id, model=model, memory=short.memory, **gigabytes)


def no_room(backend_id: str, model: str, verdict: Verdict) -> ProxyError:
    """The same for a client that has waited for it, and what to do."""
    assert verdict.short is not None
    do = MORE_ROOM if verdict.is_for_good else "other programs have the rest: end some of them, and try again"
    message = f"{why_never(backend_id, model, verdict.short)}; {do}"
    return ProxyError(ErrorKind.NO_ROOM, message, code="insufficient_memory")


def in_use(backend_id: str, model: str) -> ProxyError:
    """For a model that is not stopped, since requests are under way on it."""
    until = f"to stop it once its requests have ended: ollama-proxyctl engines stop {backend_id} {model}"
    message = f"backend {backend_id} works with {model!r}; {until}"
    return ProxyError(ErrorKind.UPSTREAM_REJECTED, message, status=409, code=IN_USE)
