"""A program that the proxy runs as an engine: its command, its models, and what it may use."""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Final, NamedTuple, TypeAlias

from ollama_proxyd.core.options import Like, Option, Positive, Within
from ollama_proxyd.core.saved_prompts import NONE_SAVED, SavedPromptSettings
from ollama_proxyd.core.values import value

_ENGINE: Final = "engines[]."
Variable: TypeAlias = Annotated[str, Like("^[A-Za-z_][A-Za-z0-9_]*=[^\\0]*$", "a variable such as GGML_VK_DEVICE=0")]
Word: TypeAlias = Annotated[str, Like("[^\\0]*", "a word of a command")]
Folder: TypeAlias = Annotated[str, Like("^(/|~/)[^\\0]*$", "the path of a folder that begins with / or ~/")]
SLOTS: Final = 4
"""Requests that one process takes at once unless it is configured."""


class ProgramKind(Enum):
    """The programs whose command is known."""

    LLAMACPP = "llamacpp"
    VLLM = "vllm"
    MLX = "mlx"
    OVMS = "ovms"


class Form(Enum):
    """What a model is on the disk."""

    GGUF = "gguf"
    """One file, or the parts of one."""
    FOLDER = "folder"
    """A folder with a config.json, as Hugging Face has it."""


class ProgramFacts(NamedTuple):
    """What is known of a kind of program.

    key: the environment variable with the API key that it asks for; None where it has none.
    environment: variables that an entry's own ones replace, with values filled in as in the command.
    has_sockets: whether its host may be the path of a Unix socket.
    behind_socket: the command that has it at a socket instead of a port, where that takes other options.
    prompts: the variable with the folder in which it saves the prompts of its slots; None where it saves none.
    """

    command: tuple[str, ...]
    form: Form = Form.FOLDER
    key: str | None = None
    environment: tuple[str, ...] = ()
    has_sockets: bool = False
    behind_socket: tuple[str, ...] = ()
    prompts: str | None = None


_VLLM: Final = (
    *("vllm", "serve", "{model}", "--served-model-name", "{name}"),
    *("--max-model-len", "{context}", "--max-num-seqs", "{slots}"),
)
PROGRAMS: Final[Mapping[ProgramKind, ProgramFacts]] = {
    ProgramKind.LLAMACPP: ProgramFacts(
        (
            *("llama-server", "--model", "{model}", "--alias", "{name}", "--host", "{host}", "--port", "{port}"),
            # One buffer for all slots: a request alone has the whole context (tools/server/README.md).
            *("--ctx-size", "{context}", "--parallel", "{slots}", "--kv-unified", "--jinja", "--offline"),
        ),
        Form.GGUF,
        "LLAMA_API_KEY",
        # Threads that spin while they wait take the cores from the other engines (GNU libgomp, OMP_WAIT_POLICY), and
        # prompts kept beside the context, 8 GiB by default, are memory that no estimate has (tools/server/README.md).
        ("OMP_WAIT_POLICY=passive", "LLAMA_ARG_CACHE_RAM=0"),
        has_sockets=True,
        prompts="LLAMA_ARG_SLOT_SAVE_PATH",
    ),
    ProgramKind.VLLM: ProgramFacts(
        (*_VLLM, "--host", "127.0.0.1", "--port", "{port}"),
        key="VLLM_API_KEY",
        behind_socket=(*_VLLM, "--uds", "{host}"),  # host and port are ignored then (vllm serve --help)
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
            "The command in words; {model}, {name}, {host}, {port}, {context} and {slots} are filled in. "
            "Empty: the usual one.",
        ),
    ] = ()
    environment: Annotated[
        tuple[Variable, ...], Option(_ENGINE, "Further environment variables, such as CUDA_VISIBLE_DEVICES=0.")
    ] = ()
    models_dir: Annotated[
        Folder | None, Option(_ENGINE, "The folder of its models; null: models_dir of all engines.")
    ] = None
    context_tokens: Annotated[
        int, Within(256, 10_000_000), Option(_ENGINE, "The context that each process has, in tokens, for all slots.")
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

    def variables(self, values: Mapping[str, str | int]) -> tuple[str, ...]:
        """Those of its kind with their values filled in."""
        return tuple(_filled(each, values) for each in self.facts.environment)

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
    def missing(self) -> tuple[str, ...]:
        """The values that its command must have and does not."""
        text = " ".join(self.command or self.facts.command)
        return tuple(name for name in ("{model}", "{port}") if name not in text)


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
