"""The kernel's inotify through the C library: tells that something happened in a folder."""

import ctypes
import os
from pathlib import Path
from typing import Final

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


class Inotify:
    """One inotify descriptor; what the events say is not kept, only that there were some."""

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
        """Take every event that waits."""
        try:
            while os.read(self.descriptor, _BUFFER_BYTES):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """End all watching."""
        os.close(self.descriptor)


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
