"""The configuration with what the admin API adds: read at the start, checked and put in force with each change."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from ollama_proxyd.config.problems import ConfigError
from ollama_proxyd.config.settings import Config
from ollama_proxyd.config.written import written
from ollama_proxyd.core.administration import Entry, Kept, Kind, Written
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.storage.admin_file import AdminFile, admin_path
from ollama_proxyd.edges.storage.state_file import state_path

log = logging.getLogger(__name__)

Load: TypeAlias = Callable[[Sequence[Entry]], Config]
"""Reads the file with exactly these entries beside it; raises ConfigError."""


def file_of(environ: Mapping[str, str]) -> AdminFile:
    """What the admin API keeps."""
    return AdminFile(admin_path(state_path(environ)))


def kept_in(file: AdminFile) -> Kept:
    """All of it; nothing, with a line in the log, where it cannot be read."""
    try:
        return file.read_now()
    except OSError as error:
        log.error("what the admin API keeps is left out: %s", error)  # noqa: TRY400
        return Kept()


def load_with(load: Load, added: Sequence[Entry], changed: Entry | None = None) -> Config:
    """The configuration with the entries; those that contradict it are left out, with a warning.

    Raises ConfigError for what is wrong without them, or with the changed one.
    """
    try:
        return load(added)
    except ConfigError:
        fitting = _fitting(load, [each for each in added if each is not changed])
        kept = [each for each in added if each is changed or each in fitting]
        if len(kept) == len(added):
            raise
    return load(kept)


def _fitting(load: Load, added: Sequence[Entry]) -> Sequence[Entry]:
    """Those that go together, the earlier ones first; raises ConfigError for what is wrong without them."""
    load(())
    good = list[Entry]()
    for entry in added:
        try:
            load((*good, entry))
            good.append(entry)
        except ConfigError as error:
            log.warning("%s %s of the admin API is left out: %s", entry.kind.value, entry.name, error)
    return good


class RunningSettings:
    """The configuration of a daemon, for the admin API."""

    def __init__(
        self,
        load: Load,
        have: Callable[[Callable[[], Config]], Awaitable[None]],
        now: Callable[[], Config],
        named: Callable[[Kind], set[str]],
    ) -> None:
        self._load = load
        self._have = have
        self._now = now
        self._named = named

    def check(self, entries: Sequence[Entry], changed: Entry | None) -> Callable[[], Awaitable[None]]:
        """What puts it in force with the file as it is then; raises ProxyError with everything that is wrong."""
        self._checked(entries, changed)
        return lambda: self._have(partial(self._checked, entries, changed))

    def _checked(self, entries: Sequence[Entry], changed: Entry | None) -> Config:
        try:
            return load_with(self._load, entries, changed)
        except ConfigError as error:
            raise ProxyError(ErrorKind.INVALID_REQUEST, str(error), code="invalid_settings") from error

    @property
    def path(self) -> str | None:
        """The file that applies, None where there is none."""
        path = self._now().path
        return None if path is None else str(path.absolute())

    def written(self) -> Sequence[Written]:
        """The options in force."""
        return tuple(written(self._now()))

    def shown(self, kind: Kind) -> Sequence[dict[str, Json]]:
        """All of a kind that are in force, in the words of the file."""
        return list(self._now().values[kind.value])

    def is_in_file(self, kind: Kind, name: str) -> bool:
        """Whether the file names one."""
        return name.lower() in self._named(kind)
