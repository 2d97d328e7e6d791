"""What it costs to have a model in memory on a device that is awake, and to keep it there."""

from typing import NamedTuple

from ollama_proxyd.core.fleet import BackendView, Model
from ollama_proxyd.core.model_names import resolve
from ollama_proxyd.core.policy.priors import WAKE_OF_CARD_S, WAKE_S, is_known
from ollama_proxyd.core.readings import DeviceState, PowerState
from ollama_proxyd.core.reasons import Reason

KEEP_ALIVE_S = 300.0
"""How long engines keep an unused model, where none is configured."""
LOAD_OVERHEAD_S = 0.5
LOAD_BYTES_PER_S = 1.5e9
"""How fast a model is loaded, where none is configured."""
TYPICAL_MODEL_BYTES = 4e9
LARGEST_MODEL_BYTES = 1e13

LOAD_UNKNOWN = Reason("load_unknown")
KEEP_LOADED_UNKNOWN = Reason("keep_loaded_unknown")


class Residence(NamedTuple):
    """What a request pays for the model's place in memory."""

    load_s: float = 0.0
    load_j: float = 0.0
    wake_s: float = 0.0
    wake_j: float = 0.0
    idle_tail_j: float = 0.0


def residence(
    view: BackendView, model: Model, device: DeviceState | None, power_w: float, notes: list[Reason]
) -> Residence:
    """What waking, loading and keeping cost, with what is estimated of it in the notes."""
    wake_s, wake_j = _wake(view, device, power_w, notes)
    load_s, load_j, idle_tail_j = _load(view, model, power_w, notes)
    return Residence(load_s, load_j, wake_s, wake_j, idle_tail_j)


def _wake(view: BackendView, device: DeviceState | None, power_w: float, notes: list[Reason]) -> tuple[float, float]:
    """Seconds and joules to wake the device, if it sleeps."""
    if device is None or device.power_state is not PowerState.ASLEEP:
        return 0.0, 0.0
    profile = view.spec.profile
    wake_s = profile.wake_s
    if not is_known(wake_s):
        wake_s = WAKE_S.get(view.spec.hardware, WAKE_OF_CARD_S)
        notes.append(Reason("wake_estimated", wake_seconds=wake_s))
    return wake_s, profile.wake_j if is_known(profile.wake_j) else power_w * wake_s


def _load(view: BackendView, model: Model, power_w: float, notes: list[Reason]) -> tuple[float, float, float]:
    """Seconds and joules to load the model, and joules to keep it, unless it is loaded."""
    if view.loaded is None:
        notes.append(LOAD_UNKNOWN)
        return 0.0, 0.0, 0.0
    if resolve(model.name, [loaded.name for loaded in view.loaded]) is not None:
        return 0.0, 0.0, 0.0
    profile = view.spec.profile
    load_s = profile.load_s
    if not is_known(load_s):
        size_bytes = model.size_bytes if is_known(model.size_bytes, 1, LARGEST_MODEL_BYTES) else TYPICAL_MODEL_BYTES
        load_s = LOAD_OVERHEAD_S + size_bytes / LOAD_BYTES_PER_S
        notes.append(Reason("load_estimated", load_seconds=load_s, size_gb=size_bytes / 1e9))
    load_j = profile.load_j if is_known(profile.load_j) else power_w * load_s
    if not is_known(profile.idle_w):
        notes.append(KEEP_LOADED_UNKNOWN)
        return load_s, load_j, 0.0
    return load_s, load_j, profile.idle_w * (profile.keep_alive_s if is_known(profile.keep_alive_s) else KEEP_ALIVE_S)
