"""Owns what finished requests taught about each backend's speed."""

from collections.abc import Mapping
from types import MappingProxyType

from ollama_proxyd.core.events import FinishReason
from ollama_proxyd.core.learning import Speed, learn
from ollama_proxyd.core.policy.cost import SHORT_PROMPT_TOKENS
from ollama_proxyd.services.ledger import Outcome

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

    def restart(self, outcome: Outcome) -> None:
        """Learn anew, from this outcome on."""
        if outcome.backend_id is not None and outcome.model is not None:
            self.forget(outcome.backend_id, outcome.model)
            self.observe(outcome)

    def observe(self, outcome: Outcome) -> None:
        """Learn from an outcome; failures and requests that had to queue teach nothing."""
        if not outcome.succeeded or outcome.queued or outcome.model is None or outcome.backend_id is None:
            return
        speeds = self._speeds.setdefault(outcome.backend_id, {})
        speeds[outcome.model] = learn(
            speeds.get(outcome.model),
            ttft_s=_ttft_s(outcome),
            decode_tps=decode_tps(outcome),
            output_tokens=_output_tokens(outcome),
        )


def _ttft_s(outcome: Outcome) -> float | None:
    """Time to the first token of a short prompt with the model loaded already, as the client felt it."""
    if outcome.ttft_s is None or outcome.prompt_tokens > SHORT_PROMPT_TOKENS:
        return None
    return max(outcome.ttft_s - (outcome.timings.load_s or 0.0), 0.0) or None


def decode_tps(outcome: Outcome) -> float | None:
    """The backend's own figure where it gives one, else tokens over the time from the first to the last."""
    tokens = outcome.usage.completion_tokens
    if tokens is None or tokens < MIN_TOKENS:
        return None
    if outcome.timings.decode_s:
        return tokens / outcome.timings.decode_s
    if outcome.ttft_s is None or outcome.total_s <= outcome.ttft_s:
        return None
    return (tokens - 1) / (outcome.total_s - outcome.ttft_s)


def _output_tokens(outcome: Outcome) -> int | None:
    """The length of an answer that ended by itself; one that was cut tells only the client's limit."""
    return None if outcome.finish is FinishReason.LENGTH else outcome.usage.completion_tokens
