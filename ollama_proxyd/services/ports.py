"""The protocols through which services reach the outside; edges implement them."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import date
from typing import Protocol

from ollama_proxyd.core.administration import Change, Entry, Kept, Kind, Token
from ollama_proxyd.core.energy_books import Asked, Books
from ollama_proxyd.core.energy_hours import EnergyHours
from ollama_proxyd.core.energy_series import Series
from ollama_proxyd.core.engine_files import Shelf
from ollama_proxyd.core.engine_instances import Address, End, KeptEngine, Launch
from ollama_proxyd.core.engine_program import EngineProgram
from ollama_proxyd.core.events import Event
from ollama_proxyd.core.fleet import BackendSpec, Probe
from ollama_proxyd.core.history import MakeRow, Values
from ollama_proxyd.core.house import HouseStatus, PairingStatus, PeerStatus
from ollama_proxyd.core.management import Managed, Management
from ollama_proxyd.core.prewarm import Habits
from ollama_proxyd.core.readings import Sensed
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Json, Request


class Clock(Protocol):
    """Time, injected so that tests need not wait."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def slept_s(self) -> float:
        """How long the machine has slept so far, which `monotonic` leaves out."""

    def unix(self) -> float:
        """Seconds since 1970, UTC."""

    def local_minute(self) -> float:
        """Minutes since midnight, local time."""

    def local_date(self) -> date:
        """Today, local time."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class Backend(Protocol):
    """An engine that answers requests.

    Every method raises ProxyError of an UPSTREAM_* kind (or UNSUPPORTED, INVALID_REQUEST for `answer`) and
    nothing else; cancelling it closes the connection upstream at once.
    """

    @property
    def spec(self) -> BackendSpec:
        """What this backend is."""

    @property
    def can_keep(self) -> bool:
        """Whether requests can tell it how long a model stays in memory after them."""

    @property
    def can_unload(self) -> bool:
        """Whether it can be had to let go of a model."""

    @property
    def can_manage(self) -> bool:
        """Whether it changes the files of its models on request."""

    def manage(self, asked: Management) -> AsyncGenerator[Managed | bytes, None]:
        """Have it change them: Managed, then the pieces of its answer; closing it early ends the work."""

    def keep(self, model: str, seconds: float | None) -> None:
        """Have requests that say nothing of it ask for a model to stay that long; None leaves it to the engine."""

    async def unload(self, model: str) -> None:
        """Have it let go of a model now."""

    def answer(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
        """Send the request under the backend's own model name: Accepted, deltas, Finished."""

    def can_resume(self, request: Request) -> bool:
        """Whether it goes on exactly from what was spoken of the answer to a request."""

    async def probe(self) -> Probe:
        """Health, models and loaded models from the backend's own endpoints."""

    async def show(self, model: str, body: Mapping[str, Json]) -> Mapping[str, Json]:
        """A model's details in the shape of Ollama's /api/show (`body`: the client's own request)."""

    async def count_tokens(self, request: Request, model: str) -> int | None:
        """How many tokens a request in Anthropic's words has; None where it does not count them."""


class Units(Protocol):
    """The manager of systemd units of this user; every method raises OSError where it cannot be asked or refuses."""

    async def start(self, unit: str) -> None:
        """Have a unit started; it may not serve yet."""

    async def stop(self, unit: str) -> None:
        """Have a unit stopped."""

    async def is_off(self, unit: str) -> bool:
        """Whether a unit is stopped, or is being stopped, by no failure."""


class EngineProcess(Protocol):
    """A process that was started for one model."""

    unit: str | None
    """The systemd unit whose main process it is; None for a child of the daemon."""

    @property
    def pid(self) -> int:
        """Its number."""

    async def ended(self) -> End:
        """Wait for its end; how it ended."""

    async def stop(self) -> None:
        """End it, by force where it does not end when asked."""

    async def holds(self, address: Address) -> bool:
        """Whether it is what listens there."""

    async def memory_bytes(self) -> int | None:
        """Its share of main memory by the kernel's count; None where that is not told."""

    async def last_words(self) -> str:
        """The last line that it wrote."""


class EngineRunner(Protocol):
    """Starts processes; every method raises OSError where it cannot."""

    @property
    def way(self) -> Reason | None:
        """How the last one was started, and why so; None while none was."""

    @property
    def why_no_socket(self) -> str:
        """Why the last address is a port that was to be a socket, and what to do."""

    def new_address(self, *, wants_socket: bool) -> Address:
        """Where nothing listens: a socket where one is wanted and can be, else a port of loopback."""

    def was_usable(self, address: Address) -> bool:
        """Whether a process that has ended could listen there: its socket was made, or its port is free still."""

    def clear(self, address: Address) -> None:
        """Leave nothing of an address whose process has ended."""

    def new_key(self) -> str:
        """A key that nobody can guess."""

    async def start(self, launch: Launch) -> EngineProcess:
        """Start a process."""

    def keep(self, engines: Sequence[tuple[KeptEngine, EngineProcess]]) -> None:
        """Note what runs, in place of all that was noted before; never raises."""

    async def found(self) -> Sequence[tuple[KeptEngine, EngineProcess]]:
        """The processes of earlier daemons of this user that have ended; those that nobody noted are stopped."""

    async def log(self, name: str, lines: int) -> list[str]:
        """The last lines that a process of that name wrote, at most so many; none where there are none."""

    def follow(self, name: str, lines: int) -> AsyncGenerator[str, None]:
        """The same, and each further one; never ends by itself. Raises OSError where it cannot be told."""

    def main_memory(self) -> tuple[int, int]:
        """Bytes of main memory in all, and those that programs may have beside what runs."""


class ModelFiles(Protocol):
    """The folders of models."""

    async def look(self, program: EngineProgram) -> Shelf:
        """What is there now."""


class AdminStore(Protocol):
    """What the admin API keeps; each method raises OSError where it cannot, and each change is audited with it."""

    async def read(self) -> Kept:
        """All entries and tokens."""

    async def put(self, entry: Entry, change: Change) -> None:
        """Keep an entry in place of one of the same kind and name."""

    async def delete(self, kind: Kind, name: str, change: Change) -> None:
        """Forget an entry."""

    async def put_token(self, token: Token, change: Change) -> None:
        """Keep a token."""

    async def delete_token(self, name: str, change: Change) -> None:
        """Forget a token."""

    async def note(self, change: Change) -> None:
        """Audit what changes nothing that is kept."""

    async def audit(self, limit: int) -> Sequence[Change]:
        """The last changes, newest first."""


class Network(Protocol):
    """The machine's way to the internet."""

    async def is_metered(self) -> bool | None:
        """Whether it is paid by the byte; None where that is not known."""


class House(Protocol):
    """The other machines of the house."""

    def status(self) -> HouseStatus:
        """Which are paired, and how they are."""

    def show_code(self) -> AsyncGenerator[PairingStatus | PeerStatus, None]:
        """A code for another machine; then, once one has used it, that machine. Closing it early ends the pairing.

        Raises ProxyError where the code has run out, or wrong ones came.
        """

    async def join(self, code: str, address: str | None) -> PeerStatus:
        """Pair with the machine that shows a code, found by itself where no address is given; raises ProxyError."""

    async def unpair(self, name: str) -> None:
        """Forget a machine, and cut it off; raises ProxyError where there is none of that name."""


class StateStore(Protocol):
    """A small mapping that survives restarts, as far as it can be written; the store logs a failure."""

    def get(self, key: str) -> Json:
        """What was kept under a key, None where there is nothing."""

    def put(self, key: str, value: Json) -> None:
        """Keep a value; never raises."""

    async def written(self) -> None:
        """Wait until all that is kept is written, or has failed to be."""


class HistoryStore(Protocol):
    """Rows of what requests came to, as far as they can be kept; nothing of it raises, or waits for the disk."""

    @property
    def trouble(self) -> Reason | None:
        """Why nothing is kept now, or what became of what was kept; None where all is well."""

    def add(self, rows: Sequence[MakeRow]) -> None:
        """Keep rows soon."""

    async def books(self, asked: Asked) -> Books:
        """What days cost, what was added before included; nothing where the history cannot be read."""

    async def series(self, asked: Asked) -> Series:
        """What hours or days cost, what was added before included; nothing where it cannot be read."""

    async def hours(self, since_s: float) -> EnergyHours:
        """What hours cost from then on, what was added before included; nothing where it cannot be read."""

    async def habits(self, since: str, today: str, hour: int) -> Habits:
        """When each model was first asked for in an hour of the days from `since` to the one before `today`."""

    async def recent(self, limit: int) -> Sequence[Values]:
        """The last attempts, the oldest first; none where the history cannot be read."""


class PolledSensor(Protocol):
    """A sensor that has to be asked; `services.sensing` decides when, and what becomes of silence."""

    @property
    def name(self) -> str:
        """What it is called in logs and reasons."""

    async def read(self) -> Sensed:
        """What it says now; absent values are Unavailable with their reason. Raises OSError at most."""


class SignalSensor(Protocol):
    """A sensor that tells by itself when something changes."""

    @property
    def name(self) -> str:
        """What it is called in logs and reasons."""

    async def follow(self, report: Callable[[Sensed], None]) -> None:
        """Report what is now and then every change, until cancelled; losses are reported as Unavailable.

        An empty report says that something happened that makes it worth while to ask the polled sensors now.
        """
