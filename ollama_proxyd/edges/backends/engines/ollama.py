"""Ollama, and servers that imitate its API."""

import re

from ollama_proxyd.core.fleet import LoadedModel, Model
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.anthropic.dialect import FIELDS, Anthropic
from ollama_proxyd.dialects.ollama.dialect import Ollama
from ollama_proxyd.dialects.ollama.models import OF_THE_NAME
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.dialects.openai.responses.engine import NativeResponses
from ollama_proxyd.edges.backends.engine import Answer, Continues, Engine, Question, Sign, count_in, listed
from ollama_proxyd.edges.backends.facts import moment, named, read_version, unix_s
from ollama_proxyd.edges.backends.findings import Findings
from ollama_proxyd.edges.backends.unloading import Loading, Unloading
from ollama_proxyd.edges.backends.untrusted_json import label, none_or_more, text, whole, words
from ollama_proxyd.edges.plumbing.port_owner import CommandLine

_EMBEDDINGS = frozenset({"model", "input", "dimensions", "encoding_format", "user"})
"""The fields of OpenAI's embeddings that Ollama reads itself, `user` apart, which changes nothing.

Its other OpenAI routes lose what the translation keeps (seen with 0.33):
chats: the Modelfile's sampling (temperature and top_p are forced to 1), max_completion_tokens, top_k, min_p,
keep_alive, the times that speeds are learned from; and a runner that dies looks like the end.
completions: the Modelfile's sampling and the times as well; the prompt goes through the chat template both ways.
"""

_RESPONSES = frozenset(
    {
        *("model", "input", "instructions", "stream", "store", "temperature", "top_p", "tools", "text", "reasoning"),
        *("include", "metadata", "user", "prompt_cache_key", "safety_identifier", "client_metadata"),
    }
)
"""The fields of the Responses API that Ollama reads as clients mean them, or need not know.

It reads no tool_choice, and calls an answer complete that its limit cut. Its ids are numbers below a million,
of which two may be the same.
"""


def _greets(answer: Answer) -> bool:
    return answer.status == 200 and answer.text.strip() == "Ollama is running"


def _lists_digests(answer: Answer) -> bool:
    return any(text(entry, "digest") for entry in listed(answer, "models", "name"))


def read_tags(body: Json) -> Findings:
    """/api/tags: the models."""
    return Findings(models=tuple(_model(entry, name) for entry, name in named(body, "models", "name", "model")))


def read_ps(body: Json) -> Findings:
    """/api/ps: the models in memory."""
    return Findings(
        loaded=tuple(
            LoadedModel(
                name=name,
                size_bytes=whole(entry, "size"),
                size_vram_bytes=none_or_more(entry, "size_vram"),
                context_length=whole(entry, "context_length"),
                expires_at=moment(entry, "expires_at"),
                expires_unix_s=unix_s(moment(entry, "expires_at")),
            )
            for entry, name in named(body, "models", "name", "model")
        )
    )


def read_show(body: Json) -> Findings:
    """/api/show: what a model can do; the list of /api/tags is known to leave things out."""
    return Findings(capabilities=words(body, "capabilities"))


def slots_read(command: CommandLine) -> int | None:
    """What its environment says; 0 and what is no number leave it to Ollama (envconfig/config.go)."""
    return count_in(command.environment.get("OLLAMA_NUM_PARALLEL"))


def _digest(entry: Json) -> str | None:
    """The digest of the weights; another proxy makes one of the name where it knows none."""
    told = label(entry, "digest")
    return None if told is None or told.startswith(OF_THE_NAME) else told


def _model(entry: Json, name: str) -> Model:
    return Model(
        name=name,
        size_bytes=whole(entry, "size"),
        digest=_digest(entry),
        modified_at=moment(entry, "modified_at"),
        family=label(entry, "details", "family"),
        parameter_size=label(entry, "details", "parameter_size"),
        quantization=label(entry, "details", "quantization_level"),
        format=label(entry, "details", "format"),
        context_length=whole(entry, "details", "context_length"),
        embedding_length=whole(entry, "details", "embedding_length"),
        capabilities=words(entry, "capabilities"),
    )


ENGINE = Engine(
    name="ollama",
    label="Ollama",
    signs=(
        Sign("/", _greets, 'it answers "Ollama is running"'),
        Sign("/api/tags", _lists_digests, "/api/tags lists models with digests"),
    ),
    ports=(11434, 11435, 11436, 11437),
    speaks=(
        Ollama(),
        OpenAI(only={"embeddings": _EMBEDDINGS}),
        Anthropic(reads=FIELDS, runs="web_search"),
        NativeResponses(reads=_RESPONSES, has_own_ids=False),
    ),
    models=Question("/api/tags", read_tags),
    extras=(Question("/api/version", read_version), Question("/api/ps", read_ps)),
    details=Question("/api/show", read_show),
    slots_read=slots_read,
    # Its templates leave the last message of an assistant open, and so does the llama-server that it runs; earlier
    # thinking is not sent on (server/routes.go, llm/llama_server.go).
    continues=Continues(),
    keeps="keep_alive",
    manages=True,
    takes_options=True,
    # It looks for this before it looks whether the model can generate, so embedding models unload too.
    unloading=Unloading("/api/generate", lambda model: {"model": model, "keep_alive": 0, "stream": False}),
    # An empty prompt loads a model that generates, and no input one that embeds (docs/api.md, server/routes.go).
    loading=(
        Loading("/api/generate", lambda model: {"model": model, "keep_alive": -1, "stream": False}),
        Loading("/api/embed", lambda model: {"model": model, "input": [], "keep_alive": -1}),
    ),
    # Of the next request it starts another runner (llm/llama_server.go, server/sched.go).
    restarts=re.compile(
        r"(runner|llama-server)( process)? (has (unexpectedly )?(terminated|stopped)|no longer running)"
        r"|encountered while running the model|error reading llama-server"
    ),
)
