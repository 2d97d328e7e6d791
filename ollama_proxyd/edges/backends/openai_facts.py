"""What OpenAI-compatible servers say about themselves beside the common API, each answer as findings."""

from collections.abc import Iterable
from datetime import UTC, datetime

from ollama_proxyd.core.fleet import LoadedModel, Model
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.backends.findings import Findings
from ollama_proxyd.edges.backends.lenient import at, is_label, items, label, text, truth, whole, words

_UNITS = ((10**9, "B"), (10**6, "M"), (10**3, "K"))
_LMSTUDIO_TYPES = {
    "llm": frozenset({"completion"}),
    "vlm": frozenset({"completion", "vision"}),
    "embeddings": frozenset({"embedding"}),
}
_LEMONADE_LABELS = {
    "tool-calling": "tools",
    "vision": "vision",
    "reasoning": "thinking",
    "embeddings": "embedding",
}
_LATEST_UNIX_S = 253_402_300_799
"""The end of the year 9999, after which RFC 3339 knows none."""

_THINKING = ("enable_thinking", "<think>", "reasoning_effort")


def read_models(body: Json) -> Findings:
    """The list that every server has, with the extras that llama.cpp, vLLM and LM Studio put into it."""
    entries = tuple(_named(body, "data", "id"))
    models = tuple(_model(entry, name) for entry, name in entries)
    if not any(_tells_of_memory(entry) for entry, _ in entries):
        return Findings(models)
    loaded = (
        LoadedModel(name, size_bytes=whole(entry, "meta", "size"), context_length=whole(entry, "meta", "n_ctx"))
        for entry, name in entries
        if text(entry, "status", "value") in {"loaded", None}
    )
    return Findings(models, loaded=tuple(loaded))


def _tells_of_memory(entry: Json) -> bool:
    """llama-server gives `meta` to a model in memory, and in router mode a status to each."""
    return at(entry, "status", "value") is not None or whole(entry, "meta", "n_ctx") is not None


def _model(entry: Json, name: str) -> Model:
    is_llamacpp = at(entry, "meta") is not None
    return Model(
        name=name,
        size_bytes=whole(entry, "meta", "size"),
        modified_at=_rfc3339(whole(entry, "created")),
        parameter_size=human_count(whole(entry, "meta", "n_params")),
        quantization=text(entry, "meta", "ftype"),
        format="gguf" if is_llamacpp else None,
        context_length=whole(entry, "meta", "n_ctx_train") or whole(entry, "max_model_len"),
        embedding_length=whole(entry, "meta", "n_embd"),
        capabilities=_named_for_embedding(name),
    )


def _named_for_embedding(name: str) -> frozenset[str] | None:
    """No server of this kind tells an embedding model apart, and its makers all put it into the name."""
    return frozenset({"embedding"}) if "embed" in name.lower() else None


def human_count(number: int | None) -> str | None:
    """Parameters as Ollama writes them: 163K, 7B, 1.5B."""
    if number is None:
        return None
    for unit, letter in _UNITS:
        if number >= unit:
            exact = number % unit == 0 or letter == "K"
            return f"{number / unit:.0f}{letter}" if exact else f"{number / unit:.1f}{letter}"
    return str(number)


def _rfc3339(unix_s: int | None) -> str | None:
    """The moment as text; some servers tell it in a unit of their own, which no calendar has."""
    if unix_s is None or unix_s > _LATEST_UNIX_S:
        return None
    return datetime.fromtimestamp(unix_s, UTC).isoformat().replace("+00:00", "Z")


def read_llamacpp_props(body: Json) -> Findings:
    """/props of llama-server: how many requests it takes at once, and what its chat template can do."""
    template = text(body, "chat_template") or ""
    able = {
        "completion": True,
        "vision": truth(body, "modalities", "vision"),
        "audio": truth(body, "modalities", "audio"),
        "tools": truth(body, "chat_template_caps", "supports_tools"),
        "thinking": any(mark in template for mark in _THINKING),
    }
    slots = whole(body, "total_slots")
    known = frozenset(word for word, can in able.items() if can)
    return Findings(
        version=label(body, "build_info"),
        slots=slots,
        loaded=() if truth(body, "is_sleeping") else None,
        shared=Model(name="", capabilities=known) if slots is not None else None,
    )


def read_llamacpp_slots(body: Json) -> Findings:
    """/slots of llama-server: busy when every slot is at work."""
    slots = items(body)
    return Findings(busy=bool(slots) and all(truth(slot, "is_processing") for slot in slots))


def read_lmstudio_models(body: Json) -> Findings:
    """/api/v0/models of LM Studio: kinds of models, and which are in memory."""
    entries = tuple(_named(body, "data", "id"))
    return Findings(
        models=tuple(
            Model(
                name=name,
                family=text(entry, "arch"),
                quantization=text(entry, "quantization"),
                format=text(entry, "compatibility_type"),
                context_length=whole(entry, "max_context_length"),
                capabilities=_lmstudio_capabilities(entry),
            )
            for entry, name in entries
        ),
        loaded=tuple(
            LoadedModel(name, context_length=whole(entry, "loaded_context_length"))
            for entry, name in entries
            if text(entry, "state") == "loaded"
        ),
    )


def _lmstudio_capabilities(entry: Json) -> frozenset[str] | None:
    known = _LMSTUDIO_TYPES.get(text(entry, "type") or "")
    if known and "tool_use" in (words(entry, "capabilities") or ()):
        return known | {"tools"}
    return known


def read_lemonade_models(body: Json) -> Findings:
    """/api/v1/models of Lemonade: labels say what each model can do."""
    return Findings(
        models=tuple(
            Model(name=name, capabilities=_lemonade_capabilities(words(entry, "labels")))
            for entry, name in _named(body, "data", "id")
        )
    )


def _lemonade_capabilities(labels: frozenset[str] | None) -> frozenset[str] | None:
    if labels is None:
        return None
    known = frozenset(_LEMONADE_LABELS[label] for label in labels if label in _LEMONADE_LABELS)
    return known if "embedding" in known else known | {"completion"}


def read_lemonade_health(body: Json) -> Findings:
    """/api/v1/health of Lemonade: the models in memory."""
    loaded = tuple(LoadedModel(name) for _, name in _named(body, "all_models_loaded", "model_name"))
    one = label(body, "model_loaded")
    return Findings(version=label(body, "version"), loaded=loaded or ((LoadedModel(one),) if one else ()))


def read_ovms_config(body: Json) -> Findings:
    """/v1/config of OpenVINO Model Server: its models by name, for releases without /v3/models."""
    names = tuple(body) if isinstance(body, dict) else ()
    served = tuple(name for name in names if is_label(name) and items(body, name, "model_version_status"))
    return Findings(models=tuple(Model(name=name, format="openvino") for name in served))


def read_version(body: Json) -> Findings:
    """Any answer with a version in it."""
    return Findings(version=label(body, "version"))


def read_tgi_info(body: Json) -> Findings:
    """/info of text-generation-inference: the one model that it serves."""
    name = label(body, "model_id")
    models = (Model(name=name, context_length=whole(body, "max_total_tokens")),) if name else ()
    return Findings(models=models, version=label(body, "version"), slots=whole(body, "max_concurrent_requests"))


def read_sglang_info(body: Json) -> Findings:
    """/get_model_info of SGLang: whether its model generates or embeds."""
    generates = at(body, "is_generation")
    if not isinstance(generates, bool):
        return Findings()
    able = frozenset({"completion"} if generates else {"embedding"})
    return Findings(shared=Model(name="", capabilities=able))


def read_koboldcpp_perf(body: Json) -> Findings:
    """/api/extra/perf of KoboldCpp: it answers one request at a time and counts those that wait."""
    return Findings(busy=at(body, "idle") == 0, slots=1)


def read_textgen_model(body: Json) -> Findings:
    """/v1/internal/model/info of text-generation-webui: the model in memory."""
    name = label(body, "model_name")
    return Findings(loaded=(LoadedModel(name),) if name and name != "None" else ())


def _named(body: Json, list_key: str, name_key: str) -> Iterable[tuple[Json, str]]:
    for entry in items(body, list_key):
        name = label(entry, name_key)
        if name is not None:
            yield entry, name
