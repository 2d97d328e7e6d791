"""Owns what finished requests taught about each backend's speed."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.events import FinishReason
from ollama_proxyd.core.kin import learned
from ollama_proxyd.core.learning import CONTEXTS, Answer, Speed, learn
from ollama_proxyd.core.policy.crowd import ALONE
from ollama_proxyd.core.readings import Conditions, SystemState
from ollama_proxyd.core.requests import WRITING
from ollama_proxyd.core.slowing import Slowing, slowing_by

MIN_TOKENS = 8
"""Shorter answers say more about jitter than about speed."""
MOST_AHEAD = 10.0
"""How many times faster than by our clock a backend may say it wrote; clients that read slowly explain less."""
LEAST_BESIDE = 0.5
"""Beside fewer others than this on the mean an answer was alone."""
_NOT_SEEN = Speed()


class Learner:
    """Measured speeds by backend and model; they outlive a reload of the configuration.

    Those of other conditions, the power profile and the charger, are kept apart and are a first guess.
    """

    def __init__(self) -> None:
        self._speeds: dict[str, dict[str, Speed]] = {}
        """Those of the present conditions."""
        self._elsewhere: dict[Conditions, dict[str, dict[str, Speed]]] = {}
        self.conditions: Conditions | None = None
        """Those that hold now, as far as is known."""

    def follow(self, system: SystemState) -> None:
        """Other conditions have speeds of their own."""
        conditions = Conditions.of(system)
        if conditions == self.conditions:
            return
        if self.conditions is not None:
            self._elsewhere[self.conditions] = {each: learned(speeds) for each, speeds in self._speeds.items()}
            for backend_id, speeds in self._speeds.items():
                seen = self._elsewhere.get(conditions, {}).get(backend_id, {})
                speeds.update({model: seen.get(model) or speed.prior(speed.at_s) for model, speed in speeds.items()})
        self.conditions = conditions

    def speeds(self, backend_id: str) -> Mapping[str, Speed]:
        """What was learned of a backend's models, as a live view that only this object changes."""
        return MappingProxyType(self._speeds.setdefault(backend_id, {}))

    def forget(self, backend_id: str, model: str) -> None:
        """What was learned of a model there holds no longer, under any conditions."""
        for speeds in (self._speeds, *self._elsewhere.values()):
            speeds.get(backend_id, {}).pop(model, None)

    def recall(self, former: Iterable[AttemptEnded]) -> None:
        """What attempts before the start showed is a first guess: engines and machine may have changed since."""
        before = Learner()
        for ended in former:
            before.observe(ended)
        for backend_id, speeds in before._speeds.items():
            own = self._speeds.setdefault(backend_id, {})
            seen = learned(own)
            own.update({model: speed.first_guess() for model, speed in speeds.items() if model not in seen})

    def suppose(self, backend_id: str, model: str, guess: Speed) -> None:
        """Take what its kin showed: all where a backend has shown nothing of a model, else what its batch slows."""
        speeds = self._speeds.setdefault(backend_id, {})
        own, each = speeds.get(model, _NOT_SEEN), guess.beside.get(backend_id)
        if not own.samples:
            speeds[model] = guess
        elif each is not None:
            speeds[model] = own.slowed(backend_id, each, is_own=True)

    def forget_guesses(self, backend_id: str) -> None:
        """What its kin showed holds no longer for a backend."""
        speeds = self._speeds.get(backend_id, {})
        shown = learned(speeds)
        speeds.clear()
        speeds.update(shown)

    def restart(self, ended: AttemptEnded) -> None:
        """Learn anew, from this attempt on."""
        self.forget(ended.backend_id, ended.model)
        self.observe(ended)

    def observe(self, ended: AttemptEnded) -> None:
        """Learn from an attempt what it would have been alone; failures teach nothing."""
        if ended.succeeded:
            speeds = self._speeds.setdefault(ended.backend_id, {})
            known = speeds.get(ended.model, _NOT_SEEN)
            speeds[ended.model] = learn(known, what_it_showed(ended, known), ended.ended_s)


def what_it_showed(ended: AttemptEnded, known: Speed) -> Answer:
    """The speeds of an answer; tokens of the prompt are those that routing reckons with.

    Beside more others than those that have shown its speed it shows how much they slow it, and else its speed.
    """
    read_tokens, tps, beside = _read_tokens(ended), decode_tps(ended), _beside(ended)
    slow, slowing, batch = known.slowdown(beside, ended.backend_id), None, beside.get(ended.backend_id, 0.0)
    is_short, read_s = read_tokens <= CONTEXTS[0], _read_s(ended, slow)
    if beside and tps is not None and (alone_tps := known.decode_in(ended.prompt_tokens)) is not None:
        usual = min(known.crowd_in(ended.prompt_tokens), batch)
        if not 0 < batch == usual:
            times = alone_tps / tps / known.slowdown({ended.backend_id: usual}, ended.backend_id)
            slowing, tps = _slowing(ended.backend_id, beside, times, usual), None
    return Answer(
        ttft_s=read_s if is_short else None,
        prefill_tps=None if is_short or not read_s else read_tokens / read_s,
        read_tokens=read_tokens,
        decode_tps=None if tps is None else tps * slow,
        context_tokens=ended.prompt_tokens,
        output_tokens=None if ended.resumed or ended.operation not in WRITING else ended.usage.completion_tokens,
        is_cut=ended.finish is FinishReason.LENGTH,
        asker=(ended.program.name, ended.operation._value_),
        batch=batch,
        slowing=slowing,
    )


def _slowing(own_id: str, beside: Mapping[str, float], times: float, usual: float) -> Slowing | None:
    """What others show that were beside an answer; several backends show it only together, and another as a whole."""
    if len(beside) > 1:
        return None
    backend_id, count = next(iter(beside.items()))
    return slowing_by(backend_id, times, count if backend_id == own_id else 1.0, usual)


def _beside(ended: AttemptEnded) -> Mapping[str, float]:
    """The other requests that were under way on the same chip, by backend."""
    others: dict[str, float] = {}
    if ended.decision is not None and ended.decision.ranked and (crowd := ended.decision.ranked[0].crowd) is not ALONE:
        others = {each: count for each, count in crowd.beside.items() if each != ended.backend_id}
    if ended.neighbours >= LEAST_BESIDE:
        others[ended.backend_id] = ended.neighbours
    return others


def _read_tokens(ended: AttemptEnded) -> float:
    """How much of the prompt was read: what the backend had cached was not."""
    told, cached = ended.usage.prompt_tokens, ended.usage.cached_tokens
    return ended.prompt_tokens * (1 - min(cached / told, 1.0)) if told and cached else float(ended.prompt_tokens)


def _may_be_cached(ended: AttemptEnded) -> bool:
    """Whether only a part of the prompt was read, as it seems, of an engine that does not tell."""
    if ended.usage.cached_tokens is not None or ended.decision is None:
        return False
    ranked = ended.decision.ranked
    return bool(ranked and ranked[0].cached_tokens)


def _read_s(ended: AttemptEnded, slow: float) -> float | None:
    """Time until the prompt was read, alone, with the model loaded already; beside others it took so much longer.

    A stream of words shows it by its first token, any other of them only by the backend's own clock, all else by its
    end.
    """
    if ended.neighbours or ended.resumed or _may_be_cached(ended):
        return None
    until_s = ended.ttft_s if ended.operation in WRITING else ended.busy_s
    if until_s is None:
        return None if ended.timings.prompt_s is None else ended.timings.prompt_s / slow
    return max(until_s - (ended.timings.load_s or 0.0), 0.0) / slow or None


def decode_tps(ended: AttemptEnded) -> float | None:
    """The backend's own figure where it gives one that can be, else tokens over the time from the first to the last."""
    tokens = ended.usage.completion_tokens
    if tokens is None or tokens < MIN_TOKENS:
        return None
    told = tokens / ended.timings.decode_s if ended.timings.decode_s else None
    seen = (tokens - 1) / ended.writing_s if ended.writing_s else None
    return seen if told is None or (seen is not None and told > MOST_AHEAD * seen) else told
