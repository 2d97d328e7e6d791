"""Which backend has read the beginning of a prompt of late, so that routing counts what it need not read again."""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import TypeAlias

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.policy.decision import Ranked
from ollama_proxyd.core.prefixes import TOKENS_PER_BLOCK, Blocks, kept_prompts, shared_blocks
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.inventory import FleetChanges

MOST_PLACES = 256
"""Of so many models on backends the prompts are remembered: those that were asked last."""
WEIGHT = 0.5
"""What the last answer weighs in how much of what an engine should have it had."""
LEAST_SHARE = 0.01
"""What is told of an engine that had nothing: a later answer may show that it has."""

Place: TypeAlias = tuple[str, str]
"""A backend and its name of a model."""


class PrefixAffinity:
    """The last prompts of each model on each backend, as numbers.

    They count where an engine has told that it had the beginning of one, and else only where guesses are wished.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._prompts: dict[Place, Sequence[Blocks]] = {}
        self._had: dict[Place, float] = {}
        """The share of what an engine should have that it had, as far as it was found out."""
        self._told = set[Place]()
        """Whose engines have told that they had the beginning of a prompt."""
        self.guesses = False
        """Whether engines count as well that have not told that they cache prompts."""
        fleet.attempts.listen(self._ended)
        fleet.reconciled.listen(self._reconciled)

    def note(self, ranked: Ranked, blocks: Blocks) -> None:
        """A backend is about to read a prompt; where it loads the model for it, none of the earlier ones is left.

        A short prompt, which has no blocks, takes the place of another too.
        """
        view = self._fleet.view(ranked.backend_id)
        place = ranked.backend_id, ranked.model
        before = self._prompts.pop(place, ())
        others = () if ranked.stay.load_s else [each for each in before if shared_blocks(each, blocks) < len(each)]
        self._prompts[place] = [*others, blocks][-kept_prompts(view) :]
        if len(self._prompts) > MOST_PLACES:
            self._forget(next(iter(self._prompts)))

    def cached_tokens(self, blocks: Blocks, prompt_tokens: int) -> Mapping[str, float]:
        """How much of a prompt each backend is likely to have in its cache, where that is anything."""
        found = dict[str, float]()
        for (backend_id, model), prompts in self._prompts.items() if blocks else ():
            if not self.guesses and (backend_id, model) not in self._told:
                continue
            count = max([shared_blocks(each, blocks) for each in prompts if each[:1] == blocks[:1]], default=0)
            if count:
                tokens = count * TOKENS_PER_BLOCK * self._had.get((backend_id, model), 1.0)
                found[backend_id] = max(min(tokens, prompt_tokens - 1.0), found.get(backend_id, 0.0))
        return found

    def _ended(self, ended: AttemptEnded) -> None:
        """An engine that fails may have been started anew, with an empty cache; an answer shows what it had."""
        if ended.fault is not None:
            self._lost(ended.backend_id)
        place = ended.backend_id, ended.model
        if ended.usage.cached_tokens and place in self._prompts:
            self._told.add(place)
        ranked = ended.decision.ranked[0] if ended.decision is not None and ended.decision.ranked else None
        if ranked is None or not ended.succeeded or ended.resumed or not ranked.cached_tokens:
            return
        before = self._had.get(place, 1.0)
        if (had := _had_share(ended, ranked, ranked.cached_tokens / before)) is not None and place in self._prompts:
            self._had[place] = before + WEIGHT * (had - before)

    def _reconciled(self, changes: FleetChanges) -> None:
        for backend_id in changes.changed | changes.removed:
            self._lost(backend_id)

    def _lost(self, backend_id: str) -> None:
        for place in [each for each in self._prompts if each[0] == backend_id]:
            self._forget(place)

    def _forget(self, place: Place) -> None:
        del self._prompts[place]
        self._had.pop(place, None)
        self._told.discard(place)


def _had_share(ended: AttemptEnded, ranked: Ranked, expected: float) -> float | None:
    """What part of the expected tokens an engine had: as it says, else as the time until its first word shows."""
    told, whole = ended.usage.cached_tokens, ended.usage.prompt_tokens
    if told is not None:
        return min(max(told * (ended.prompt_tokens / whole if whole else 1.0) / expected, LEAST_SHARE), 1.0)
    if ended.first_s is None or ended.neighbours:
        return None
    took_s = ended.timings.prompt_s or ended.first_s - ended.begun_s - (ended.timings.load_s or 0.0)
    middle_s = sqrt(ranked.prefill_s * (ranked.prefill_s + ranked.cached_s))
    return 1.0 if took_s < middle_s else LEAST_SHARE
