"""Notices that the configuration file changed, without looking again and again."""

import asyncio
import contextlib
import ctypes
import logging
import os
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from ollama_proxyd.services.ports import Clock

log = logging.getLogger(__name__)

SETTLE_S: Final = 0.2
"""Editors write in several steps; a change is told this long after the first of them."""
MAX_LINKS: Final = 40

_IN_MODIFY: Final = 0x2
_IN_ATTRIB: Final = 0x4
_IN_CLOSE_WRITE: Final = 0x8
_IN_MOVED: Final = 0x40 | 0x80
_IN_CREATED_OR_DELETED: Final = 0x100 | 0x200
_IN_GONE: Final = 0x400 | 0x800
_IN_ONLYDIR: Final = 0x1000000
_INTERESTING: Final = (
    _IN_MODIFY | _IN_ATTRIB | _IN_CLOSE_WRITE | _IN_MOVED | _IN_CREATED_OR_DELETED | _IN_GONE | _IN_ONLYDIR
)
_BUFFER_BYTES: Final = 64 * 1024

Fingerprint: TypeAlias = tuple[tuple[int, ...] | None, ...]


class Inotify:
    """One descriptor of the kernel's inotify, through the C library; what events say is not kept."""

    def __init__(self) -> None:
        """Open it; raises OSError where the system has none to give."""
        library = ctypes.CDLL(None, use_errno=True)
        if not hasattr(library, "inotify_init1"):
            raise OSError("this system has no inotify")
        self._library = library
        self.descriptor: int = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise _last_error()

    def add(self, folder: Path) -> None:
        """Watch a folder, or go on watching it; raises OSError."""
        if self._library.inotify_add_watch(self.descriptor, os.fsencode(folder), ctypes.c_uint32(_INTERESTING)) < 0:
            raise _last_error()

    def drain(self) -> None:
        """Take the events that wait; what comes meanwhile, or was too much for once, is told anew."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.descriptor, _BUFFER_BYTES)

    def close(self) -> None:
        """End all watching."""
        os.close(self.descriptor)


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


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
    happened, loop = asyncio.Event(), asyncio.get_running_loop()

    def note() -> None:
        loop.remove_reader(inotify.descriptor)  # others may write in the folder all the time
        happened.set()

    loop.add_reader(inotify.descriptor, note)
    try:
        _watch_all(inotify, paths)
        seen = fingerprint(paths)
        while True:
            await happened.wait()
            await clock.sleep(SETTLE_S)
            happened.clear()
            inotify.drain()
            loop.add_reader(inotify.descriptor, note)
            _watch_all(inotify, paths)
            now = fingerprint(paths)
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


def fingerprint(paths: Sequence[Path]) -> Fingerprint:
    """What tells these files from what they were and will be."""
    return tuple(_status(path) for path in paths)


def _status(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode)
