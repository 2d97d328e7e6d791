"""What to expect of a backend: what was measured, else what was configured, else what its class of hardware does."""

from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from math import sqrt
from typing import Any, NamedTuple, TypeGuard

from ollama_proxyd.core.fleet import BackendSpec, BackendView, Hardware, Model, Profile
from ollama_proxyd.core.learning import CONTEXTS, ENOUGH_SAMPLES, Part, Speed, context_of, expected
from ollama_proxyd.core.memo import by_identity
from ollama_proxyd.core.model_names import is_mixture
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.watts import Watts

SHORT_PROMPT_TOKENS = CONTEXTS[0]
"""Up to this length the time to the first token stands for the whole prompt; longer prompts are added by rate."""
TYPICAL_BYTES = 4.7e9
"""The size of the model that the classes' speeds are for: 8 billion parameters of 4 bits."""
MOST_BYTES = 10**13
LEAST_SCALE = 0.1
"""However small a model is, this much of the time of a typical one stays."""
PREFILL_SPEEDUP = 15.0
"""Prefill speed over decode speed, where none is configured: a prompt is read in batches."""
MOST = 1e9
"""Larger numbers are mistakes; they count as unknown."""
SLOWEST_TPS = 1e-3


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
    prefill_tps: float
    """How fast the rest of a long prompt is read, where that was not learned."""
    learned_prefill_tps: tuple[float | None, ...]
    """How fast a whole prompt is read, by the number of its context."""
    decode_tps: tuple[float, ...]
    """By the number of the context."""
    notes: tuple[Reason, ...]
    is_guess: bool
    """Whether any of it is taken from the class of hardware."""

    def prefill_s(self, tokens: float) -> float:
        """How long a prompt is read."""
        if tokens <= SHORT_PROMPT_TOKENS:
            return self.ttft_s
        learned_tps = self.learned_prefill_tps[context_of(tokens)]
        if learned_tps is not None:
            return max(self.ttft_s, tokens / learned_tps)
        return self.ttft_s + (tokens - SHORT_PROMPT_TOKENS) / self.prefill_tps

    def least_prefill_s(self, context: int) -> tuple[float, float]:
        """How long any prompt of a context is read at least: at first, and for each of its tokens."""
        if context == 0:
            return self.ttft_s, 0.0
        learned_tps = self.learned_prefill_tps[context]
        if learned_tps is not None:
            return 0.0, 1 / learned_tps
        return self.ttft_s - SHORT_PROMPT_TOKENS / self.prefill_tps, 1 / self.prefill_tps

    def decode_s(self, prompt_tokens: float, output_tokens: float) -> float:
        """How long an answer to such a prompt is written, alone."""
        return output_tokens / self.decode_tps[context_of(prompt_tokens)]


def expect(view: BackendView, model: Model) -> Expectation:
    """What to expect of a backend with one of its models."""
    speed = view.speeds.get(model.name, _NOT_SEEN)
    is_told = speed.samples > 0 or (speed.kin is not None and not view.degraded)
    return _expect(view.spec, model, view.degraded, speed if is_told else _NOT_SEEN, view.watts)


@by_identity
def _expect(spec: BackendSpec, model: Model, degraded: Reason | None, speed: Speed, watts: Watts | None) -> Expectation:
    measured_w = _settled_w(watts)
    prior = _prior_of(spec, model)
    ttft_s, decode_tps, prefill_tps = prior.ttft_s, prior.decode_tps, prior.prefill_tps
    if degraded:
        ttft_s, decode_tps = _as_on_the_cpu(ttft_s, decode_tps)
        prefill_tps = None
    sure = {"ttft_s", "decode_tps"} - speed.seen_once if speed.samples >= ENOUGH_SAMPLES else set[Part]()
    if measured_w is not None:
        sure.add("power_w")
    ttft_s = min(expected(ttft_s, speed.ttft_s, is_sure="ttft_s" in sure), MOST)
    by_context = _decode_tps(decode_tps, speed, is_sure="decode_tps" in sure)
    guesses = [note for part, note in prior.notes if part not in sure]
    notes = [*guesses]
    if speed.samples > 0:
        notes.append(Reason("speed_measured", samples=speed.samples, is_many=speed.samples > 1))
    elif speed.kin is not None:
        notes.append(Reason("speed_of_kin", backend_id=speed.kin))
    if degraded:
        notes.append(Reason("degraded", reason=degraded))
    if measured_w is not None:
        notes.append(Reason("power_measured", power_watts=measured_w))
    rest_tps = PREFILL_SPEEDUP * by_context[0] if prefill_tps is None else prefill_tps
    learned = _prefill_tps(ttft_s, rest_tps, speed) if speed.longer else _NONE_LEARNED
    power_w = prior.power_w if measured_w is None else measured_w
    return Expectation(power_w, ttft_s, rest_tps, learned, by_context, tuple(notes), bool(guesses))


_NOT_SEEN = Speed()
_ALL_CONTEXTS = range(len(CONTEXTS) + 1)
_NONE_LEARNED: tuple[None, ...] = (None,) * len(_ALL_CONTEXTS)
_TYPICAL_TOKENS = tuple(sqrt(least * most) for least, most in pairwise((*CONTEXTS, 4 * CONTEXTS[-1])))
"""The middle of each longer context."""


def _decode_tps(prior: float, speed: Speed, *, is_sure: bool) -> tuple[float, ...]:
    """How fast a backend writes in each context: as seen there, else as in the nearest that was seen."""
    short = max(expected(prior, speed.decode_tps, is_sure=is_sure), SLOWEST_TPS)
    if not speed.longer:
        return (short,) * len(_ALL_CONTEXTS)
    found = []
    for context in _ALL_CONTEXTS:
        part = speed.nearest("decode_tps", context)
        if part is None or (speed.decode_tps is not None and abs(part[1] - context) >= context):
            found.append(short)
            continue
        found.append(max(expected(short, speed.longer[part], is_sure=speed.is_sure(part)), SLOWEST_TPS))
    return tuple(found)


def _prefill_tps(ttft_s: float, rest_tps: float, speed: Speed) -> tuple[float | None, ...]:
    """How fast a backend reads a whole long prompt, as seen there, else as in the nearest context that was seen."""
    found: list[float | None] = [None]
    for context in _ALL_CONTEXTS[1:]:
        part = speed.nearest("prefill_tps", context)
        if part is None:
            found.append(None)
            continue
        tokens = _TYPICAL_TOKENS[context - 1]
        prior = tokens / (ttft_s + (tokens - SHORT_PROMPT_TOKENS) / rest_tps)
        found.append(max(expected(prior, speed.longer[part], is_sure=speed.is_sure(part)), SLOWEST_TPS))
    return tuple(found)


def measured_power_w(view: BackendView) -> float | None:
    """What its device draws while it works, as sensors showed; None where they have not, or not for long enough."""
    return _settled_w(view.watts)


def _settled_w(watts: Watts | None) -> float | None:
    return watts.power_w if watts is not None and watts.is_settled else None


def expected_power_w(view: BackendView, model: Model) -> float:
    """What a backend is expected to draw while it works with a model: measured, else configured or estimated."""
    measured_w = _settled_w(view.watts)
    return _prior_of(view.spec, model).power_w if measured_w is None else measured_w


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
    """What is configured, completed from the class of hardware; `notes` say of which part what is estimated."""

    power_w: float
    ttft_s: float
    decode_tps: float
    prefill_tps: float | None
    notes: tuple[tuple[str, Reason], ...]


@by_identity
def _prior_of(spec: BackendSpec, model: Model) -> _Prior:
    """What is expected of a backend before anything was seen of it."""
    is_mixed = is_mixture(model.name, model.family, model.parameter_size)
    return _prior(spec.profile, spec.hardware, model.size_bytes, is_mixed=is_mixed, is_local=spec.is_local)


@lru_cache(maxsize=1024)
def _prior(profile: Profile, hardware: Hardware, size_bytes: int | None, *, is_mixed: bool, is_local: bool) -> _Prior:
    """What is expected before anything was seen: the larger a model, the slower it is in proportion.

    The classes' figures are for a model of TYPICAL_BYTES. Configured ones hold for that and for smaller models.
    """
    size = _Size(size_bytes if is_local and is_known(size_bytes, 1, MOST_BYTES) else None, is_mixed)
    notes: list[tuple[str, Reason]] = []
    power_w, ttft_s, decode_tps, prefill_tps = profile.power_w, profile.ttft_s, profile.decode_tps, profile.prefill_tps
    if not is_known(power_w) and not is_local:
        power_w = RADIO_W
        notes.append(("power_w", Reason("power_of_radio", power_watts=RADIO_W)))
    elif not is_known(power_w):
        power_w = _estimate(hardware, "power_w", 1.0, notes)
    if is_known(ttft_s):
        ttft_s *= size.slowdown
    else:
        ttft_s = _estimate(hardware, "ttft_s", size.scale, notes, size)
    if not is_known(decode_tps, SLOWEST_TPS):
        decode_tps = _estimate(hardware, "decode_tps", 1 / size.scale, notes, size)
    elif size.slowdown > 1:
        decode_tps /= size.slowdown
        values = {"tokens_per_second": decode_tps, "size_gb": (size_bytes or 0) / 1e9}
        notes.append(("decode_tps", Reason("speed_scaled", **values)))
    prefill_tps = prefill_tps / size.slowdown if is_known(prefill_tps, SLOWEST_TPS) else None
    return _Prior(power_w, ttft_s, decode_tps, prefill_tps, tuple(notes))


class _Size(NamedTuple):
    """The size of a model, None where it is unknown, and whether only a part of it works for each token."""

    size_bytes: float | None
    is_mixed: bool

    @property
    def why_unscaled(self) -> Reason | None:
        """Why nothing follows from it."""
        if self.size_bytes is None:
            return Reason("size_unknown")
        return Reason("mixture_of_experts") if self.is_mixed else None

    @property
    def scale(self) -> float:
        """How many times slower it is than a model of TYPICAL_BYTES."""
        if self.size_bytes is None or self.is_mixed:
            return 1.0
        return max(self.size_bytes / TYPICAL_BYTES, LEAST_SCALE)

    @property
    def slowdown(self) -> float:
        """How many times slower it is than what is configured."""
        return max(self.scale, 1.0)


def _estimate(
    hardware: Hardware, what: str, scale: float, notes: list[tuple[str, Reason]], size: _Size | None = None
) -> float:
    value: float = getattr(CLASS_PRIORS[hardware], what) * scale
    of_class, of_unknown, name = _NOTED_AS[what]
    is_unknown = hardware is Hardware.UNKNOWN
    values: dict[str, Any] = {"hardware": None if is_unknown else hardware.value, name: value}
    if size is not None and size.size_bytes is not None and not size.is_mixed:
        values["size_gb"] = size.size_bytes / 1e9
    elif size is not None:
        values["unscaled"] = size.why_unscaled
    notes.append((what, Reason(of_unknown if is_unknown else of_class, **values)))
    return value
