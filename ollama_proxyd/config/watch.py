"""Notices that the configuration file changed, without looking again and again."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from ollama_proxyd.config.inotify import Inotify
from ollama_proxyd.services.ports import Clock

log = logging.getLogger(__name__)

SETTLE_S: Final = 0.2
"""Editors write in several steps; a change is told this long after the first of them."""
MAX_LINKS: Final = 40

Fingerprint: TypeAlias = tuple[tuple[int, ...] | None, ...]


async def changes(paths: Sequence[Path], clock: Clock) -> AsyncGenerator[None, None]:
    """One item for each time that any of the files is written, replaced, linked elsewhere, created or removed.

    Ends at once, with a line in the log, where the system cannot tell of changes; a file on another machine
    (NFS) that is changed there goes unnoticed.
    """
    try:
        inotify = Inotify()
    except OSError as error:
        why = error.strerror or error
        log.warning("changes of the configuration file are not noticed (%s); send SIGHUP to reload it", why)
        return
    happened = asyncio.Event()

    def note() -> None:
        inotify.drain()
        happened.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(inotify.descriptor, note)
    try:
        _watch_all(inotify, paths)
        seen = _fingerprint(paths)
        while True:
            await happened.wait()
            await clock.sleep(SETTLE_S)
            happened.clear()
            _watch_all(inotify, paths)
            now = _fingerprint(paths)
            if now != seen:
                seen = now
                yield
    finally:
        loop.remove_reader(inotify.descriptor)
        inotify.close()


def _watch_all(inotify: Inotify, paths: Sequence[Path]) -> None:
    """Watch every folder in which something could change what the paths lead to; known folders stay as they are."""
    for path in paths:
        try:
            for folder in _folders(path):
                inotify.add(folder)
        except OSError as error:
            log.warning("changes of %s may not be noticed: %s", path, error.strerror)


def _folders(path: Path) -> list[Path]:
    """The folder of a path, and of each link on the way to the file; for missing ones the nearest that exists."""
    folders = []
    for _ in range(MAX_LINKS):
        folders.append(_nearest_folder(path.parent))
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    return folders


def _nearest_folder(folder: Path) -> Path:
    return next((each for each in (folder, *folder.parents) if each.is_dir()), Path("/"))


def _fingerprint(paths: Sequence[Path]) -> Fingerprint:
    return tuple(_status(path) for path in paths)


def _status(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode)
