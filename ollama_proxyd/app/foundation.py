"""What lives as long as the process: the mode, the machine's state, the books, and what was learned."""

from dataclasses import dataclass

from ollama_proxyd.config.settings import Config
from ollama_proxyd.edges.plumbing.clock import SystemClock
from ollama_proxyd.services import journal
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.learner import Learner
from ollama_proxyd.services.ledger import Ledger
from ollama_proxyd.services.ports import StateStore
from ollama_proxyd.services.sensing import Sensing
from ollama_proxyd.services.tasks import Tasks


@dataclass(frozen=True, slots=True)
class Foundation:
    """The parts that a reload of the configuration leaves standing."""

    clock: SystemClock
    sensing: Sensing
    governor: Governor
    activity: Activity
    store: StateStore
    ledger: Ledger
    learner: Learner
    tasks: Tasks

    @classmethod
    def lay(cls, config: Config, store: StateStore) -> "Foundation":
        """Wire the parts; nothing runs yet."""
        clock = SystemClock()
        ledger, learner = Ledger(clock), Learner()
        ledger.outcomes.listen(learner.observe)
        ledger.outcomes.listen(journal.note)
        return cls(
            clock=clock,
            sensing=Sensing(clock),
            governor=Governor(config.modes, config.default_mode, store, clock),
            activity=Activity(clock),
            store=store,
            ledger=ledger,
            learner=learner,
            tasks=Tasks("foundation"),
        )

    def start(self) -> None:
        """Let the mode follow the machine's state."""
        self.governor.follow(self.sensing.system, self.tasks)

    async def close(self) -> None:
        """End the background work."""
        await self.tasks.close()
