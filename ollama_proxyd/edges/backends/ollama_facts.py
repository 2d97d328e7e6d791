"""What Ollama's /api/tags, /api/ps and /api/show say, as facts about models."""

from collections.abc import Iterable

from ollama_proxyd.core.fleet import LoadedModel, Model
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.backends.lenient import items, label, none_or_more, text, whole, words


def read_tags(body: Json) -> tuple[Model, ...]:
    """The models of /api/tags."""
    return tuple(_model(entry, name) for entry, name in _named(body))


def read_ps(body: Json) -> tuple[LoadedModel, ...]:
    """The models in memory, of /api/ps."""
    return tuple(
        LoadedModel(
            name=name,
            size_bytes=whole(entry, "size"),
            size_vram_bytes=none_or_more(entry, "size_vram"),
            context_length=whole(entry, "context_length"),
            expires_at=text(entry, "expires_at"),
        )
        for entry, name in _named(body)
    )


def read_capabilities(body: Json) -> frozenset[str] | None:
    """What a model can do, of /api/show; the list of /api/tags is known to leave things out."""
    return words(body, "capabilities")


def _named(body: Json) -> Iterable[tuple[Json, str]]:
    for entry in items(body, "models"):
        name = label(entry, "name") or label(entry, "model")
        if name is not None:
            yield entry, name


def _model(entry: Json, name: str) -> Model:
    return Model(
        name=name,
        size_bytes=whole(entry, "size"),
        digest=text(entry, "digest"),
        modified_at=text(entry, "modified_at"),
        family=text(entry, "details", "family"),
        parameter_size=text(entry, "details", "parameter_size"),
        quantization=text(entry, "details", "quantization_level"),
        format=text(entry, "details", "format"),
        context_length=whole(entry, "details", "context_length"),
        embedding_length=whole(entry, "details", "embedding_length"),
        capabilities=words(entry, "capabilities"),
    )
