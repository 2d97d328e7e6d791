"""What survives a restart: one small JSON file that is replaced whole, and a copy in memory."""

import asyncio
import contextlib
import fcntl
import logging
import os
import stat
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from ollama_proxyd.core.requests import Json

log = logging.getLogger(__name__)

FORMAT: Final = 1
MAX_BYTES: Final = 1024 * 1024
ASIDE_SUFFIX: Final = ".unreadable"
ABANDONED_S: Final = 3600.0
"""A file that was begun so long ago is no longer being written, though its writer's number is another's now."""


def state_path(environ: Mapping[str, str]) -> Path:
    """Where the state belongs: below $XDG_STATE_HOME, or ~/.local/state where that is not an absolute path."""
    folder = Path(environ.get("XDG_STATE_HOME", ""))
    if not folder.is_absolute():
        folder = Path(environ.get("HOME", "/"), ".local", "state")
    return folder / "ollama-proxyd" / "state.json"


def engines_folder(environ: Mapping[str, str]) -> Path:
    """Where what engines write belongs, and the notes of those that run."""
    return state_path(environ).parent / "engines"


def prompts_folder(environ: Mapping[str, str]) -> Path:
    """Where prompts of stopped engines belong, which are kept only where that is configured."""
    return state_path(environ).parent / "prompts"


class StateFile:
    """The state on disk, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._claimed = -1
        """The open folder whose lock shows others that it is taken; -1 for none."""

    def claim(self) -> bool:
        """Show that the folder is taken until `release`; whether no other process had shown it."""
        folder = self._path.parent
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._claimed = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(self._claimed, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.warning(
                    "another ollama-proxyd keeps its state in %s too, so each forgets what the other was told; "
                    "give one a folder of its own by XDG_STATE_HOME",
                    folder,
                )
                return False
        return True

    def release(self) -> None:
        """Show others that the folder is free."""
        if self._claimed >= 0:
            os.close(self._claimed)
            self._claimed = -1

    def load(self) -> Mapping[str, Json]:
        """What was saved last, empty when nothing was; a file that is not ours is set aside."""
        self._remove_abandoned()
        try:
            return self._read()
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("what was remembered in %s cannot be read: %s", self._path, error.strerror)
        except ValueError as error:
            self._set_aside(str(error))
        return {}

    def save(self, state: Mapping[str, Json]) -> None:
        """Replace what is saved, whole or not at all; raises OSError."""
        content = msgspec.json.encode({"format": FORMAT, "state": state})
        folder = self._path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=f"{self._begun_prefix}{os.getpid()}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
        _settle(folder)

    def _remove_abandoned(self) -> None:
        """Take away what a daemon that was killed had begun to write; the name has the process that wrote."""
        with contextlib.suppress(OSError):
            for begun in self._path.parent.glob(f"{self._begun_prefix}*"):
                writer = begun.name.removeprefix(self._begun_prefix).partition(".")[0]
                is_old = time.time() - begun.lstat().st_mtime > ABANDONED_S
                if is_old or (writer.isdecimal() and not _runs(writer)):
                    begun.unlink()

    @property
    def _begun_prefix(self) -> str:
        return f".{self._path.name}."

    def _read(self) -> Mapping[str, Json]:
        """What the file says; raises OSError, and ValueError with what is wrong with it."""
        if not stat.S_ISREG(self._path.stat().st_mode):
            raise ValueError("it is not a plain file")
        with self._path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        try:
            whole = msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"it is not JSON: {error}") from error
        if not isinstance(whole, dict) or whole.get("format") != FORMAT or not isinstance(whole.get("state"), dict):
            raise ValueError("another program or version wrote it")
        state: dict[str, Json] = whole["state"]
        return state

    def _set_aside(self, reason: str) -> None:
        aside = self._path.with_name(self._path.name + ASIDE_SUFFIX)
        try:
            self._path.replace(aside)
        except OSError as error:
            log.warning("%s is ignored because %s; it could not be set aside: %s", self._path, reason, error.strerror)
        else:
            log.warning("%s was set aside as %s because %s; starting without memory", self._path, aside.name, reason)


def _runs(process: str) -> bool:
    """Whether there is another process of this number: one that is our own number had it before us."""
    return process != str(os.getpid()) and Path("/proc", process).exists()


def _settle(folder: Path) -> None:
    """Make the new name itself survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class KeptState:
    """A StateStore in memory and, where that works, in a file; a failure is logged once.

    A thread writes, since fsync(2) takes as long as the disk does; what changes meanwhile is one more write.
    """

    def __init__(self, file: StateFile) -> None:
        self._file = file
        file.claim()
        self._state = dict(file.load())
        self._fails = False
        self._writer = ThreadPoolExecutor(1, "state")
        self._is_waiting = False
        """Whether a write has not begun; it will have all that is kept by then."""

    def get(self, key: str) -> Json:
        """What was kept under a key, whether or not it could be written."""
        return self._state.get(key)

    def put(self, key: str, value: Json) -> None:
        """Keep a value, and soon try to write everything that is kept; a value that is kept already writes nothing."""
        if not self._fails and key in self._state and self._state[key] == value:
            return
        self._state = {**self._state, key: value}
        if not self._is_waiting:
            self._is_waiting = True
            self._writer.submit(self._write)

    async def written(self) -> None:
        """Wait until all that is kept is written, or has failed to be."""
        await asyncio.wrap_future(self._writer.submit(bool))

    def flush(self) -> None:
        """The same for a daemon that ends, which tries once more what failed before."""
        self._writer.submit(lambda: self._write() if self._fails else None).result()
        self._file.release()

    def _write(self) -> None:
        self._is_waiting = False
        try:
            self._file.save(self._state)
        except OSError as error:
            if not self._fails:
                log.warning("%s; it is kept in memory and is lost when this process ends", _what(error))
            self._fails = True
        else:
            if self._fails:
                log.info("what is remembered over restarts can be written again")
            self._fails = False


def _what(error: OSError) -> str:
    where = f" at {error.filename}" if error.filename else ""
    return f"what is remembered over restarts cannot be written{where}: {error.strerror or error}"
