"""Owns what finished requests taught about each backend's speed."""

from collections.abc import Mapping
from types import MappingProxyType

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.events import FinishReason
from ollama_proxyd.core.learning import Speed, learn
from ollama_proxyd.core.policy.cost import SHORT_PROMPT_TOKENS
from ollama_proxyd.core.policy.priors import slowdown

MIN_TOKENS = 8
"""Shorter answers say more about jitter than about speed."""


class Learner:
    """Measured speeds by backend and model; they outlive a reload of the configuration."""

    def __init__(self) -> None:
        self._speeds: dict[str, dict[str, Speed]] = {}

    def speeds(self, backend_id: str) -> Mapping[str, Speed]:
        """What was learned of a backend's models, as a live view that only this object changes."""
        return MappingProxyType(self._speeds.setdefault(backend_id, {}))

    def forget(self, backend_id: str, model: str) -> None:
        """What was learned of a model there holds no longer."""
        self._speeds.get(backend_id, {}).pop(model, None)

    def restart(self, ended: AttemptEnded) -> None:
        """Learn anew, from this attempt on."""
        self.forget(ended.backend_id, ended.model)
        self.observe(ended)

    def observe(self, ended: AttemptEnded) -> None:
        """Learn from an attempt what it would have been alone; failures teach nothing."""
        if not ended.succeeded:
            return
        tps = decode_tps(ended)
        speeds = self._speeds.setdefault(ended.backend_id, {})
        speeds[ended.model] = learn(
            speeds.get(ended.model),
            ttft_s=_ttft_s(ended),
            decode_tps=None if tps is None else tps * slowdown(ended.neighbours),
            output_tokens=_output_tokens(ended),
        )


def _ttft_s(ended: AttemptEnded) -> float | None:
    """Time to the first token of a short prompt, alone, with the model loaded already."""
    if ended.ttft_s is None or ended.neighbours or ended.prompt_tokens > SHORT_PROMPT_TOKENS:
        return None
    return max(ended.ttft_s - (ended.timings.load_s or 0.0), 0.0) or None


def decode_tps(ended: AttemptEnded) -> float | None:
    """The backend's own figure where it gives one, else tokens over the time from the first to the last."""
    tokens = ended.usage.completion_tokens
    if tokens is None or tokens < MIN_TOKENS:
        return None
    if ended.timings.decode_s:
        return tokens / ended.timings.decode_s
    writing_s = ended.writing_s
    return (tokens - 1) / writing_s if writing_s else None


def _output_tokens(ended: AttemptEnded) -> int | None:
    """The length of an answer that ended by itself; one that was cut, or went on here, does not tell it."""
    return None if ended.finish is FinishReason.LENGTH or ended.resumed else ended.usage.completion_tokens
