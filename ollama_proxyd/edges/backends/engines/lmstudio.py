"""LM Studio."""

from ollama_proxyd.core.fleet import LoadedModel, Model
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.anthropic.dialect import Anthropic
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.dialects.openai.responses.engine import NativeResponses
from ollama_proxyd.edges.backends.engine import Engine, Question, Sign, says
from ollama_proxyd.edges.backends.facts import named
from ollama_proxyd.edges.backends.findings import Findings
from ollama_proxyd.edges.backends.untrusted_json import label, text, whole, words

_TYPES = {
    "llm": frozenset({"completion"}),
    "vlm": frozenset({"completion", "vision"}),
    "embeddings": frozenset({"embedding"}),
}


def read_models(body: Json) -> Findings:
    """/api/v0/models: kinds of models, and which are in memory."""
    entries = tuple(named(body, "data", "id"))
    return Findings(
        models=tuple(
            Model(
                name=name,
                family=label(entry, "arch"),
                quantization=label(entry, "quantization"),
                format=label(entry, "compatibility_type"),
                context_length=whole(entry, "max_context_length"),
                capabilities=_capabilities(entry),
            )
            for entry, name in entries
        ),
        loaded=tuple(
            LoadedModel(name, context_length=whole(entry, "loaded_context_length"))
            for entry, name in entries
            if text(entry, "state") == "loaded"
        ),
    )


def _capabilities(entry: Json) -> frozenset[str] | None:
    known = _TYPES.get(text(entry, "type") or "")
    if known and "tool_use" in (words(entry, "capabilities") or ()):
        return known | {"tools"}
    return known


ENGINE = Engine(
    name="lmstudio",
    label="LM Studio",
    signs=(Sign("/lmstudio-greeting", says("lmstudio", value=True), "/lmstudio-greeting says lmstudio"),),
    ports=(1234,),
    speaks=(OpenAI(), Anthropic(), NativeResponses()),
    models=Question("/api/v0/models", read_models),
    keeps="ttl",  # counts for a model that the request itself loads
)
