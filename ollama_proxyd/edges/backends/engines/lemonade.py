"""Lemonade Server."""

from ollama_proxyd.core.fleet import LoadedModel, Model
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.anthropic.dialect import Anthropic
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.edges.backends.engine import Answer, Engine, Question, Sign
from ollama_proxyd.edges.backends.facts import named
from ollama_proxyd.edges.backends.findings import Findings
from ollama_proxyd.edges.backends.untrusted_json import label, text, words

_CAPABILITIES = {"tool-calling": "tools", "vision": "vision", "reasoning": "thinking", "embeddings": "embedding"}


def _is_lemonade(answer: Answer) -> bool:
    body = answer.json
    names_models = isinstance(body, dict) and ("all_models_loaded" in body or "model_loaded" in body)
    return answer.status == 200 and names_models and text(body, "status") is not None


def read_models(body: Json) -> Findings:
    """/api/v1/models: labels say what each model can do."""
    return Findings(
        models=tuple(
            Model(name=name, capabilities=_capabilities(words(entry, "labels")))
            for entry, name in named(body, "data", "id")
        )
    )


def _capabilities(labels: frozenset[str] | None) -> frozenset[str] | None:
    if labels is None:
        return None
    known = frozenset(_CAPABILITIES[label] for label in labels if label in _CAPABILITIES)
    return known if "embedding" in known else known | {"completion"}


def read_health(body: Json) -> Findings:
    """/api/v1/health: the models in memory."""
    loaded = tuple(LoadedModel(name) for _, name in named(body, "all_models_loaded", "model_name"))
    one = label(body, "model_loaded")
    return Findings(version=label(body, "version"), loaded=loaded or ((LoadedModel(one),) if one else ()))


ENGINE = Engine(
    name="lemonade",
    label="Lemonade",
    signs=(Sign("/api/v1/health", _is_lemonade, "/api/v1/health lists Lemonade's loaded models"),),
    ports=(13305,),
    speaks=(OpenAI("/api/v1"), Anthropic()),
    models=Question("/api/v1/models", read_models),
    extras=(Question("/api/v1/health", read_health),),
)
