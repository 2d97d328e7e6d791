"""The listening sockets that the service manager opened and hands over: sd_listen_fds(3) without its library."""

import os
import socket
from collections.abc import Mapping

from ollama_proxyd.core.errors import ErrorKind, ProxyError

FIRST_FD = 3
FAMILIES = frozenset({socket.AF_INET, socket.AF_INET6, socket.AF_UNIX})


def take(environ: Mapping[str, str]) -> tuple[socket.socket, ...]:
    """The sockets for this process; raises ProxyError for an unusable one."""
    count = _count(environ)
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    named = zip(range(FIRST_FD, FIRST_FD + count), [*names, *[""] * count], strict=False)
    return tuple(_socket(fd, name or f"number {fd}") for fd, name in named)


def _count(environ: Mapping[str, str]) -> int:
    """How many there are; those of a process that started this one are none of its business."""
    try:
        is_ours = int(environ.get("LISTEN_PID", "")) == os.getpid()
        return max(int(environ.get("LISTEN_FDS", "")), 0) if is_ours else 0
    except ValueError:
        return 0


def _socket(fd: int, name: str) -> socket.socket:
    try:
        given = socket.socket(fileno=fd)
    except OSError as error:
        raise _unusable(name, f"is none: {error.strerror}") from error
    given.set_inheritable(False)
    given.setblocking(False)
    if given.family not in FAMILIES or given.type != socket.SOCK_STREAM:
        raise _unusable(name, "is neither a TCP socket nor a Unix stream socket (ListenStream=)")
    if not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise _unusable(name, "does not listen (the socket unit needs Accept=no)")
    return given


def _unusable(name: str, why: str) -> ProxyError:
    message = f"the socket {name} that the service manager gives {why}; correct the socket unit"
    return ProxyError(ErrorKind.UNAVAILABLE, message, code="bad_socket")
