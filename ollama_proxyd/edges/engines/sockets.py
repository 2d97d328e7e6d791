"""The Unix sockets of engines, in a folder that only their user can enter."""

import os
import secrets
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from ollama_proxyd.edges.plumbing.unix_socket import MOST_PATH_BYTES

FOLDER: Final = "ollama-proxyd/engines"
"""In the runtime folder; systemd keeps it over a restart (RuntimeDirectoryPreserve=)."""
YOUNG_S: Final = 60.0
"""A socket that is younger may be bound, and not listened at yet."""


class Sockets:
    """Gives each process a path of its own."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        runtime = environ.get("XDG_RUNTIME_DIR", "")
        self._folder = Path(runtime, FOLDER) if runtime.startswith("/") else None

    def new(self) -> str:
        """A path at which nothing is; raises OSError with why there can be none, and what to do."""
        folder = self._folder
        if folder is None:
            raise OSError("$XDG_RUNTIME_DIR is not set; start the daemon in a login session or as a user service")
        path = str(folder / f"{secrets.token_hex(8)}.sock")
        if len(os.fsencode(path)) > MOST_PATH_BYTES:
            raise OSError(f"{folder} is too long for the path of a socket; choose a shorter $XDG_RUNTIME_DIR")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            state = folder.stat()
        except OSError as error:
            raise OSError(f"{folder} cannot be made: {error.strerror}; let this user write there") from None
        if state.st_uid != os.getuid() or state.st_mode & 0o077:
            raise OSError(f"others can enter {folder}; close it: chmod 700 {folder}")
        return path

    def sweep(self) -> None:
        """Remove the files of processes that have ended, also of those that nobody noted."""
        for each in [] if self._folder is None else self._folder.glob("*.sock"):
            with suppress(OSError):
                if time.time() - each.stat().st_mtime > YOUNG_S and _is_left(each):
                    each.unlink()


def _is_left(path: Path) -> bool:
    """Whether nobody listens at it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as made:
        try:
            made.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False
