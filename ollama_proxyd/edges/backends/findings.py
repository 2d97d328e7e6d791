"""What several questions to one server found out, put together into a probe."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from ollama_proxyd.core.fleet import LoadedModel, Model, Probe


@dataclass(frozen=True, slots=True)
class Findings:
    """What one answer tells; each part None or empty where it tells nothing.

    `shared` are facts about whichever models the server holds (its name is not used).
    """

    models: tuple[Model, ...] = ()
    loaded: tuple[LoadedModel, ...] | None = None
    version: str | None = None
    slots: int | None = None
    shared: Model | None = None


def combine(found: Iterable[Findings]) -> Probe:
    """One probe; where two answers speak of the same thing, the earlier one counts."""
    models: dict[str, Model] = {}
    probe = Probe(models=())
    shared = None
    for each in found:
        for model in each.models:
            models[model.name] = filled(models[model.name], model) if model.name in models else model
        probe = replace(
            probe,
            loaded=each.loaded if probe.loaded is None else probe.loaded,
            version=probe.version or each.version,
            slots=probe.slots or each.slots,
        )
        shared = shared or each.shared
    held = models.values()
    return replace(probe, models=tuple(filled(model, shared) if shared else model for model in held))


def filled(model: Model, other: Model) -> Model:
    """The model with what only the other one knows."""
    known = {each.name: getattr(other, each.name) for each in fields(Model) if getattr(model, each.name) is None}
    return replace(model, **known)
