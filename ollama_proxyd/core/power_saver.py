"""What a token costs under the power profiles, and whether power-saver is worth holding while an answer runs."""

from typing import Annotated, NamedTuple

from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.options import Option
from ollama_proxyd.core.values import value

SAVER, BALANCED = "power-saver", "balanced"
THRIFTY = frozenset({Mode.EFFICIENCY, Mode.QUIET, Mode.ULTRA_EFFICIENCY})
ENOUGH = 2
"""So many answers count, as elsewhere; so many are tried under a profile that was never measured."""
LEAST_TOKENS = 8
NEW_COUNTS = 0.2
"""What a new answer weighs once there are many."""


@value
class PowerSaverSettings:
    """Whether the machine's own power profile is used."""

    hold: Annotated[
        bool,
        Option(
            "efficiency.hold_power_saver",
            "Whether answers in Efficiency, Quiet and Ultra Efficiency hold the power profile power-saver "
            "where a token was measured to cost less there.",
        ),
    ] = False


class Work(NamedTuple):
    """Who writes: a backend's model."""

    backend_id: str
    model: str


class Cost(NamedTuple):
    """Joules for a token, over so many answers."""

    token_j: float
    answers: int


class Costs:
    """Measured joules for each token, by who writes and the power profile."""

    def __init__(self) -> None:
        self._known: dict[tuple[Work, str], Cost] = {}

    def learn(self, work: Work, profile: str, token_j: float) -> None:
        """Take one answer into account."""
        before = self._known.get((work, profile), Cost(token_j, 0))
        weight = max(1 / (before.answers + 1), NEW_COUNTS)
        mean_j = before.token_j + weight * (token_j - before.token_j)
        self._known[work, profile] = Cost(mean_j, before.answers + 1)

    def of(self, work: Work, profile: str) -> Cost | None:
        """What is known well enough."""
        known = self._known.get((work, profile))
        return None if known is None or known.answers < ENOUGH else known

    def is_saver_worth_it(self, work: Work) -> bool:
        """Whether power-saver was measured to be thriftier, or is to be tried because only balanced was measured."""
        usual, saver = self.of(work, BALANCED), self.of(work, SAVER)
        return usual is not None and (saver is None or saver.token_j < usual.token_j)


class Choice(NamedTuple):
    """A profile that the person chose while another was held; it counts until they choose once more."""

    profile: str
    is_seen: bool = False


def after_reading(choice: Choice | None, profile: str | None) -> Choice | None:
    """What is left of a choice once the sensors say this profile."""
    if choice is None or profile is None:
        return choice
    if profile == choice.profile:
        return choice._replace(is_seen=True)
    return None if choice.is_seen else choice
