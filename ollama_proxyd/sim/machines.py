"""Simulated machines as data: what each device truly does, and what its owner has configured of it.

All figures are assumptions of a plausible size; none was measured. Watts are above the platform's floor.
"""

from collections.abc import Mapping
from math import inf

from ollama_proxyd.core.fleet import Hardware, Profile
from ollama_proxyd.core.values import replace, value

REFERENCE_GB = 4.7
"""Decode and prefill speeds of devices hold for an 8B model in four bits."""
NO_PROFILE = Profile()

MODEL_GB: Mapping[str, float] = {
    "embed:0.1b": 0.3,
    "coder:1.5b": 1.0,
    "chat:3b": 2.0,
    "chat:8b": 4.7,
    "chat:12b": 7.3,
    "chat:32b": 20.0,
}


@value
class Device:
    """True physics of a device and its engine.

    token_s: overhead of each token, whatever the model. slope: how much each further sequence slows a step.
    sleep_s: how long it stays awake unused. packaged: it shares memory and heat with the processor.
    """

    id: str
    hardware: Hardware
    decode_tps: float
    token_s: float
    prefill_tps: float
    first_s: float
    power_w: float
    load_gb_per_s: float
    load_s: float
    load_w: float
    resident_w: float
    memory_gb: float
    slope: float
    awake_w: float = 0.0
    sleep_s: float = inf
    wake_s: float = 0.0
    wake_j: float = 0.0
    packaged: bool = True
    largest_gb: float = inf
    slots: int = 1
    tells_slots: bool = False
    metered: bool = False
    profile: Profile = NO_PROFILE

    @property
    def sleeps(self) -> bool:
        """Whether it sleeps once it is unused."""
        return self.sleep_s < inf

    @property
    def sizes_gb(self) -> Mapping[str, float]:
        """The models that its engine has."""
        most_gb = min(self.largest_gb, self.memory_gb)
        return {model: size_gb for model, size_gb in MODEL_GB.items() if size_gb <= most_gb}

    def holds(self, model: str) -> bool:
        """Whether its engine has a model."""
        return model in self.sizes_gb

    def token_time_s(self, model: str) -> float:
        """Seconds for a token: memory is read once for each."""
        gb_per_s = REFERENCE_GB / (1 / self.decode_tps - self.token_s)
        return MODEL_GB[model] / gb_per_s + self.token_s

    def prefill_time_s(self, model: str, tokens: int) -> float:
        """Seconds to the first token of a prompt."""
        return self.first_s + tokens * MODEL_GB[model] / REFERENCE_GB / self.prefill_tps

    def decode_time_s(self, model: str, tokens: int) -> float:
        """Seconds from the first token to the last."""
        return max(tokens - 1, 0) * self.token_time_s(model)

    def load_time_s(self, model: str) -> float:
        """Seconds to load a model."""
        return self.load_s + MODEL_GB[model] / self.load_gb_per_s

    def load_energy_j(self, model: str) -> float:
        """Joules to load a model."""
        return self.load_w * self.load_time_s(model)

    def break_even_s(self, model: str, price_w: float) -> float:
        """How long keeping a model costs as much as loading it again."""
        again_j = self.load_energy_j(model) + self.wake_j + price_w * (self.load_time_s(model) + self.wake_s)
        return again_j / self.resident_w


@value
class Cooling:
    """How a part of the machine warms: degrees per watt, the time constant, and watts that it draws in idle."""

    c_per_w: float
    tau_s: float
    idle_w: float


@value
class Machine:
    """A machine and its engines; without a battery it runs on mains."""

    name: str
    devices: tuple[Device, ...]
    floor_w: float
    battery_j: float | None
    package: Cooling
    card: Cooling
    ambient_c: float = 28.0
    throttle_c: float = 95.0
    contention: float = 0.25
    """How much each other busy device of the package slows one: they share the memory's bandwidth."""
    chats: tuple[str, ...] = ("chat:3b", "chat:8b", "chat:8b")
    """The models that its chats use."""


LAPTOP = Machine(
    name="laptop",
    devices=(
        Device(
            "npu", Hardware.NPU, 10, 0.020, 400, 0.60, 3, 1.0, 1.5, 10, 0.3, 5, 0.9,
            sleep_s=0.01, wake_s=0.02, wake_j=0.1, largest_gb=2.0, profile=Profile(3, 0.8, 10),
        ),
        Device("igpu", Hardware.IGPU, 22, 0.005, 300, 0.15, 12, 2.0, 0.6, 12, 0.3, 10, 0.3,
               largest_gb=4.7, profile=Profile(12, 0.35, 22)),
        Device(
            "nvidia", Hardware.NVIDIA, 65, 0.003, 2500, 0.12, 55, 1.8, 0.5, 30, 9.0, 8, 0.08,
            awake_w=6, sleep_s=10, wake_s=1.5, wake_j=25, packaged=False, metered=True, profile=Profile(55, 0.15, 65),
        ),
        Device("cpu", Hardware.CPU, 6, 0.010, 60, 0.20, 28, 2.5, 0.3, 14, 0.3, 16, 0.8, profile=Profile(28, 1.2, 6)),
    ),
    floor_w=6,
    battery_j=60 * 3600.0,
    package=Cooling(1.6, 60, 5),
    card=Cooling(0.85, 90, 0),
)  # fmt: skip
"""The reference laptop: four devices, as its owner has described them."""

HANDHELD = Machine(
    name="handheld",
    devices=(
        Device("igpu", Hardware.IGPU, 14, 0.006, 220, 0.18, 14, 1.8, 0.6, 13, 0.3, 8, 0.3,
               largest_gb=4.7),
        Device("cpu", Hardware.CPU, 7, 0.010, 55, 0.20, 17, 2.0, 0.3, 11, 0.3, 10, 0.8, metered=True),
    ),
    floor_w=5,
    battery_j=40 * 3600.0,
    package=Cooling(1.9, 45, 4),
    card=Cooling(1.0, 60, 0),
)  # fmt: skip
"""A games console of the hand: no discrete GPU, no NPU, little battery, nothing configured."""

WORKSTATION = Machine(
    name="workstation",
    devices=(
        Device(
            "nvidia", Hardware.NVIDIA, 130, 0.002, 6000, 0.08, 300, 3.0, 0.5, 90, 24.0, 24, 0.05,
            awake_w=18, sleep_s=30, wake_s=2.0, wake_j=80, packaged=False, slots=4, tells_slots=True, metered=True,
        ),
        Device("cpu", Hardware.CPU, 12, 0.006, 150, 0.15, 120, 3.0, 0.3, 50, 0.5, 64, 0.7, metered=True),
    ),
    floor_w=55,
    battery_j=None,
    package=Cooling(0.4, 90, 20),
    card=Cooling(0.18, 90, 0),
    chats=("chat:8b", "chat:12b", "chat:32b"),
)  # fmt: skip
"""A 300 W GPU beside a large processor, on mains, nothing configured."""

UNSEEN = Machine(
    name="unseen",
    devices=(
        Device("npu", Hardware.NPU, 16, 0.015, 700, 0.40, 6, 1.2, 1.2, 11, 0.3, 8, 0.9,
               sleep_s=0.01, wake_s=0.02, wake_j=0.1, largest_gb=4.7),
        Device("igpu", Hardware.IGPU, 17, 0.006, 350, 0.20, 19, 2.2, 0.6, 15, 0.3, 14, 0.25, largest_gb=7.3),
        Device(
            "amdgpu", Hardware.AMDGPU, 48, 0.004, 1500, 0.16, 82, 2.0, 0.7, 40, 12.0, 8, 0.10,
            awake_w=8, sleep_s=5, wake_s=2.5, wake_j=40, packaged=False, metered=True,
        ),
        Device("cpu", Hardware.CPU, 8, 0.008, 80, 0.20, 38, 2.5, 0.3, 20, 0.3, 24, 0.8),
    ),
    floor_w=8,
    battery_j=75 * 3600.0,
    package=Cooling(1.2, 70, 6),
    card=Cooling(0.6, 90, 0),
)  # fmt: skip
"""A laptop of other makers, nothing configured: no number of the policy was chosen by it."""

SLOTS: Mapping[str, int] = {"npu": 1, "igpu": 4, "nvidia": 8, "cpu": 2}
BATCHING = replace(
    LAPTOP,
    name="batching",
    devices=tuple([replace(each, slots=SLOTS[each.id], tells_slots=True) for each in LAPTOP.devices]),
)
"""The laptop, whose engines answer several requests at a time and say how many: what agents gain by that."""

MACHINES: Mapping[str, Machine] = {each.name: each for each in (LAPTOP, HANDHELD, WORKSTATION, UNSEEN, BATCHING)}
