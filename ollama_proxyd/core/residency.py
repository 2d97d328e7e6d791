"""Which models are in a backend's memory after an answer, until the backend says so itself."""

from typing import NamedTuple

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.events import FinishReason
from ollama_proxyd.core.fleet import BackendView, LoadedModel
from ollama_proxyd.core.model_names import resolve

Loaded = tuple[LoadedModel, ...] | None


class Place(NamedTuple):
    """A model at a backend, by the backend's own name."""

    backend_id: str
    model: str


def loaded_after(view: BackendView, ended: AttemptEnded) -> Loaded:
    """What is in memory after an attempt; a backend that does not tell stays unknown."""
    if view.loaded is None or not ended.succeeded:
        return view.loaded
    if ended.keeps_s == 0 or ended.finish is FinishReason.UNLOAD:
        return without(view.loaded, ended.model)
    if _entry(view.loaded, ended.model) is not None:
        return view.loaded
    return (*view.loaded, LoadedModel(ended.model))


def has_in_memory(view: BackendView, model: str) -> bool:
    """Whether a model is in memory, as far as the backend tells."""
    return view.loaded is not None and _entry(view.loaded, model) is not None


def without(loaded: Loaded, model: str) -> Loaded:
    """What is in memory without one model."""
    if loaded is None or (name := _entry(loaded, model)) is None:
        return loaded
    return tuple(each for each in loaded if each.name != name)


def expires_unix_s(view: BackendView, model: str) -> float | None:
    """When a backend says that it lets go of a model, in seconds since 1970; None where it does not say."""
    name = None if view.loaded is None else _entry(view.loaded, model)
    return next((each.expires_unix_s for each in view.loaded or () if each.name == name), None)


def _entry(loaded: tuple[LoadedModel, ...], model: str) -> str | None:
    for each in loaded:
        if each.name == model:
            return model
    return resolve(model, [each.name for each in loaded])
