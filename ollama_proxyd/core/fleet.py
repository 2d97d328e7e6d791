"""What is known about each backend at one moment."""

from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from typing import Annotated

from ollama_proxyd.core.addresses import BackendId, Endpoint, Name, PciAddress, Proxy, UnitName, whole_pci_address
from ollama_proxyd.core.breaker import Breakers
from ollama_proxyd.core.engine_program import EngineProgram
from ollama_proxyd.core.failings import why_failing, worst
from ollama_proxyd.core.frontends import BackendLabels
from ollama_proxyd.core.house import Machine
from ollama_proxyd.core.keeping import NOTHING_KNOWN, Memory
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.options import NotNegative, Option, Positive, Within, Without
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Api
from ollama_proxyd.core.slots import Slots, SlotsFrom
from ollama_proxyd.core.tariff import Tariff
from ollama_proxyd.core.values import value
from ollama_proxyd.core.watts import Watts

BYTES_PER_GB = 10**9
BATCHING = frozenset({"vllm", "sglang", "lmdeploy", "tgi", "ovms"})
"""Engines with continuous batching, which do not tell their limit."""
BATCHING_SLOTS = 16
"""Far below their own limits (vLLM's max_num_seqs is 256), since neighbours slow each other."""
_TRAITS, _MODELS = "backends[].characteristics.", "backends[].model_capability."


class Hardware(Enum):
    """The class of device that a backend runs on."""

    NPU = "npu"
    IGPU = "igpu"
    NVIDIA = "nvidia"
    AMDGPU = "amdgpu"
    CPU = "cpu"
    UNKNOWN = "unknown"


@value
class Profile:
    """A backend's priors, used until it was measured; None where none is configured."""

    power_w: Annotated[Positive | None, Option(_TRAITS + "power_watts", "Watts that the device draws at work.")] = None
    ttft_s: Annotated[
        Positive | None,
        Option(
            _TRAITS + "avg_latency_ms",
            "Milliseconds to the first token, for a short prompt and a loaded model.",
            read=lambda milliseconds: milliseconds / 1000,
        ),
    ] = None
    decode_tps: Annotated[
        Positive | None, Option(_TRAITS + "max_tokens_per_second", "Decode speed, in tokens per second.")
    ] = None
    prefill_tps: Annotated[
        Positive | None, Option(_TRAITS + "prefill_tokens_per_second", "Prefill speed, in tokens per second.")
    ] = None
    wake_s: Annotated[NotNegative | None, Option(_TRAITS, "Seconds to wake the device.")] = None
    wake_j: Annotated[NotNegative | None, Option(_TRAITS + "wake_joules", "Joules to wake the device.")] = None
    load_s: Annotated[NotNegative | None, Option(_TRAITS, "Seconds to load a model.")] = None
    load_j: Annotated[NotNegative | None, Option(_TRAITS + "load_joules", "Joules to load a model.")] = None
    idle_w: Annotated[
        NotNegative | None, Option(_TRAITS + "idle_watts", "Extra watts while an unused model stays in memory.")
    ] = None
    keep_alive_s: Annotated[NotNegative | None, Option(_TRAITS, "Seconds that an unused model stays in memory.")] = None


@value
class ModelRules:
    """Which models a backend is meant for, by shell-style globs without regard to case; `excluded` counts first."""

    supported: Annotated[
        tuple[str, ...],
        Option(_MODELS + "supported_model_patterns", "Only models that match one of these; an empty list allows all."),
    ] = ()
    excluded: Annotated[
        tuple[str, ...], Option(_MODELS + "excluded_patterns", "Models that match one of these are excluded.")
    ] = ()
    preferred: Annotated[
        tuple[str, ...],
        Option(_MODELS + "preferred_models", "Models that prefer this backend at equal cost; they are allowed too."),
    ] = ()
    max_size_bytes: Annotated[
        int | None,
        Option(
            _MODELS + "max_model_size_gb",
            "The largest model file, in gigabytes of 10^9 bytes.",
            written=Positive | None,
            read=lambda gigabytes: int(gigabytes * BYTES_PER_GB),
        ),
    ] = None


@value
class BackendSpec:
    """A backend as configured or detected. `engine`: what the proxy runs for it; None where others run its engine."""

    id: Annotated[BackendId, Option("backends[].", "Its id in headers, logs and metrics, such as ollama-npu.")]
    name: Name
    api: Annotated[
        Api,
        Without((Api.ANTHROPIC.value, Api.RESPONSES.value, Api.INFER.value)),
        Option("backends[].type", "The API that it serves.", default=Api.OLLAMA.value),
    ]
    endpoint: Annotated[
        Endpoint,
        Option(
            "backends[].", "Its base URL, such as http://127.0.0.1:11434.", read=lambda address: address.rstrip("/")
        ),
    ]
    hardware: Annotated[Hardware, Option("backends[].", "The class of its device.")] = Hardware.UNKNOWN
    flavor: Annotated[
        str, Option("backends[].", "Its engine, such as llamacpp, vllm or ovms; null: any.", written=str | None)
    ] = "generic"
    profile: Profile = Profile()
    rules: ModelRules = ModelRules()
    priority: Annotated[int, Within(0, 1000), Option(_TRAITS, "At equal cost the higher priority is used first.")] = 0
    slots: Annotated[
        Annotated[int, Within(1, 1024)] | None,
        Option("backends[].", "Requests that it serves in parallel; null: as its engine says or shows, else 1."),
    ] = None
    pci_address: Annotated[
        PciAddress | None,
        Option(
            "backends[].",
            "Its PCI device, such as 0000:01:00.0; null: the only one of its hardware.",
            read=whole_pci_address,
        ),
    ] = None
    unit: Annotated[
        UnitName | None,
        Option(
            "backends[].",
            "The systemd unit of its engine, of this user's manager; stopped once unused, started on demand.",
        ),
    ] = None
    proxy: Annotated[
        Proxy, Option("backends[].", "The way to another machine; env: what HTTPS_PROXY and NO_PROXY say.")
    ] = "env"
    ca_file: Annotated[
        str | None, Option("backends[].", "A PEM file with further certificate authorities; null: the system's alone.")
    ] = None
    metrics_port: Annotated[
        Annotated[int, Within(1, 65535)] | None,
        Option("backends[].", "The port of its engine's metrics, which the picker reads; null: that of its endpoint."),
    ] = None
    https_images: Annotated[
        bool, Option("backends[].", "Whether images are passed on by their https addresses, which the service fetches.")
    ] = False
    trace_context: Annotated[
        bool | None, Option("backends[].", "Whether it is told of its clients' traces; null: in private networks only.")
    ] = None
    labels: BackendLabels = ()
    machine: str | None = None
    """The paired machine that shares it."""
    tariff: Tariff | None = None
    """What its tokens cost; None where it takes nothing, as far as is configured."""
    is_local: bool = True
    """Whether it runs on a device of this machine, as far as its address tells."""
    engine: EngineProgram | None = None

    @property
    def assumed_slots(self) -> Slots:
        """Requests that it takes at once until it says so: many for engines that batch and for services elsewhere."""
        if self.slots is not None:
            return Slots(self.slots, SlotsFrom.CONFIGURED)
        return Slots(BATCHING_SLOTS if self.flavor in BATCHING or not self.is_local else 1, SlotsFrom.ASSUMED)


@value
class Model:
    """A model that a backend holds; facts are None or empty where it does not say. `unfit`: why not to load it."""

    name: str
    size_bytes: int | None = None
    digest: str | None = None
    modified_at: str | None = None
    family: str | None = None
    parameter_size: str | None = None
    quantization: str | None = None
    format: str | None = None
    context_length: int | None = None
    embedding_length: int | None = None
    capabilities: frozenset[str] | None = None
    """Ollama's words (completion, tools, vision, embedding, thinking, insert); None when unknown."""
    unfit: Reason | None = None


@value
class LoadedModel:
    """A model in a backend's memory."""

    name: str
    size_bytes: int | None = None
    size_vram_bytes: int | None = None
    context_length: int | None = None
    expires_at: str | None = None
    """RFC 3339; None when it stays or the backend does not say. The other is the same in seconds since 1970."""
    expires_unix_s: float | None = None


class Health(Enum):
    """Whether a backend can serve. Busy is not down."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"
    DISABLED = "disabled"


@value
class Probe:
    """What a backend said when its health was checked; `loaded` and `slots` are None where it cannot tell."""

    models: tuple[Model, ...]
    loaded: tuple[LoadedModel, ...] | None = None
    version: str | None = None
    slots: Slots | None = None
    unloads: bool | None = None
    """Whether it unloads models on request, where its kind alone does not tell."""
    flavor: str | None = None
    """The engine, where the backend found out by itself which one it is."""
    start_s: float | None = None
    """How long its engine takes to start, where the proxy starts it on demand."""
    is_off: bool = False
    """Whether the engine is stopped until the next request; its models are those of before."""
    machine: Machine | None = None
    unusable: tuple[Reason, ...] = ()
    """Why files that look like models are none."""


@value
class BackendView:
    """One backend at one moment: what policy sees.

    `speeds` holds what was learned, by the backend's own model name; `watts` what its device was measured to draw
    while it works, None until that was seen.
    `health_reason` is None when UP; `degraded` is why it serves worse than it should. `breakers` are what failed
    requests taught: health checks do not change them.
    """

    spec: BackendSpec
    health: Health = Health.UNKNOWN
    health_reason: Reason | None = None
    degraded: Reason | None = None
    models: tuple[Model, ...] = ()
    loaded: tuple[LoadedModel, ...] | None = None
    version: str | None = None
    slots: int = 1
    slots_from: SlotsFrom = SlotsFrom.ASSUMED
    in_flight: int = 0
    checked_at_s: float | None = None
    speeds: Mapping[str, Speed] = field(default_factory=dict)
    watts: Watts | None = None
    memory: Memory = NOTHING_KNOWN
    breakers: Breakers = ()
    start_s: float | None = None
    is_off: bool = False
    machine: Machine | None = None
    unusable: tuple[Reason, ...] = ()
    """These four: see Probe."""

    @property
    def reason(self) -> Reason | None:
        """Why it does not serve, or not as well as it should; None when all is well."""
        return self.reason_at(None)

    def reason_at(self, now_s: float | None) -> Reason | None:
        """The same, with the time until a failing one is tried again."""
        if self.health_reason or self.degraded or not self.breakers:
            return self.health_reason or self.degraded
        breaker = worst(self.breakers)
        return None if breaker is None else why_failing(breaker, now_s)

    @property
    def is_failing(self) -> bool:
        """Whether it is up and fails requests for each of its models."""
        if self.health is not Health.UP or not self.breakers:
            return False
        failing = {each.model for each in self.breakers if worst((each,)) is not None}
        return None in failing or (bool(failing) and all(model.name in failing for model in self.models))

    @property
    def can_serve(self) -> bool:
        """Whether it is up, and requests are sent to it."""
        return self.health is Health.UP and not self.is_failing

    @property
    def told_health(self) -> str:
        """Its health in a word: checks alone do not make it up."""
        return "failing" if self.is_failing else self.health.value


FleetView = tuple[BackendView, ...]
