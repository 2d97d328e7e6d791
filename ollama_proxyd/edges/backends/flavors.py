"""How OpenAI-compatible servers differ: one row a server, everything else is shared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.backends import openai_facts as facts
from ollama_proxyd.edges.backends.findings import Findings


@dataclass(frozen=True, slots=True)
class Question:
    """A path that a health check asks, and what its answer tells."""

    path: str
    read: Callable[[Json], Findings]


@dataclass(frozen=True, slots=True)
class Flavor:
    """One server's ways.

    label: its name for people. base: where its OpenAI API begins. health: answers 2xx when it can serve; None where
    the model list tells as much. models: the list that must come. extras: questions that may fail. template: the path
    whose answer holds the chat template. resident: its models are in memory for as long as it runs. counts_tokens: it
    has /tokenize and /detokenize, by which texts that are too long can be cut.
    """

    label: str
    base: str = "/v1"
    health: str | None = None
    models: Question | None = None
    extras: tuple[Question, ...] = ()
    template: str | None = None
    resident: bool = False
    counts_tokens: bool = False

    @property
    def model_list(self) -> Question:
        """The question whose answer lists the models."""
        return self.models or Question(f"{self.base}/models", facts.read_models)


_VERSION = Question("/version", facts.read_version)

GENERIC = Flavor("OpenAI-compatible server")

FLAVORS: Mapping[str, Flavor] = MappingProxyType(
    {
        "generic": GENERIC,
        "docker-model-runner": Flavor("Docker Model Runner", base="/engines/v1"),
        "koboldcpp": Flavor(
            "KoboldCpp",
            extras=(
                Question("/api/extra/version", facts.read_version),
                Question("/api/extra/perf", facts.read_koboldcpp_perf),
            ),
            resident=True,
        ),
        "lemonade": Flavor(
            "Lemonade",
            base="/api/v1",
            models=Question("/api/v1/models", facts.read_lemonade_models),
            extras=(Question("/api/v1/health", facts.read_lemonade_health),),
        ),
        "llama-cpp-python": Flavor("llama-cpp-python", resident=True),
        "llamacpp": Flavor(
            "llama-server",
            health="/health",
            extras=(Question("/props", facts.read_llamacpp_props), Question("/slots", facts.read_llamacpp_slots)),
            template="/props",
            resident=True,
            counts_tokens=True,
        ),
        "lmdeploy": Flavor("LMDeploy", health="/health", resident=True),
        "lmstudio": Flavor("LM Studio", models=Question("/api/v0/models", facts.read_lmstudio_models)),
        "localai": Flavor("LocalAI", health="/readyz"),
        "mlx": Flavor("mlx_lm.server", health="/health"),
        "openai": Flavor("OpenAI API"),
        "ovms": Flavor(
            "OpenVINO Model Server",
            base="/v3",
            health="/v2/health/ready",
            models=Question("/v1/config", facts.read_ovms_config),
            extras=(Question("/v2", facts.read_version),),
            resident=True,
        ),
        "sglang": Flavor(
            "SGLang", health="/health", extras=(Question("/get_model_info", facts.read_sglang_info),), resident=True
        ),
        "text-generation-webui": Flavor(
            "text-generation-webui", extras=(Question("/v1/internal/model/info", facts.read_textgen_model),)
        ),
        "tgi": Flavor(
            "text-generation-inference", health="/health", models=Question("/info", facts.read_tgi_info), resident=True
        ),
        "transformers": Flavor("transformers serve", health="/health", extras=(_VERSION,)),
        "vllm": Flavor("vLLM", health="/health", extras=(_VERSION,), resident=True),
    }
)


def flavor_of(name: str) -> Flavor:
    """The row of an engine; one that is not in the table is an ordinary OpenAI-compatible server."""
    return FLAVORS.get(name, GENERIC)
