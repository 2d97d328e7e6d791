"""Asks the running daemon over HTTP: on its Unix socket, else over TCP."""

import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import urlsplit

from ollama_proxyd.cli.failures import Failed, Invalid, Silent, Unreachable
from ollama_proxyd.edges.host.control_socket import control_socket

TIMEOUT_S = 10.0
SILENT_S = 60.0
"""A stream of events sends a comment at least this often."""
ANSWER_S = 600.0
"""A model may have to be loaded before its first word."""
NO_HEADERS: Mapping[str, str] = {}
APPLICATION_ID = "ie.fio.OllamaProxy.ctl"
MOST_REASON_CHARACTERS = 200
"""The daemon takes no longer reason of a hold."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket file."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """A connection to the daemon at one address; raises Failed where it refuses or is gone."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self.address = address
        self._connection = _connection(address)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def version(self) -> Any:
        """GET /version; raises Unreachable where another program answers, such as an engine."""
        answer = self.get("/version")
        if not isinstance(answer, dict) or answer.get("name") != "ollama-proxyd":
            raise Unreachable(f"another program answers at {self.address}")
        return answer

    def get(self, path: str) -> Any:
        """The answer of a GET request."""
        return self._decoded(self._open("GET", path))

    def text(self, path: str) -> str:
        """The text that a GET request is answered with."""
        return self._open("GET", path).read().decode("utf-8", "replace")

    def post(self, path: str, body: Mapping[str, Any], *, slow: bool = False) -> Any:
        """The answer of a POST request, which may wait for answers under way where it is slow."""
        if slow:
            self._wait_long(ANSWER_S)
        return self._decoded(self._open("POST", path, body))

    def change(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer of a request that puts or deletes; None where it has none."""
        reply = self._open(method, path, body)
        if reply.status == http.client.NO_CONTENT:
            reply.read()
            return None
        return self._decoded(reply)

    @contextmanager
    def hold(self, mode: str, reason: str) -> Iterator[None]:
        """Hold a mode until the context ends, and with it the connection."""
        told = {"mode": mode, "reason": reason[:MOST_REASON_CHARACTERS], "application_id": APPLICATION_ID}
        reply = self._open("POST", "/efficiency/hold", told)
        try:
            is_held = reply.readline()
        except (OSError, http.client.HTTPException) as error:
            raise self._gone(error) from None
        if not is_held:
            raise self.ended()
        yield
        reply.close()

    def events(self) -> Iterator[tuple[str, Any]]:
        """Each event with its data: "message" is the whole status, "request" a request's way."""
        self._wait_long(SILENT_S)
        reply, kind = self._open("GET", "/status/events?requests"), "message"
        try:
            while line := reply.readline():
                field, _, value = line.decode().rstrip("\r\n").partition(": ")
                if field == "data":
                    yield kind, json.loads(value)
                kind = value if field == "event" else kind if line.strip() else "message"
        except (OSError, http.client.HTTPException) as error:
            raise self._gone(error) from None
        raise self.ended()

    def lines(
        self, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str] = NO_HEADERS
    ) -> Iterator[str]:
        """The lines of an answer as they come; it may take long to begin. Without a body a GET, which may pause."""
        self._wait_long(None if body is None else ANSWER_S)
        reply = self._open("GET" if body is None else "POST", path, body, headers)
        try:
            while line := reply.readline():
                yield line.decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise self._gone(error) from None

    def _wait_long(self, seconds: float | None) -> None:
        self._connection.close()
        self._connection.timeout = seconds

    def close(self) -> None:
        """End the connection, and any hold with it."""
        self._connection.close()

    def __enter__(self) -> Self:
        """Use it in a `with` statement."""
        return self

    def __exit__(self, *ended: object) -> None:
        """End the connection."""
        self.close()

    def _open(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, more: Mapping[str, str] = NO_HEADERS
    ) -> http.client.HTTPResponse:
        content = None if body is None else json.dumps(body)
        headers = {**self._headers, **more} | ({} if content is None else {"Content-Type": "application/json"})
        try:
            self._connection.request(method, path, content, headers)
            reply = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise self._gone(error) from None
        if reply.status >= http.client.BAD_REQUEST:
            raise self._refusal(reply.status, self._decoded(reply))
        return reply

    def _decoded(self, reply: http.client.HTTPResponse) -> Any:
        try:
            return json.loads(reply.read())
        except ValueError:
            raise Unreachable(f"another program answers at {self.address} (status {reply.status}, no JSON)") from None
        except (OSError, http.client.HTTPException) as error:
            raise self._gone(error) from None

    def _refusal(self, status: int, answer: Any) -> Failed:
        error = answer.get("error") or answer.get("Message") if isinstance(answer, dict) else None
        error = error.get("message") if isinstance(error, dict) else error  # as OpenAI's API tells it
        if status == http.client.UNAUTHORIZED:
            why = "does not take this token; correct" if "Authorization" in self._headers else "needs a token; set"
            error = f"the daemon at {self.address} {why} OLLAMA_PROXY_TOKEN"
        kind = Invalid if status == http.client.BAD_REQUEST else Failed
        return kind(str(error or f"the daemon answered {status}"))

    def ended(self) -> Unreachable:
        """What is raised where a stream of the daemon's is over."""
        return Unreachable(f"the daemon at {self.address} has ended")

    def _gone(self, error: Exception) -> Unreachable:
        if isinstance(error, TimeoutError):
            return Silent(f"the daemon at {self.address} does not answer (waited {self._connection.timeout:g} s)")
        if isinstance(error, http.client.IncompleteRead):
            return Unreachable(f"the answer of the daemon at {self.address} broke off")
        if isinstance(error, http.client.HTTPException) and not isinstance(error, OSError):
            return Unreachable(f"another program answers at {self.address} (in words that are not HTTP's)")
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        return Unreachable(f"no daemon answers at {self.address} ({why})")


def reach(url: str | None, tcp_url: str | None = None, token: str | None = None) -> Client:
    """The daemon at an address; without one on its Unix socket, else over TCP. Raises Failed."""
    addresses = [url] if url else [*_control_socket(), tcp_url or default_url()]
    token = os.environ.get("OLLAMA_PROXY_TOKEN") or token
    failures: list[str] = []
    for address in addresses:
        client = Client(address, token)
        try:
            client.version()
        except Failed as error:
            client.close()
            if not isinstance(error, Unreachable) or isinstance(error, Silent):
                raise
            failures.append(error.message)
        else:
            return client
    raise Unreachable(", and ".join(failures))


def default_url() -> str:
    """Where the daemon listens unless a configuration file says otherwise."""
    host = os.environ.get("OLLAMA_PROXY_HOST") or "127.0.0.1"
    return f"http://{host}:{os.environ.get('OLLAMA_PROXY_HTTP_PORT') or '8080'}"


def host_and_port(url: str) -> tuple[str, int]:
    """Where to connect to over TCP; raises Invalid."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    if host is None or parts.scheme != "http":
        raise Invalid(f"{url!r} is not an address such as http://127.0.0.1:8080 or unix:/path")
    return host, port


def _control_socket() -> list[str]:
    path = control_socket(os.environ)
    return [f"unix:{path}"] if path and os.path.exists(path) else []  # noqa: PTH110 - pathlib costs 10 ms


def _connection(address: str) -> http.client.HTTPConnection:
    if address.startswith("unix:/"):
        return UnixConnection(urlsplit(address).path)
    return http.client.HTTPConnection(*host_and_port(address), timeout=TIMEOUT_S)
