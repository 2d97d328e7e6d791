"""The configuration with what the admin API adds: read at the start, checked and put in force with each change."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeAlias

from ollama_proxyd.config.problems import ConfigError
from ollama_proxyd.config.settings import Config
from ollama_proxyd.config.written import written
from ollama_proxyd.core.administration import Entry, Kept, Kind, LeftOut, Written
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


class _Fitting(NamedTuple):
    """A configuration, and the entries that contradict it, each with what is wrong with it."""

    config: Config
    left_out: Sequence[tuple[Entry, ConfigError]]

    @property
    def told(self) -> Config:
        """The configuration with what is left out of it, and why."""
        rows = [LeftOut(each.kind, each.name, str(error)) for each, error in self.left_out]
        return replace(self.config, left_out=tuple(rows))


def load_with(load: Load, added: Sequence[Entry]) -> Config:
    """The configuration with the entries; those that contradict it are left out, with a warning.

    Raises ConfigError for what is wrong without them.
    """
    found = _fitting(load, added, ())
    for entry, error in found.left_out:
        log.warning("%s %s of the admin API is left out: %s", entry.kind.value, entry.name, error)
    return found.told


def _fitting(load: Load, added: Sequence[Entry], must: Sequence[Entry]) -> _Fitting:
    """With those that must be in it and all that go with them, the earlier ones first; raises ConfigError."""
    try:
        return _Fitting(load(added), ())
    except ConfigError:
        found, good, left_out = load(must), [*must], list[tuple[Entry, ConfigError]]()
    parts = [[each for each in added if each not in must]]
    while parts:  # by halves: few contradict, and each look reads the whole file
        part = parts.pop()
        try:
            found = load((*good, *part))
            good += part
        except ConfigError as error:
            if len(part) == 1:
                left_out.append((part[0], error))
            else:
                half = len(part) // 2
                parts += [part[half:], part[:half]]
    return _Fitting(found, left_out)


def _changed(load: Load, before: Sequence[Entry], after: Sequence[Entry]) -> Config:
    """The configuration after a change, without those alone that were left out before; raises ConfigError."""
    try:
        return load(after)
    except ConfigError:
        out = {id(entry) for entry, _ in _fitting(load, before, ()).left_out}
        return _fitting(load, after, [each for each in after if id(each) not in out]).told


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

    def check(self, before: Sequence[Entry], after: Sequence[Entry]) -> Callable[[], Awaitable[None]]:
        """What puts it in force with the file as it is then; raises ProxyError with everything that is wrong."""
        self._checked(before, after)
        return lambda: self._have(partial(self._checked, before, after))

    def _checked(self, before: Sequence[Entry], after: Sequence[Entry]) -> Config:
        try:
            return _changed(self._load, before, after)
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

    def left_out(self) -> Sequence[LeftOut]:
        """What is kept and not in force."""
        return self._now().left_out

    def is_in_file(self, kind: Kind, name: str) -> bool:
        """Whether the file names one."""
        return name.lower() in self._named(kind)
