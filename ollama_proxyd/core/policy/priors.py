"""What to expect of a backend: what was measured, else what was configured, else what its class of hardware does."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, TypeGuard

from ollama_proxyd.core.fleet import BackendView, Hardware, Profile
from ollama_proxyd.core.learning import blend
from ollama_proxyd.core.reasons import Reason

PREFILL_SPEEDUP = 15.0
"""Prefill speed over decode speed, where none is configured: a prompt is read in batches."""
MOST = 1e9
"""Larger numbers are mistakes; they count as unknown."""
SLOWEST_TPS = 1e-3
NEIGHBOUR_SLOWDOWN = 0.25
"""How much longer each other request on the same device makes the writing of an answer, until that is measured."""


class ClassPrior(NamedTuple):
    """What a class of hardware typically does."""

    power_w: float
    ttft_s: float
    decode_tps: float


CLASS_PRIORS: Mapping[Hardware, ClassPrior] = {
    Hardware.NPU: ClassPrior(power_w=3.0, ttft_s=0.8, decode_tps=10.0),
    Hardware.IGPU: ClassPrior(power_w=12.0, ttft_s=0.35, decode_tps=22.0),
    Hardware.NVIDIA: ClassPrior(power_w=55.0, ttft_s=0.15, decode_tps=65.0),
    Hardware.AMDGPU: ClassPrior(power_w=55.0, ttft_s=0.2, decode_tps=50.0),
    Hardware.CPU: ClassPrior(power_w=28.0, ttft_s=1.2, decode_tps=6.0),
    Hardware.UNKNOWN: ClassPrior(power_w=15.0, ttft_s=0.6, decode_tps=15.0),
}
"""The unknown is taken for the middle of the others: the geometric mean of npu, igpu, nvidia and cpu."""


RADIO_W = 1.0
"""What this machine's Wi-Fi draws while it waits for another machine, which spends no energy of this one."""

WAKE_S: Mapping[Hardware, float] = {Hardware.NPU: 0.05, Hardware.IGPU: 0.05}
"""Seconds to wake what lies in the processor; intel_vpu sleeps 10 ms after its work and wakes as quickly."""
WAKE_OF_CARD_S = 2.0


class Expectation(NamedTuple):
    """What a backend is expected to do with one of its models; `notes` say what is estimated or learned."""

    power_w: float
    ttft_s: float
    decode_tps: float
    prefill_tps: float
    notes: list[Reason]
    is_guess: bool
    """Whether any of it is taken from the class of hardware."""


def expect(view: BackendView, model: str) -> Expectation:
    """What to expect of a backend with one of its models."""
    profile, measured_w = view.spec.profile, None if view.watts is None else measured_power_w(view)
    prior = _prior(profile, view.spec.hardware, needs_power=measured_w is None, is_local=view.spec.is_local)
    power_w, ttft_s, decode_tps = prior.power_w if measured_w is None else measured_w, prior.ttft_s, prior.decode_tps
    notes, is_guess = [*prior.notes], bool(prior.notes)
    if view.degraded:
        ttft_s, decode_tps = _as_on_the_cpu(ttft_s, decode_tps)
    speed = view.speeds.get(model)
    if speed is not None and speed.samples > 0:
        ttft_s = min(blend(ttft_s, speed.ttft_s, speed.samples), MOST)
        decode_tps = max(blend(decode_tps, speed.decode_tps, speed.samples), SLOWEST_TPS)
        notes.append(Reason("speed_measured", samples=speed.samples, is_many=speed.samples > 1))
    if view.degraded:
        notes.append(Reason("degraded", reason=view.degraded))
    if measured_w is not None:
        notes.append(Reason("power_measured", power_watts=measured_w))
    prefill_tps = profile.prefill_tps
    if view.degraded or not is_known(prefill_tps, SLOWEST_TPS):
        prefill_tps = PREFILL_SPEEDUP * decode_tps
    return Expectation(power_w, ttft_s, decode_tps, prefill_tps, notes, is_guess)


def slowdown(neighbours: float) -> float:
    """How many times longer an answer takes beside so many other requests on the same device."""
    return 1 + NEIGHBOUR_SLOWDOWN * neighbours


def measured_power_w(view: BackendView) -> float | None:
    """What its device draws while it works, as sensors showed; None where they have not, or not for long enough."""
    return view.watts.power_w if view.watts is not None and view.watts.is_settled else None


def known_power_w(view: BackendView) -> float | None:
    """What a backend draws under load, measured or configured; None where it can only be guessed."""
    measured_w, rated_w = measured_power_w(view), view.spec.profile.power_w
    return rated_w if measured_w is None and is_known(rated_w) else measured_w


def guessed_power_w(view: BackendView) -> float | None:
    """What a backend is taken to draw where that is neither measured nor configured, else None."""
    if known_power_w(view) is not None:
        return None
    return CLASS_PRIORS[view.spec.hardware].power_w if view.spec.is_local else RADIO_W


def is_known(value: float | None, least: float = 0.0, most: float = MOST) -> TypeGuard[float]:
    """Whether a plausible number is configured."""
    return value is not None and least <= value <= most


_NOTED_AS = {
    "power_w": ("power_from_class", "power_of_unknown", "power_watts"),
    "ttft_s": ("ttft_from_class", "ttft_of_unknown", "ttft_seconds"),
    "decode_tps": ("speed_from_class", "speed_of_unknown", "tokens_per_second"),
}
"""The codes of the note for hardware of a known and of an unknown class, and the name of its value."""


def _as_on_the_cpu(ttft_s: float, decode_tps: float) -> tuple[float, float]:
    """What an engine is expected to do that lost its GPU: at most what engines do that never had one."""
    slow = CLASS_PRIORS[Hardware.CPU]
    return max(ttft_s, slow.ttft_s), min(decode_tps, slow.decode_tps)


class _Prior(NamedTuple):
    """What is configured, completed from the class of hardware; `notes` say what is."""

    power_w: float
    ttft_s: float
    decode_tps: float
    notes: tuple[Reason, ...]


@lru_cache(maxsize=256)
def _prior(profile: Profile, hardware: Hardware, *, needs_power: bool, is_local: bool) -> _Prior:
    notes: list[Reason] = []
    power_w, ttft_s, decode_tps = profile.power_w, profile.ttft_s, profile.decode_tps
    if needs_power and not is_known(power_w):
        power_w = _estimate(hardware, "power_w", notes) if is_local else RADIO_W
        if not is_local:
            notes.append(Reason("power_of_radio", power_watts=RADIO_W))
    if not is_known(ttft_s):
        ttft_s = _estimate(hardware, "ttft_s", notes)
    if not is_known(decode_tps, SLOWEST_TPS):
        decode_tps = _estimate(hardware, "decode_tps", notes)
    return _Prior(power_w or 0.0, ttft_s, decode_tps, tuple(notes))


def _estimate(hardware: Hardware, what: str, notes: list[Reason]) -> float:
    value: float = getattr(CLASS_PRIORS[hardware], what)
    of_class, of_unknown, name = _NOTED_AS[what]
    is_unknown = hardware is Hardware.UNKNOWN
    named = None if is_unknown else hardware.value
    notes.append(Reason(of_unknown if is_unknown else of_class, hardware=named, **{name: value}))
    return value
