"""Which quantisation of a model suits a device: what fits into its memory, and how fast and how dear it would be."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ollama_proxyd.core.fleet import BackendView, Model
from ollama_proxyd.core.gguf import GgufFacts
from ollama_proxyd.core.kin import learned
from ollama_proxyd.core.model_memory import Serving, estimate
from ollama_proxyd.core.model_names import canonical
from ollama_proxyd.core.policy.priors import expect, known_power_w
from ollama_proxyd.core.values import value

GB = 10**9
LEAST_ROOM_LEFT = 0.05
"""So much of a device's memory stays free, for what grows."""
_PARAMETERS = re.compile(r"(?:^|[^0-9a-z.])(?:(\d{1,2})x)?(\d{1,4}(?:\.\d{1,3})?)([bmk])(?![0-9a-z])", re.ASCII)
_SIZES = {"b": 1e9, "m": 1e6, "k": 1e3}
MOST_PARAMETERS = 10**14


class Tier(NamedTuple):
    """A quantisation as llama.cpp makes it; bits per weight are those of Llama 3.1 8B (tools/quantize/README.md)."""

    tag: str
    label: str
    description: str
    bits: float


TIERS = (
    Tier("q8_0", "Q8_0", "Nothing is lost that anybody would notice", 8.5008),
    Tier("q6_K", "Q6_K", "Next to nothing is lost", 6.5633),
    Tier("q5_K_M", "Q5_K_M", "Little is lost", 5.7036),
    Tier("q4_K_M", "Q4_K_M", "A fair balance, which most models are published in", 4.8944),
    Tier("q4_K_S", "Q4_K_S", "A little smaller and a little worse than Q4_K_M", 4.6672),
    Tier("q3_K_M", "Q3_K_M", "A loss that can be noticed", 3.9960),
    Tier("q2_K", "Q2_K", "A clear loss, where nothing else fits", 3.1593),
)
"""The best first."""


@value
class Subject:
    """The model that is asked about, as far as it is known."""

    name: str
    parameters: float
    is_counted: bool
    """Whether a file or an engine told them; else they are read from the name."""
    context_tokens: int | None = None
    facts: GgufFacts | None = None
    size_bytes: int | None = None
    quantization: str | None = None


class Place(NamedTuple):
    """A backend, and the memory of its device; None where it is not known, or no backend is here yet."""

    view: BackendView | None
    total_bytes: int | None
    free_bytes: int | None
    """What is free, and what the model takes that is asked about."""
    has_amx: bool = False
    is_card: bool = False
    """Whether the device has memory of its own."""

    @property
    def room_bytes(self) -> float | None:
        """What a model may take."""
        known = self.free_bytes if self.free_bytes is not None else self.total_bytes
        return None if known is None else max(known - LEAST_ROOM_LEFT * (self.total_bytes or known), 0.0)


@value
class Option:
    """One quantisation on one device; None where it is not known. All but what was measured is an estimate."""

    tier: Tier
    weights_bytes: float
    cache_bytes: int | None
    """Of the context, and what is between the layers."""
    fits: bool | None
    tokens_per_second: float | None
    joules_per_token: float | None
    speed_from: str
    """measured: of this very model here; scaled: from what was measured of it in another size; else estimated."""
    models: tuple[str, ...]
    """Models of this quantisation that backends hold."""

    @property
    def memory_bytes(self) -> float:
        """What it takes, as far as that is known."""
        return self.weights_bytes + (self.cache_bytes or 0)


@value
class Advice:
    """What is advised for one device; `recommended` None where nothing fits, or its memory is not known."""

    place: Place
    options: tuple[Option, ...]
    recommended: Option | None


def parameters_in(name: str) -> float | None:
    """How many parameters a name says that a model has; of a mixture such as 8x7b all experts."""
    found = [
        float(match[1] or 1) * float(match[2]) * _SIZES[match[3]] for match in _PARAMETERS.finditer(name.lower()[:200])
    ]
    return max(found, default=0.0) or None


def parameters_of(told: str | None) -> float | None:
    """The parameters that an engine tells, such as 3.2B."""
    return None if told is None else parameters_in(told.replace(" ", ""))


def base_of(name: str) -> str:
    """A model's name without registry, folder, tag and quantisation."""
    plain = canonical(name).partition(":")[0].rsplit("/", 1)[-1].removesuffix("-gguf")
    return re.sub(r"[-_.](i?q\d\w*|f16|bf16|f32|mxfp4)(\.gguf)?$", "", plain.removesuffix(".gguf"))


def same_models(subject: Subject, views: Iterable[BackendView]) -> dict[str, list[str]]:
    """The models that are held of the same name and size, by their quantisation in lower case."""
    found: dict[str, list[str]] = {}
    for view in views:
        for model in view.models:
            names = found.setdefault((model.quantization or "").lower(), [])
            if _is_same(subject, model) and model.name not in names:
                names.append(model.name)
    return found


def _is_same(subject: Subject, model: Model) -> bool:
    if canonical(model.name) == canonical(subject.name):
        return True
    told = parameters_of(model.parameter_size) or parameters_in(model.name)
    is_as_large = told is not None and 0.9 < told / subject.parameters < 1.1
    return base_of(model.name) == base_of(subject.name) and is_as_large


def advise(subject: Subject, place: Place, views: Sequence[BackendView], *, aggressive: bool) -> Advice:
    """Each quantisation on a device, and the best that fits there; one tier lower where that is wanted."""
    held = same_models(subject, views)
    options = tuple(_option(subject, place, tier, tuple(held.get(tier.tag.lower(), ()))) for tier in TIERS)
    fitting = [each for each in options if each.fits]
    recommended = fitting[0] if fitting else None
    if recommended is not None and aggressive:
        recommended = fitting[min(1, len(fitting) - 1)]
    return Advice(place, options, recommended)


def _option(subject: Subject, place: Place, tier: Tier, models: tuple[str, ...]) -> Option:
    weights = weights_bytes(subject, tier)
    cache = _cache_bytes(subject, place)
    room = place.room_bytes
    speed, source = _speed(subject, place.view, weights)
    power_w = known_power_w(place.view) if place.view else None
    return Option(
        tier,
        weights,
        cache,
        None if room is None else weights + (cache or 0) <= room,
        speed,
        None if speed is None or power_w is None else power_w / speed,
        source,
        models,
    )


def weights_bytes(subject: Subject, tier: Tier) -> float:
    """What the weights take: as they are where the model has this quantisation, else by its bits per weight."""
    if subject.size_bytes and (subject.quantization or "").lower() == tier.tag.lower():
        return float(subject.size_bytes)
    return subject.parameters * tier.bits / 8


def _cache_bytes(subject: Subject, place: Place) -> int | None:
    if subject.facts is None:
        return None
    memory = estimate(subject.facts, Serving(context_tokens=subject.context_tokens, has_amx=place.has_amx))
    return None if memory is None else memory.cache_bytes + memory.compute_bytes


def _speed(subject: Subject, view: BackendView | None, weights: float) -> tuple[float | None, str]:
    """Tokens per second: the time of a token grows with the bytes that are read for it.

    What was measured of the model itself counts, else of the model that was measured most here, else what the class of
    hardware does.
    """
    if view is None:
        return None, "estimated"
    own = next((each for each in view.models if canonical(each.name) == canonical(subject.name)), None)
    seen = learned(view.speeds)
    for model in (own, _most_measured(view)):
        speed = None if model is None else seen.get(model.name)
        if model is not None and model.size_bytes and speed is not None and speed.told_tps:
            source = "estimated" if model is not own else "measured" if weights == model.size_bytes else "scaled"
            return speed.told_tps * model.size_bytes / weights, source
    if weights <= 0:
        return None, "estimated"
    return expect(view, Model(subject.name, size_bytes=int(weights))).decode_tps[0], "estimated"


def _most_measured(view: BackendView) -> Model | None:
    seen = {name: speed.samples for name, speed in view.speeds.items() if speed.samples}
    held = [each for each in view.models if each.name in seen and each.size_bytes]
    return max(held, key=lambda each: seen[each.name], default=None)
