"""Asks the running daemon over HTTP, with the standard library alone so that a command starts quickly."""

import http.client
import json
import os
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 10.0


class DaemonError(Exception):
    """The daemon cannot be reached, or it refused; the message says what to do."""


class Client:
    """One daemon at one address."""

    def __init__(self, url: str, token: str | None = None) -> None:
        address = urlsplit(url)
        if address.scheme != "http" or address.hostname is None:
            raise DaemonError(f"{url!r} is not an address such as http://127.0.0.1:8080")
        self._url = url
        self._host, self._port = address.hostname, address.port or 80
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str) -> Any:
        """The decoded JSON answer to a GET; raises DaemonError."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: object) -> Any:
        """The decoded JSON answer to a POST; raises DaemonError."""
        return self._ask("POST", path, json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        headers = {**self._headers, **({"Content-Type": "application/json"} if body else {})}
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            status, content = reply.status, reply.read()
        except (OSError, http.client.HTTPException) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            message = f"no daemon answers at {self._url} ({why}); is ollama-proxyd running?"
            raise DaemonError(message) from None
        finally:
            connection.close()
        return _decoded(self._url, status, content)


def _decoded(url: str, status: int, content: bytes) -> Any:
    try:
        answer = json.loads(content)
    except ValueError:
        raise DaemonError(f"what answers at {url} is not ollama-proxyd (status {status}, no JSON)") from None
    if status >= 400:
        error = answer.get("error") if isinstance(answer, dict) else None
        message = error.get("message") if isinstance(error, dict) else error
        raise DaemonError(str(message or f"the daemon answered {status}"))
    return answer


def default_url() -> str:
    """Where the daemon listens unless a configuration file says otherwise."""
    host = os.environ.get("OLLAMA_PROXY_HOST", "127.0.0.1")
    return f"http://{host}:{os.environ.get('OLLAMA_PROXY_HTTP_PORT', '8080')}"
