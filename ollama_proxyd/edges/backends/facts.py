"""What many engines say about themselves in the same words, as findings."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from ollama_proxyd.core.counts import human_count
from ollama_proxyd.core.fleet import LoadedModel, Model
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.backends.findings import Findings
from ollama_proxyd.edges.backends.untrusted_json import at, items, label, text, whole

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_LATEST_UNIX_S = 253_402_300_799
"""The end of the year 9999, after which RFC 3339 knows none."""


def read_models(body: Json) -> Findings:
    """The list that every server has, with the extras that llama.cpp, vLLM and LM Studio put into it.

    Some have it under another key or under none, and some list names alone.
    """
    rows = body if isinstance(body, list) else items(body, "data") or items(body, "models")
    listed = {"data": [{"id": row} if isinstance(row, str) else row for row in rows]}
    entries = tuple(named(listed, "data", "id", "name", "model"))
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
        quantization=label(entry, "meta", "ftype"),
        format="gguf" if is_llamacpp else None,
        context_length=whole(entry, "meta", "n_ctx_train") or whole(entry, "max_model_len"),
        embedding_length=whole(entry, "meta", "n_embd"),
        capabilities=_named_for_embedding(name),
    )


def _named_for_embedding(name: str) -> frozenset[str] | None:
    """No server of this kind tells an embedding model apart, and its makers all put it into the name."""
    return frozenset({"embedding"}) if "embed" in name.lower() else None


def _rfc3339(unix_s: int | None) -> str | None:
    """The moment as text; some servers tell it in a unit of their own, which no calendar has."""
    if unix_s is None or unix_s > _LATEST_UNIX_S:
        return None
    return datetime.fromtimestamp(unix_s, UTC).isoformat().replace("+00:00", "Z")


def unix_s(moment: str | None) -> float | None:
    """A moment of RFC 3339 in seconds since 1970, None where it is none."""
    try:
        return None if moment is None else datetime.fromisoformat(moment).timestamp()
    except (ValueError, OverflowError):
        return None


def moment(value: Json, *path: str) -> str | None:
    """A moment as RFC 3339 has it; Ollama's clients refuse a whole list for one that is none."""
    told = label(value, *path)
    return told if told is not None and _RFC_3339.fullmatch(told) and unix_s(told) is not None else None


def read_version(body: Json) -> Findings:
    """Any answer with a version in it."""
    return Findings(version=label(body, "version"))


def named(body: Json, list_key: str, *name_keys: str) -> Iterable[tuple[Json, str]]:
    """The entries of a list that have a name under one of the keys, each with the first."""
    for entry in items(body, list_key):
        name = next(filter(None, (label(entry, key) for key in name_keys)), None)
        if name is not None:
            yield entry, name
