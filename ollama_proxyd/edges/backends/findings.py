"""What several questions to one server found out, put together into a probe."""

from collections.abc import Iterable
from dataclasses import fields, replace

from ollama_proxyd.core.fleet import LoadedModel, Model, Probe
from ollama_proxyd.core.slots import Slots, SlotsFrom
from ollama_proxyd.core.values import value


@value
class Findings:
    """What one answer tells; each part None or empty where it tells nothing.

    `capabilities` are those of all models that the server holds.
    """

    models: tuple[Model, ...] = ()
    loaded: tuple[LoadedModel, ...] | None = None
    version: str | None = None
    slots: int | None = None
    capabilities: frozenset[str] | None = None
    unloads: bool | None = None


def combine(found: Iterable[Findings]) -> Probe:
    """One probe; where two answers speak of the same thing, the earlier one counts."""
    models: dict[str, Model] = {}
    probe = Probe(models=())
    capabilities = None
    for each in found:
        for model in each.models:
            models[model.name] = filled(models[model.name], model) if model.name in models else model
        probe = replace(
            probe,
            loaded=each.loaded if probe.loaded is None else probe.loaded,
            version=probe.version or each.version,
            unloads=each.unloads if probe.unloads is None else probe.unloads,
            slots=probe.slots or (Slots(each.slots, SlotsFrom.TOLD) if each.slots else None),
        )
        capabilities = each.capabilities if capabilities is None else capabilities
    known = Model("", capabilities=capabilities)
    return replace(probe, models=tuple(filled(model, known) for model in models.values()))


def filled(model: Model, other: Model) -> Model:
    """The model with what only the other one knows."""
    known = {each.name: getattr(other, each.name) for each in fields(Model) if getattr(model, each.name) is None}
    return replace(model, **known)
