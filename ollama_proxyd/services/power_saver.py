"""Says when the power profile power-saver is wanted: while a thrifty mode's answer runs that costs less under it."""

from collections import Counter, OrderedDict
from functools import partial

from ollama_proxyd.core.attempts import AttemptBegun, AttemptEnded
from ollama_proxyd.core.energy import Source
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.power_saver import (
    BALANCED,
    LEAST_TOKENS,
    SAVER,
    THRIFTY,
    Choice,
    Costs,
    PowerSaverSettings,
    Work,
    after_reading,
)
from ollama_proxyd.core.readings import SystemState, known
from ollama_proxyd.services.cell import Cell, Ear
from ollama_proxyd.services.energy import EnergyAccounts
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.tasks import Tasks

MOST_UNBOOKED = 1000
SOON_S = 1.0
"""A hold begins that soon after the answer for which it is taken."""


class PowerSaver:
    """Follows attempts, mode and profile; `held`, `let_go` and `overruled` tell what became of the wish.

    In Auto nothing is held: that mode follows the profile, so it would follow itself.
    """

    def __init__(self, fleet: Fleet, governor: Governor, energy: EnergyAccounts, clock: Clock) -> None:
        self._governor = governor
        self._clock = clock
        self._settings = PowerSaverSettings()
        self._costs = Costs()
        self._running: Counter[Work] = Counter()
        self._ended: OrderedDict[tuple[str, float], str | None] = OrderedDict()
        """Under which profile each ran whose energy is not known yet; None where it changed meanwhile."""
        self._profile: str | None = None
        self._choice: Choice | None = None
        self._changed_s = 0.0
        self.is_wanted: Cell[bool] = Cell(False)
        self.holding: Cell[bool] = Cell(False)
        self.answers = 0
        """How many ran under a hold, as far as they were measured."""
        self.saved_j = 0.0
        """What these needed less than as many tokens do under the profile balanced; below zero: more."""
        attempts = partial(fleet.sent.listen, self._note_sent), partial(fleet.attempts.listen, self._note_ended)
        self._ear = Ear(*attempts, partial(energy.booked.listen, self._note_booked))
        """Listens from the first time that the profile may be held."""

    @property
    def is_held(self) -> bool:
        """Whether the profile is held now."""
        return self.holding.value

    def follow(self, system: Cell[SystemState], tasks: Tasks) -> None:
        """Look again at each change of the machine and of the mode."""
        tasks.start("power-saver.system", system.follow(self._observe))
        tasks.start("power-saver.mode", self._governor.setting.follow(lambda _: self._look()))

    def reconfigure(self, settings: PowerSaverSettings) -> None:
        """Apply other settings from now on."""
        self._settings = settings
        if settings.hold:
            self._ear.want(True)
        self._look()

    def held(self) -> None:
        """The profile is held now, for all that runs."""
        self._changed_s = self._clock.monotonic()
        self.holding.set(True)

    def let_go(self) -> None:
        """The hold is given back, or lost with the bus."""
        self._changed_s = self._clock.monotonic()
        self.holding.set(False)
        self._look()

    def overruled(self, profile: str) -> None:
        """A person has chosen this profile meanwhile: nothing is held until they choose once more."""
        self._choice = Choice(profile)
        self.let_go()

    def _observe(self, system: SystemState) -> None:
        profile = known(system.power_profile)
        if profile != self._profile and not self.is_held:
            self._changed_s = self._clock.monotonic()
        self._profile = profile
        self._choice = after_reading(self._choice, profile)
        self._look()

    def _look(self) -> None:
        setting = self._governor.setting.value
        is_thrifty = setting.effective in THRIFTY and setting.chosen is not Mode.AUTO
        is_free = self._choice is None and (self.is_held or self._profile == BALANCED)
        is_allowed = self._settings.hold and is_thrifty and is_free
        self.is_wanted.set(is_allowed and any(map(self._costs.is_saver_worth_it, self._running)))

    def _note_sent(self, begun: AttemptBegun) -> None:
        if self._settings.hold:
            self._running[Work(begun.backend_id, begun.model)] += 1
            self._look()

    def _note_ended(self, ended: AttemptEnded) -> None:
        if not (self._settings.hold or self._running):
            return
        work = Work(ended.backend_id, ended.model)
        if self._running[work] > 1:
            self._running[work] -= 1
        else:
            del self._running[work]
        if self._settings.hold:
            self._ended[ended.backend_id, ended.begun_s] = self._profile_of(ended)
            while len(self._ended) > MOST_UNBOOKED:
                self._ended.popitem(last=False)
            self._look()

    def _profile_of(self, ended: AttemptEnded) -> str | None:
        """The profile under which an attempt ran that ends now."""
        if ended.begun_s < self._changed_s - SOON_S:
            return None
        return SAVER if self.is_held else self._profile

    def _note_booked(self, ended: AttemptEnded) -> None:
        """An estimate reckons with the same watts under each profile, so only what was measured teaches."""
        if not self._settings.hold:
            return
        at, tokens = (ended.backend_id, ended.begun_s), ended.usage.completion_tokens or 0
        profile = self._ended.pop(at) if at in self._ended else self._profile_of(ended)
        if profile is None or not ended.succeeded or tokens < LEAST_TOKENS or ended.energy.source is Source.ESTIMATED:
            return
        work, spent_j = Work(ended.backend_id, ended.model), ended.energy.decode_j
        self._costs.learn(work, profile, spent_j / tokens)
        usual = self._costs.of(work, BALANCED)
        if profile == SAVER and usual is not None:
            self.answers += 1
            self.saved_j += usual.token_j * tokens - spent_j
