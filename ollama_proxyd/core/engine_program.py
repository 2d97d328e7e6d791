"""A program that the proxy runs as an engine: its command, its models, and what it may use."""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Final, NamedTuple, TypeAlias

from ollama_proxyd.core.options import Like, Option, Positive, Within
from ollama_proxyd.core.requests import Api
from ollama_proxyd.core.saved_prompts import NONE_SAVED, SavedPromptSettings
from ollama_proxyd.core.values import value

_ENGINE: Final = "engines[]."
Variable: TypeAlias = Annotated[str, Like("^[A-Za-z_][A-Za-z0-9_]*=[^\\0]*$", "a variable such as GGML_VK_DEVICE=0")]
Word: TypeAlias = Annotated[str, Like("[^\\0]*", "a word of a command")]
Folder: TypeAlias = Annotated[str, Like("^(/|~/)[^\\0]*$", "the path of a folder that begins with / or ~/")]
SLOTS: Final = 4
"""Requests that one process takes at once unless it is configured."""
PROCESS_BYTES: Final = 100e6
"""A process without its model: its code, and what it computes with beside the estimate."""


class ProgramKind(Enum):
    """The programs whose command is known."""

    LLAMACPP = "llamacpp"
    VLLM = "vllm"
    MLX = "mlx"
    OVMS = "ovms"
    OLLAMA = "ollama"


class Form(Enum):
    """What a model is on the disk."""

    GGUF = "gguf"
    """One file, or the parts of one."""
    FOLDER = "folder"
    """A folder with a config.json, as Hugging Face has it."""
    MANIFEST = "manifest"
    """A manifest in Ollama's store, with the files that it names."""


class ProgramFacts(NamedTuple):
    """What is known of a kind of program.

    needs: what its command must have, beside the variables. api: what it is asked in.
    key: the environment variable with the API key that it asks for; None where it has none.
    environment: variables that an entry's own ones replace, with values filled in as in the command.
    has_sockets: whether its host may be the path of a Unix socket.
    behind_socket: the command that has it at a socket instead of a port, where that takes other options.
    prompts: the variable with the folder in which it saves the prompts of its slots; None where it saves none.
    slots: requests that one process takes at once unless it is configured.
    splits_context: whether all slots have one context, and not each its own.
    on_cpu: variables that keep it from looking at cards, which it would use by itself.
    keeps_store: whether its processes have a store of all models: each is asked to load its own, and pulls others.
    process_bytes: main memory of its processes without a model, about.
    """

    command: tuple[str, ...]
    form: Form = Form.FOLDER
    needs: tuple[str, ...] = ("{model}", "{port}")
    api: Api = Api.OPENAI
    key: str | None = None
    environment: tuple[str, ...] = ()
    has_sockets: bool = False
    behind_socket: tuple[str, ...] = ()
    prompts: str | None = None
    slots: int = SLOTS
    splits_context: bool = True
    on_cpu: tuple[str, ...] = ()
    keeps_store: bool = False
    process_bytes: float = PROCESS_BYTES


_VLLM: Final = (
    *("vllm", "serve", "{model}", "--served-model-name", "{name}"),
    *("--max-model-len", "{context}", "--max-num-seqs", "{slots}"),
    # Else it takes nine tenths of the card, or of main memory, and does not start where others have the rest.
    *("--kv-cache-memory-bytes", "{cache}"),
    "--enable-prompt-tokens-details",  # else it does not tell what of a prompt it held
)
_SHARES_CORES: Final = ("OMP_WAIT_POLICY=passive", "LLAMA_ARG_CACHE_RAM=0")
"""Of a llama-server. Threads that spin while they wait take the cores from the other engines (GNU libgomp).

Prompts kept beside the context, 8 GiB by default, are memory that no estimate has (tools/server/README.md).
"""
PROGRAMS: Final[Mapping[ProgramKind, ProgramFacts]] = {
    ProgramKind.LLAMACPP: ProgramFacts(
        (
            *("llama-server", "--model", "{model}", "--alias", "{name}", "--host", "{host}", "--port", "{port}"),
            # One buffer for all slots: a request alone has the whole context (tools/server/README.md).
            *("--ctx-size", "{context}", "--parallel", "{slots}", "--kv-unified", "--jinja", "--offline"),
        ),
        Form.GGUF,
        key="LLAMA_API_KEY",
        environment=_SHARES_CORES,
        has_sockets=True,
        prompts="LLAMA_ARG_SLOT_SAVE_PATH",
    ),
    ProgramKind.VLLM: ProgramFacts(
        (*_VLLM, "--host", "127.0.0.1", "--port", "{port}"),
        key="VLLM_API_KEY",
        environment=("VLLM_NO_USAGE_STATS=1", "HF_HUB_OFFLINE=1"),  # it tells its makers of each start
        behind_socket=(*_VLLM, "--uds", "{host}"),  # host and port are ignored then (vllm serve --help)
        process_bytes=1.7e9,  # four processes with PyTorch, counted of vLLM 0.32.0 for processors
    ),
    ProgramKind.MLX: ProgramFacts(
        (
            *("mlx_lm.server", "--model", "{model}", "--host", "127.0.0.1", "--port", "{port}"),
            *("--max-tokens", "{context}"),  # else each answer ends after 512 (mlx_lm.server --help)
        ),
        # It lists the models of the cache beside its own, and lists none where there is no such folder yet
        # (mlx_lm 0.32.2, server.py, handle_models_request; huggingface_hub, scan_cache_dir).
        environment=("HF_HUB_CACHE={model}", "HF_HUB_OFFLINE=1"),
    ),
    ProgramKind.OVMS: ProgramFacts(
        (
            # Without --task, which early releases take for models to be pulled, and late ones find by themselves.
            *("ovms", "--model_path", "{model}", "--model_name", "{name}"),
            # Both listen on all interfaces unless they are told (docs/parameters.md of the model server).
            *("--rest_bind_address", "127.0.0.1", "--rest_port", "{port}", "--grpc_bind_address", "127.0.0.1"),
        )
    ),
    ProgramKind.OLLAMA: ProgramFacts(
        ("ollama", "serve"),
        Form.MANIFEST,
        needs=(),
        api=Api.OLLAMA,
        environment=(
            *("OLLAMA_HOST=127.0.0.1:{port}", "OLLAMA_MODELS={folder}"),
            # One model for each process, and none leaves by itself: the proxy decides (envconfig/config.go).
            *("OLLAMA_KEEP_ALIVE=-1", "OLLAMA_MAX_LOADED_MODELS=1"),
            # Its runner is a llama-server with that context for each slot (llm/llama_server.go).
            *("OLLAMA_NUM_PARALLEL={slots}", "OLLAMA_CONTEXT_LENGTH={context}", *_SHARES_CORES),
            # At its start it would remove what another one is pulling into the same store (server/routes.go, Serve).
            "OLLAMA_NOPRUNE=1",
        ),
        slots=1,  # its own default: the context of each further slot would take memory beside
        splits_context=False,
        # An id that no card has (docs/gpu.mdx); its start alone would wake those that sleep.
        on_cpu=tuple(f"{maker}_VISIBLE_DEVICES=-1" for maker in ("CUDA", "HIP", "ROCR", "GGML_VK")),
        keeps_store=True,
    ),
}


@value
class EngineProgram:
    """How the proxy runs an engine, one process for each model."""

    kind: Annotated[ProgramKind, Option(_ENGINE + "engine", "Its program, of which the usual command is known.")] = (
        ProgramKind.LLAMACPP
    )
    command: Annotated[
        tuple[Word, ...],
        Option(
            _ENGINE,
            "The command in words; {model}, {name}, {host}, {port}, {context}, {slots} and {cache} are filled in. "
            "Empty: the usual one.",
        ),
    ] = ()
    environment: Annotated[
        tuple[Variable, ...], Option(_ENGINE, "Further environment variables, such as CUDA_VISIBLE_DEVICES=0.")
    ] = ()
    models_dir: Annotated[
        Folder | None,
        Option(
            _ENGINE,
            "The folder of its models; null: models_dir of all engines, of ollama $OLLAMA_MODELS or ~/.ollama/models.",
        ),
    ] = None
    context_tokens: Annotated[
        int,
        Within(256, 10_000_000),
        Option(_ENGINE, "The context of each process in tokens, for all slots together; of ollama for each."),
    ] = 8192
    pinned: Annotated[
        tuple[str, ...], Option(_ENGINE, "Models that stay once they are loaded: for no other, nor when unused.")
    ] = ()
    start_timeout_s: Annotated[Positive, Option(_ENGINE, "Seconds until a process must be ready.")] = 180.0

    @property
    def facts(self) -> ProgramFacts:
        """What is known of its kind."""
        return PROGRAMS[self.kind]

    def words(self, values: Mapping[str, str | int], *, at_socket: bool = False) -> tuple[str, ...]:
        """The command with its values filled in."""
        usual = self.facts.behind_socket if at_socket and self.facts.behind_socket else self.facts.command
        return tuple(_filled(word, values) for word in self.command or usual)

    def variables(self, values: Mapping[str, str | int], *, is_on_cpu: bool = False) -> tuple[str, ...]:
        """Those of its kind with their values filled in."""
        usual = (*self.facts.environment, *(self.facts.on_cpu if is_on_cpu else ()))
        return tuple(_filled(each, values) for each in usual)

    def variable(self, name: str) -> str | None:
        """The value of one of its own; None where it has none of that name."""
        found = [each.partition("=")[2] for each in self.environment if each.startswith(f"{name}=")]
        return found[-1] if found else None

    @property
    def forbidden(self) -> Mapping[str, str]:
        """The variables of its own that are not its to set, each with what to do instead."""
        words = [(each.partition("=")[0], do) for each in self.facts.environment for to, do in _SAID if to in each]
        return {name: do for name, do in words if self.variable(name) is not None}

    @property
    def program(self) -> str:
        """The first word of its command."""
        return (self.command or self.facts.command)[0]

    @property
    def wants_socket(self) -> bool:
        """Whether it may listen at a Unix socket."""
        if self.facts.behind_socket and not self.command:
            return True
        return self.facts.has_sockets and any("{host}" in word for word in self.command or self.facts.command)

    @property
    def reserves(self) -> bool:
        """Whether it is told how much memory its context is to take."""
        return any("{cache}" in word for word in self.command or self.facts.command)

    @property
    def missing(self) -> tuple[str, ...]:
        """The values that its command must have and does not."""
        text = " ".join(self.command or self.facts.command)
        return tuple(name for name in self.facts.needs if name not in text)


_SAID: Final = (
    ("{port}", "leave it out, so that each process has a port of its own"),
    ("{slots}", "give slots instead"),
    ("{context}", "give context_tokens instead"),
)
"""What the usual variables say that has another place."""


def slots_of(program: EngineProgram | None, configured: int | None) -> int:
    """Requests that one process takes at once."""
    return configured or (SLOTS if program is None else program.facts.slots)


_VALUE = re.compile(r"\{([a-z]+)\}")


def _filled(word: str, values: Mapping[str, str | int]) -> str:
    """A word with the known values in place of their names; other braces stay."""
    return _VALUE.sub(lambda found: str(values.get(found[1], found[0])), word)


@value
class EngineSettings:
    """Where models are, and how much memory engines may have together."""

    models_dir: Annotated[
        Folder | None, Option("models_dir", "The folder of the models that engines run, searched with its subfolders.")
    ] = None
    ram_gb: Annotated[
        Positive | None,
        Option("memory_budget.", "Gigabytes of main memory for engines; null: what is available, less the margin."),
    ] = None
    device_gb: Annotated[
        Positive | None,
        Option("memory_budget.", "Gigabytes of memory of each card for engines; null: what its driver counts as free."),
    ] = None
    margin_gb: Annotated[float, Within(0), Option("memory_budget.", "Gigabytes that stay free of what is counted.")] = (
        1.0
    )
    prompts: SavedPromptSettings = NONE_SAVED
