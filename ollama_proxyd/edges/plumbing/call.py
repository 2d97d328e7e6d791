"""A request to a server, and what its failures are called, whichever client sends it."""

import errno
import os
import ssl
from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import field
from typing import Protocol, TypeAlias

from yarl import URL

from ollama_proxyd import __version__
from ollama_proxyd.core.errors import UNREACHABLE, ErrorKind, ProxyError
from ollama_proxyd.core.values import value
from ollama_proxyd.edges.plumbing.way import DIRECT, Way

KEEP_ALIVE_S = 4.0
"""How long an idle connection is kept: llama-server closes after 5 s, and a race with it costs more than a new one."""

MOST_HEADER_BYTES = 64 * 1024
"""Content policies and cookies of cloud services come near the usual 8 kB."""

PIECE_BYTES = 256 * 1024
"""In so large pieces a large body is handed to the socket."""

Take: TypeAlias = Callable[[bytes], bool]
"""Takes a piece of a body; says whether it takes another one at once."""

OWN_HEADERS = {"Accept": "*/*", "User-Agent": f"ollama-proxyd/{__version__}", "Accept-Encoding": "identity"}


@value
class Call:
    """One request; `who` names the server in errors ("backend npu at http://…")."""

    method: str
    url: URL
    who: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterable[bytes] | None = None
    first_byte_s: float | None = None
    """Instead of the client's own timeout."""
    pause_s: float | None = None
    """The longest pause within the answer, where that is shorter than the client's own."""
    idle_s: float | None = None
    """The longest pause, where it is to be this whatever else is said."""
    way: Way = DIRECT
    keeps: bool = True
    """Whether its connection is kept for the next request. An unused one wakes the machine once more."""


class Answer(Protocol):
    """An answer whose head has come."""

    status: int
    headers: Mapping[str, str]

    @property
    def is_over(self) -> bool:
        """Whether all of the body has come and was read."""

    async def read(self) -> bytes:
        """What of the body has come since, as soon as something has; empty at its end. Raises BrokenOffError."""

    async def pour(self, take: Take) -> bool:
        """Have each piece taken when it comes, without a task in between, as long as it is; whether the end has come.

        Raises as `read`, and what `take` raises.
        """

    def fail(self, error: Exception) -> None:
        """Have its reader get this error at once, and close the connection."""

    def close(self) -> None:
        """Close the connection, unless the whole answer has come and it can be kept. Called once, at the end."""


class Client(Protocol):
    """Owns connections to servers."""

    async def ask(self, call: Call, connect_s: float) -> Answer:
        """Send a request; raises ConnectTimeoutError, or a ProxyError."""

    async def close(self) -> None:
        """Close the connections."""


class BrokenOffError(Exception):
    """The connection ended, or what came was no HTTP, within the body of an answer."""


class ConnectTimeoutError(TimeoutError):
    """The server did not accept a connection in time."""


def failed(who: str, error: OSError, *, connecting: bool) -> ProxyError:
    """What it means for routing that the system did not make a connection, or ended one before an answer."""
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        message = "the proxy has no more file descriptors for connections; raise its limit (ulimit -n, LimitNOFILE=)"
        return ProxyError(ErrorKind.OVERLOADED, message, retry_after_s=1.0)
    if connecting:
        message = f"{who} cannot be reached: {cause(error)}"
        return ProxyError(ErrorKind.UPSTREAM_FAILED, message, code=UNREACHABLE)
    return ProxyError(ErrorKind.UPSTREAM_FAILED, f"{who} failed: {cause(error)}")


def cause(error: Exception) -> str:
    """What lies behind an error, in a few words."""
    for each in (error, error.__cause__):
        if isinstance(each, ssl.SSLError):  # its number is one of OpenSSL's, which mean other things to the system
            return (each.reason or type(each).__name__).lower().replace("_", " ")
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
