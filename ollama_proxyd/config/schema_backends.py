"""The shape of the file's `backends` list."""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct, field

from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.requests import Api

Positive: TypeAlias = Annotated[float, Meta(gt=0)]
NotNegative: TypeAlias = Annotated[float, Meta(ge=0)]
Pattern: TypeAlias = Annotated[str, Meta(min_length=1)]
EnvironmentName: TypeAlias = Annotated[
    str,
    Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$", extra={"expects": "the name of an environment variable"}),
]
FilePath: TypeAlias = Annotated[str, Meta(min_length=1, extra={"expects": "the path of a file"})]
BackendId: TypeAlias = Annotated[
    str,
    Meta(
        pattern="^(?!none$)[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        extra={
            "expects": 'an id of up to 64 letters, digits, ".", "_" and "-" that begins with a letter or digit '
            'and is not "none", which stands for no backend in X-Backend-Used'
        },
    ),
]
PciAddress: TypeAlias = Annotated[
    str,
    Meta(
        pattern="^([0-9A-Fa-f]{4}:)?[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}[.][0-7]$",
        extra={"expects": "a PCI address such as 0000:01:00.0, as lspci -D shows it"},
    ),
]
Endpoint: TypeAlias = Annotated[
    str,
    Meta(
        pattern='^https?://[A-Za-z0-9._:\\[\\]-]+(/[!-"$->A-~]*)?$',
        extra={"expects": "an address such as http://127.0.0.1:11434, without user name, query or fragment"},
    ),
]


class Characteristics(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of a device before anything was measured; null where nobody knows."""

    power_watts: Annotated[Positive | None, Meta(description="Watts that the device draws while it answers.")] = None
    avg_latency_ms: Annotated[
        Positive | None,
        Meta(description="Milliseconds to the first token of a short prompt with the model loaded."),
    ] = None
    max_tokens_per_second: Annotated[Positive | None, Meta(description="Tokens per second that it writes.")] = None
    prefill_tokens_per_second: Annotated[
        Positive | None, Meta(description="Tokens per second of a prompt that it reads.")
    ] = None
    wake_s: Annotated[NotNegative | None, Meta(description="Seconds to wake the device when it sleeps.")] = None
    wake_joules: Annotated[NotNegative | None, Meta(description="Joules to wake the device when it sleeps.")] = None
    load_s: Annotated[NotNegative | None, Meta(description="Seconds to load a model that is not in memory.")] = None
    load_joules: Annotated[NotNegative | None, Meta(description="Joules to load a model that is not in memory.")] = None
    idle_watts: Annotated[
        NotNegative | None, Meta(description="Extra watts for as long as a model stays in memory unused.")
    ] = None
    keep_alive_s: Annotated[NotNegative | None, Meta(description="Seconds that an unused model stays in memory.")] = (
        None
    )
    priority: Annotated[
        int, Meta(ge=0, le=1000, description="Among backends of equal cost, the higher number goes first.")
    ] = 0


class ModelCapability(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which models a backend is meant for; patterns are shell-style globs, in any case of letters."""

    max_model_size_gb: Annotated[
        Positive | None, Meta(description="Models with larger files are not sent here, in gigabytes of 10^9 bytes.")
    ] = None
    supported_model_patterns: Annotated[
        tuple[Pattern, ...], Meta(description="Only models that match one of these; an empty list allows all.")
    ] = ()
    preferred_models: Annotated[
        tuple[Pattern, ...],
        Meta(description="Models that go here first where costs are equal, allowed besides the supported ones."),
    ] = ()
    excluded_patterns: Annotated[
        tuple[Pattern, ...], Meta(description="Models that match one of these are never sent here.")
    ] = ()


class Backend(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An engine that answers requests."""

    id: Annotated[BackendId, Meta(description="The name in headers, logs and metrics, such as ollama-npu.")]
    endpoint: Annotated[
        Endpoint,
        Meta(description="Where it listens, such as http://127.0.0.1:11434."),
    ]
    type: Annotated[Api, Meta(description="Which API it speaks.")] = Api.OLLAMA
    name: Annotated[
        Annotated[str, Meta(min_length=1)] | None, Meta(description="The name for people; null takes the id.")
    ] = None
    hardware: Annotated[Hardware, Meta(description="What it runs on.")] = Hardware.UNKNOWN
    pci_address: Annotated[
        PciAddress | None,
        Meta(description="Which device it runs on, such as 0000:01:00.0; null: the only one of its hardware."),
    ] = None
    enabled: Annotated[bool, Meta(description="Whether it may be used.")] = True
    flavor: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Which engine of type openai it is, such as llamacpp, vllm or ovms; null: any."),
    ] = None
    slots: Annotated[int, Meta(ge=1, le=1024, description="Requests that it answers at the same time.")] = 1
    api_key_env: Annotated[
        EnvironmentName | None, Meta(description="The environment variable that holds its API key.")
    ] = None
    api_key_file: Annotated[
        FilePath | None,
        Meta(description="The file that holds its API key; relative to this file, or beginning with ~/."),
    ] = None
    characteristics: Annotated[
        Characteristics, Meta(description="What is known of it before anything was measured.")
    ] = field(default_factory=Characteristics)
    model_capability: Annotated[ModelCapability, Meta(description="Which models it is meant for.")] = field(
        default_factory=ModelCapability
    )
