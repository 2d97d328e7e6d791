"""What is noted of running engines in a file that only their user can read, so that they are found after a crash."""

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ollama_proxyd.core.engine_instances import KeptEngine
from ollama_proxyd.edges.engines import processes
from ollama_proxyd.edges.engines.processes import Identity

log = logging.getLogger(__name__)

VARIABLE: Final = "OLLAMA_PROXYD_ENGINE"
"""Each process has it: whose engine it is, and a hash of its key."""
PREFIX: Final = "running-"
MOST_BYTES: Final = 1 << 20
MOST_FILES: Final = 100


class Noted(msgspec.Struct, frozen=True):
    """A process, and when it began, so that another one of the same number is not taken for it."""

    kept: KeptEngine
    process: Identity
    unit: str | None = None
    """The systemd unit whose main process it is."""


class Notes(msgspec.Struct, frozen=True):
    """What one daemon has noted."""

    owner: Identity
    engines: list[Noted]


class Found(NamedTuple):
    """What daemons that have ended left behind; `strays` are sessions of children that none of them has noted."""

    noted: Sequence[Noted] = ()
    strays: Sequence[int] = ()
    marks: tuple[str, ...] = ()
    """How the marks of engines of those daemons begin."""


class Records:
    """The file of this daemon, and those of daemons that have ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own = processes.identity(os.getpid())
        self._file = folder / f"{PREFIX}{os.getpid()}.json"
        self._written: bytes | None = None
        self._noted = 0
        self._place = _hash(str(folder))
        """Tells this folder's engines from those of a daemon with another one."""
        self._is_failing = False
        self._earlier: list[Path] = []
        """Files of daemons that have ended; they are kept until their engines are noted here."""

    def mark(self, api_key: str) -> str:
        """The variable that each process gets."""
        return f"{VARIABLE}={_owned_by(self._own)}{self._place}.{_hash(api_key)}"

    def begin(self) -> None:
        """Have a file before the first process runs, so that a crash is seen."""
        if self._written is None:
            self.write([])

    def write(self, engines: Sequence[Noted]) -> None:
        """Note what runs, in place of what was noted before."""
        content, self._noted = msgspec.json.encode(Notes(self._own, list(engines))), len(engines)
        try:
            if content != self._written:
                self._replace(content)
            for each in self._earlier:
                if each != self._file:
                    each.unlink(missing_ok=True)
            self._earlier = []
            self._is_failing = False
        except OSError as error:
            if not self._is_failing:
                words = "a crash of the daemon would end its engines: %s cannot be written: %s"
                log.warning(words, self._file, error.strerror)
            self._is_failing = True

    def end(self) -> None:
        """Take the file away where nothing is noted in it."""
        if self._noted:
            return
        with suppress(OSError):
            self._file.unlink(missing_ok=True)
        self._written = None

    def _replace(self, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        begun = self._file.with_suffix(".new")
        begun.unlink(missing_ok=True)
        handle = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        begun.replace(self._file)
        self._written = content

    def found(self) -> Found:
        """The engines of daemons that have ended, as far as they run."""
        noted: list[Noted] = []
        owners: list[Identity] = []
        for file in sorted(self._folder.glob(f"{PREFIX}*.json"))[:MOST_FILES]:
            notes = _read(file)
            if notes is None or not processes.runs(notes.owner) or notes.owner == self._own:
                self._earlier.append(file)
            if notes is not None and file in self._earlier:
                owners.append(notes.owner)
                noted += [each for each in notes.engines if _is_it(each)]
        known, marks = {each.process.pid for each in noted}, tuple(_owned_by(each) for each in owners)
        return Found(noted, [pid for pid in self._strays(marks) if pid not in known], marks)

    def _strays(self, marks: tuple[str, ...]) -> Iterator[int]:
        """The sessions of engines whose daemon has ended, by these marks or where it could note nothing."""
        marked = processes.with_variable(VARIABLE)
        ours = [pid for pid, mark in marked if mark.startswith(marks) or self._is_left(pid, mark)]
        yield from dict.fromkeys(session for pid in ours if (session := processes.session_of(pid)) is not None)

    def _is_left(self, pid: int, mark: str) -> bool:
        """Whether the daemon of a mark had this folder, and runs no more; other name spaces have other numbers."""
        owner = mark.partition(".")[0]
        if f".{self._place}." not in mark or not owner.isdecimal() or not processes.is_in_our_space(pid):
            return False
        now = processes.identity(int(owner))
        return now.began is None or not mark.startswith(_owned_by(now))


def any_in(folder: Path) -> bool:
    """Whether a daemon has noted something there that it did not take away."""
    return any(folder.glob(f"{PREFIX}*.json"))


def _read(file: Path) -> Notes | None:
    try:
        with file.open("rb") as opened:
            return msgspec.json.decode(opened.read(MOST_BYTES), type=Notes)
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("what %s has of running engines cannot be read: %s", file, error)
        return None


def _hash(api_key: str) -> str:
    return hashlib.sha256(api_key.encode()).hexdigest()[:32]


def _owned_by(owner: Identity) -> str:
    return f"{owner.pid}.{owner.began}.{owner.boot}."


def _is_it(noted: Noted) -> bool:
    """Whether a process is the one that was noted, with the same key; who started it may have ended long ago.

    A unit's name is as good as a key, and its process may not be looked into.
    """
    if noted.unit is not None:
        return processes.runs(noted.process)
    mark = processes.variable(noted.process.pid, VARIABLE) or ""
    return processes.runs(noted.process) and mark.endswith(f".{_hash(noted.kept.api_key)}")
