"""What lives as long as the process: the mode, the machine's state, the books, and what was learned."""

from dataclasses import dataclass, replace

from ollama_proxyd.config.settings import Config
from ollama_proxyd.core.tuning import Tuning
from ollama_proxyd.edges.plumbing.clock import SystemClock
from ollama_proxyd.services import journal
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.admission import Admission
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.learner import Learner
from ollama_proxyd.services.ledger import Ledger
from ollama_proxyd.services.meter import Meter
from ollama_proxyd.services.ports import StateStore
from ollama_proxyd.services.sensing import Sensing
from ollama_proxyd.services.settings import ModeSettings
from ollama_proxyd.services.tasks import Tasks
from ollama_proxyd.services.tuner import Tuner
from ollama_proxyd.services.waking import Waking


@dataclass(frozen=True, slots=True)
class Foundation:
    """The parts that a reload of the configuration leaves standing."""

    clock: SystemClock
    sensing: Sensing
    governor: Governor
    activity: Activity
    admission: Admission
    store: StateStore
    ledger: Ledger
    learner: Learner
    meter: Meter
    tuner: Tuner
    waking: Waking
    tasks: Tasks

    @classmethod
    def lay(cls, config: Config, store: StateStore) -> "Foundation":
        """Wire the parts; nothing runs yet."""
        clock = SystemClock()
        ledger, learner = Ledger(clock), Learner()
        ledger.outcomes.listen(learner.observe)
        waking = Waking(learner)
        ledger.outcomes.listen(waking.observe)
        ledger.outcomes.listen(journal.note)
        sensing = Sensing(clock)
        meter = Meter(sensing.system, clock)
        ledger.outcomes.listen(meter.observe)
        tuner = Tuner(_tuning(config), store)
        return cls(
            clock=clock,
            sensing=sensing,
            governor=Governor(_tuned(config.modes, tuner), config.default_mode, store, clock),
            activity=Activity(clock),
            admission=Admission(),
            store=store,
            ledger=ledger,
            learner=learner,
            meter=meter,
            tuner=tuner,
            waking=waking,
            tasks=Tasks("foundation"),
        )

    def start(self) -> None:
        """Let the mode follow the machine's state, and both follow what somebody sets."""
        self.governor.follow(self.sensing.system, self.tasks)
        self.tasks.start("tuning", self._follow_the_tuner())
        self.tasks.start("hour", self.sensing.follow_the_hour(self.tuner.tuning))
        self.tasks.start("meter", self.meter.follow_sensors())

    def reconfigure(self, config: Config) -> None:
        """Apply another configuration, below what somebody changed by hand."""
        self.tuner.rebase(_tuning(config))
        self.governor.reconfigure(_tuned(config.modes, self.tuner))

    async def _follow_the_tuner(self) -> None:
        async for tuning in self.tuner.tuning.changes():
            self.governor.tune(tuning)

    async def close(self) -> None:
        """End the background work."""
        await self.tasks.close()


def _tuning(config: Config) -> Tuning:
    """What the configuration says of everything that may be changed by hand; times also where they do not apply."""
    quiet, auto = config.written.efficiency.quiet_hours, config.modes.auto
    return Tuning(
        quiet_hours_enabled=quiet.enabled,
        quiet_hours_start=quiet.start,
        quiet_hours_end=quiet.end,
        critical_battery_percent=auto.critical_battery_percent,
        low_battery_percent=auto.low_battery_percent,
        full_battery_percent=auto.full_battery_percent,
    )


def _tuned(modes: ModeSettings, tuner: Tuner) -> ModeSettings:
    return replace(modes, auto=tuner.tuning.value.of_auto(modes.auto))
