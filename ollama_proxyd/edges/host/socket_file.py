"""Unix sockets that the daemon opens itself: mode 0600, removed when it ends."""

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ollama_proxyd.core.errors import ErrorKind, ProxyError

MODE = 0o600
LONGEST_PATH_BYTES = 107
TRY_S = 1.0
BACKLOG = 1024


def socket_path(written: str, environ: Mapping[str, str]) -> Path:
    """Where the file is meant to be: ~/ is the home, anything but a whole path lies in $XDG_RUNTIME_DIR."""
    if written.startswith("~/"):
        return Path(environ.get("HOME", "/"), written[2:])
    path = Path(written)
    if path.is_absolute():
        return path
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if not Path(runtime).is_absolute():
        message = f"server.unix_socket {written} lies in $XDG_RUNTIME_DIR, which is not set; give a path from / on"
        raise ProxyError(ErrorKind.UNAVAILABLE, message, code="cannot_listen")
    return Path(runtime, written)


def make_private_folder(folder: Path) -> None:
    """Create a folder with mode 0700; raises ProxyError if it is a link or belongs to another user."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise _cannot(folder, "the folder belongs to another user, or is a link")
        folder.chmod(0o700)
    except OSError as error:
        raise _cannot(folder, error.strerror or str(error)) from error


class SocketFile:
    """A listening socket and its file, until `close`."""

    def __init__(self, path: Path) -> None:
        """Listen there; raises ProxyError with a sentence that says why that cannot be."""
        if len(os.fsencode(path)) > LONGEST_PATH_BYTES:
            raise _cannot(path, f"its path has more than {LONGEST_PATH_BYTES} bytes, which no socket may have")
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            os.fchmod(self.socket.fileno(), MODE)  # on Linux the file is made with the mode of the socket
            with _locked(path.parent):
                _bind(self.socket, path)
                self.socket.listen(BACKLOG)
            self.socket.setblocking(False)
            self._file = _identity(path)
        except OSError as error:
            self.socket.close()
            raise _cannot(path, error.strerror or str(error)) from error
        except ProxyError:
            self.socket.close()
            raise

    def is_there(self) -> bool:
        """Whether the file leads here: some program may have removed it, or have put its own in its place."""
        try:
            return _identity(self.path) == self._file
        except OSError:
            return False

    def close(self) -> None:
        """Stop listening and remove the file, unless another program has replaced it."""
        self.socket.close()
        if self.is_there():
            with suppress(OSError):
                self.path.unlink()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two daemons that start together must not both replace a stale file: the second would remove the first's."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _bind(made: socket.socket, path: Path) -> None:
    try:
        made.bind(str(path))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
    else:
        return
    _clear(path)
    made.bind(str(path))


def _clear(path: Path) -> None:
    """Remove the socket file of a dead daemon, and nothing else."""
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise _cannot(path, "a file of that name is there and is no socket; it is left alone")
    if _is_alive(path):
        raise _cannot(path, "another program listens there", code="port_taken")
    path.unlink()


def _is_alive(path: Path) -> bool:
    """Whether a program listens; only a refused connection means that none does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(TRY_S)
        try:
            caller.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _cannot(path: Path, why: str, code: str = "cannot_listen") -> ProxyError:
    return ProxyError(ErrorKind.UNAVAILABLE, f"cannot listen on the Unix socket {path}: {why}", code=code)
