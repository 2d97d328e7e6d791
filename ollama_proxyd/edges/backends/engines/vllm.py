"""vLLM."""

from dataclasses import replace

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.anthropic.dialect import Anthropic
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.dialects.openai.quirks import VLLM, SchemaField
from ollama_proxyd.dialects.openai.responses.engine import NativeResponses
from ollama_proxyd.edges.backends.engine import VERSION, Engine, Question, Sign, argument, count_in, owned_by
from ollama_proxyd.edges.backends.findings import Findings
from ollama_proxyd.edges.backends.untrusted_json import at, whole
from ollama_proxyd.edges.plumbing.port_owner import CommandLine


def read_server_info(body: Json) -> Findings:
    """/server_info: its limit of sequences; the route exists only with VLLM_SERVER_DEV_MODE=1."""
    return Findings(slots=whole(at(body, "vllm_config", "scheduler_config"), "max_num_seqs"))


def slots_read(command: CommandLine) -> int | None:
    """What its command line says."""
    return count_in(argument(command, "--max-num-seqs"))


ENGINE = Engine(
    name="vllm",
    label="vLLM",
    signs=(Sign("/v1/models", owned_by("vllm"), "its models are owned by vllm"),),
    ports=(8000, 8001),
    speaks=(
        OpenAI(quirks=replace(VLLM, completion_schema=SchemaField.RESPONSE_FORMAT)),
        Anthropic(counts=True),
        NativeResponses(),
    ),
    health="/health",
    dies=True,
    extras=(VERSION, Question("/server_info?config_format=json", read_server_info)),
    slots_read=slots_read,
    resident=True,
)
