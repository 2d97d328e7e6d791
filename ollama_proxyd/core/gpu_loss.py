"""Whether an engine lost its GPU while the machine slept: what it shows now against what it showed before."""

from collections.abc import Mapping
from dataclasses import field

from ollama_proxyd.core.fleet import BackendView, Hardware, LoadedModel
from ollama_proxyd.core.kin import learned
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.values import value

LEAST_SHARE = 0.1
"""Below this share of its former GPU memory, a model was moved to the CPU. An engine with its GPU puts more there, even
in a nearly full memory."""
SAME_SHARE = 0.9
"""Below this share of its former GPU memory, a model has a reason to be slower."""
LEAST_SPEED = 1 / 3
"""So much slower than before is no jitter."""
ENOUGH_SAMPLES = 3
"""From fewer requests nothing is known of a backend's speed."""


@value
class Before:
    """What a backend showed before the machine slept, by its own names of its models."""

    gpu_share: Mapping[str, float] = field(default_factory=dict)
    """How much of a model lay in the GPU's memory, 0 to 1."""
    decode_tps: Mapping[str, float] = field(default_factory=dict)
    """Tokens per second, as learned."""


def remember(before: Before, view: BackendView) -> Before:
    """What is known now over what was known; a backend that lost its GPU says nothing of how it is with one."""
    if view.degraded:
        return before
    shares = {loaded.name: share for loaded in view.loaded or () if (share := _gpu_share(loaded)) is not None}
    speeds = {
        model: speed.decode_tps
        for model, speed in learned(view.speeds).items()
        if speed.decode_tps is not None and speed.samples >= ENOUGH_SAMPLES
    }
    return Before({**before.gpu_share, **shares}, {**before.decode_tps, **speeds})


def lost_memory(before: Before, view: BackendView) -> dict[str, Reason | None]:
    """By loaded model: why it seems to run on the CPU now, None where it does not."""
    told: dict[str, Reason | None] = {}
    for loaded in view.loaded or ():
        kept = _kept_share(before, loaded)
        if kept is None:
            continue
        was = 100 * before.gpu_share[loaded.name]
        lost = Reason("gpu_memory_lost", model=loaded.name, gpu_percent=kept * was, before_gpu_percent=was)
        told[loaded.name] = lost if kept < LEAST_SHARE else None
    return told


def lost_speed(before: Before, view: BackendView, model: str, decode_tps: float) -> Reason | bool:
    """Why a request showed that a model runs on the CPU now; else whether it showed the contrary.

    A model with less GPU memory than before may be slower without any fault.
    """
    was = before.decode_tps.get(model)
    if was is None or view.spec.hardware is Hardware.CPU:
        return False
    if decode_tps >= was * LEAST_SPEED:
        return True
    kept = [share for loaded in view.loaded or () if loaded.name == model and (share := _kept_share(before, loaded))]
    if kept and LEAST_SHARE <= kept[0] < SAME_SHARE:
        return False
    return Reason("gpu_speed_lost", model=model, tokens_per_second=decode_tps, before_tokens_per_second=was)


def is_unloaded(view: BackendView, model: str) -> bool:
    """Whether a backend says that a model is not in its memory; one that does not say has not unloaded it."""
    return view.loaded is not None and all(loaded.name != model for loaded in view.loaded)


def _kept_share(before: Before, loaded: LoadedModel) -> float | None:
    """What lies in the GPU's memory as a part of what lay there; None where it cannot be told, or nothing did."""
    was, now = before.gpu_share.get(loaded.name), _gpu_share(loaded)
    return now / was if was and now is not None else None


def _gpu_share(loaded: LoadedModel) -> float | None:
    if not loaded.size_bytes or loaded.size_vram_bytes is None:
        return None
    return min(max(loaded.size_vram_bytes / loaded.size_bytes, 0.0), 1.0)
