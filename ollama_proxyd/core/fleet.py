"""What is known about each backend at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from ollama_proxyd.core.learning import Speed, Watts
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Api


class Hardware(Enum):
    """The class of device that a backend runs on."""

    NPU = "npu"
    IGPU = "igpu"
    NVIDIA = "nvidia"
    AMDGPU = "amdgpu"
    CPU = "cpu"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Profile:
    """A backend's priors, used until speed was measured; None where none is configured.

    power_w: watts while it works. ttft_s: seconds to the first token of a short prompt. decode_tps: tokens per second.
    prefill_tps: prompt tokens per second. wake_s, wake_j: to wake the device. load_s, load_j: to load a model.
    idle_w: extra watts while a model stays loaded. keep_alive_s: how long it stays.
    """

    power_w: float | None = None
    ttft_s: float | None = None
    decode_tps: float | None = None
    prefill_tps: float | None = None
    wake_s: float | None = None
    wake_j: float | None = None
    load_s: float | None = None
    load_j: float | None = None
    idle_w: float | None = None
    keep_alive_s: float | None = None


@dataclass(frozen=True, slots=True)
class ModelRules:
    """Which models a backend is meant for; patterns are shell-style globs, matched without regard to case.

    Excluded first; an empty `supported` allows every model. `max_size_bytes` bounds the model's file.
    """

    supported: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    preferred: tuple[str, ...] = ()
    max_size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """A backend as configured or detected. `slots` is how many requests it answers at the same time."""

    id: str
    name: str
    api: Api
    endpoint: str
    hardware: Hardware = Hardware.UNKNOWN
    flavor: str = "generic"
    """The engine, as detection or the configuration names it (llamacpp, vllm, ovms …)."""
    profile: Profile = Profile()
    rules: ModelRules = ModelRules()
    priority: int = 0
    slots: int = 1
    pci_address: str | None = None
    """Which device it runs on (0000:01:00.0), needed where there are several of its class."""
    is_local: bool = True
    """Whether it runs on a device of this machine, as far as its address tells."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that a backend holds; facts are None or empty where the backend does not say."""

    name: str
    size_bytes: int | None = None
    digest: str | None = None
    modified_at: str | None = None
    """RFC 3339."""
    family: str | None = None
    parameter_size: str | None = None
    quantization: str | None = None
    format: str | None = None
    context_length: int | None = None
    embedding_length: int | None = None
    capabilities: frozenset[str] | None = None
    """Ollama's words (completion, tools, vision, embedding, thinking, insert); None when unknown."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in a backend's memory."""

    name: str
    size_bytes: int | None = None
    size_vram_bytes: int | None = None
    context_length: int | None = None
    expires_at: str | None = None
    """RFC 3339; None when it stays or the backend does not say."""


class Health(Enum):
    """Whether a backend can serve. Busy is not down."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Probe:
    """What a backend said when its health was checked.

    `loaded` is None when the backend cannot tell which models are in memory; `slots` None likewise.
    """

    models: tuple[Model, ...]
    loaded: tuple[LoadedModel, ...] | None = None
    version: str | None = None
    slots: int | None = None
    flavor: str | None = None
    """The engine, where the backend found out by itself which one it is."""


@dataclass(frozen=True, slots=True)
class BackendView:
    """One backend at one moment: what policy sees.

    `speeds` holds what was learned, by the backend's own model name; `watts` what its device was measured to draw
    while it works, None until that was seen.
    `health_reason` is None when UP; `degraded` is why it serves worse than it should.
    """

    spec: BackendSpec
    health: Health = Health.UNKNOWN
    health_reason: Reason | None = None
    degraded: Reason | None = None
    models: tuple[Model, ...] = ()
    loaded: tuple[LoadedModel, ...] | None = None
    version: str | None = None
    slots: int = 1
    in_flight: int = 0
    checked_at_s: float | None = None
    speeds: Mapping[str, Speed] = field(default_factory=dict)
    watts: Watts | None = None

    @property
    def reason(self) -> Reason | None:
        """Why it does not serve, or not as well as it should; None when all is well."""
        return self.health_reason or self.degraded


FleetView = tuple[BackendView, ...]
