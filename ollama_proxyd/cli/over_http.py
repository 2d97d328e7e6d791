"""Asks the daemon over HTTP, with the standard library alone so that a command starts quickly."""

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NoReturn, Self
from urllib.parse import quote, urlsplit

from ollama_proxyd.cli.failures import Failed, Invalid, Unreachable
from ollama_proxyd.cli.pictures import (
    BackendInfo,
    Efficiency,
    HoldInfo,
    InForce,
    Machine,
    ModeInfo,
    Routed,
    Served,
    Settings,
)

TIMEOUT_S = 10.0
SETTINGS = "showing and changing settings"
WHOLE = ("battery_percent", "fan_percent")
"""Percentages that are told in whole numbers."""
HINTS = frozenset({"target", "latency_critical", "power_efficient", "max_latency_ms", "max_power_watts"})
"""The parts of a question that a request would say in its headers."""
SILENT_S = 60.0
"""A stream of events shows within this time that it lives."""


class HttpDaemon:
    """One daemon at one address."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.via = url
        self._connection = http.client.HTTPConnection(*host_and_port(url), timeout=TIMEOUT_S)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    @classmethod
    def connect(cls, url: str, token: str | None) -> Self:
        """The daemon at an address, once it has answered there; raises Failed."""
        daemon = cls(url, token)
        try:
            daemon.version()
        except Failed:
            daemon.__exit__()
            raise
        return daemon

    def version(self) -> str:
        """The daemon's version; raises Failed where something else answers, such as an engine that it imitates."""
        answer = self._ask("GET", "/version")
        if not isinstance(answer, dict) or answer.get("name") != "ollama-proxyd":
            raise Unreachable(f"what answers at {self.via} is not ollama-proxyd")
        return str(answer["version"])

    def efficiency(self) -> Efficiency:
        """The mode in force and the modes that there are."""
        answer = self._ask("GET", "/efficiency")
        modes = tuple(_mode(row) for row in answer["modes"])
        holds = tuple(HoldInfo(**hold) for hold in answer.get("holds", ()))
        return Efficiency(InForce(answer["mode"], answer["effective_mode"], answer["reason"], holds), modes)

    def select(self, mode: str) -> None:
        """Put a mode in force."""
        self._ask("POST", "/efficiency", {"mode": mode})

    def hold(self, mode: str, reason: str) -> None:  # noqa: ARG002 - the port's signature
        """HTTP has no connection that a hold could end with."""
        self._need_a_bus("holding a mode")

    def backends(self) -> tuple[BackendInfo, ...]:
        """Each backend, in configured order."""
        return tuple(_backend(each) for each in self._status()["backends"])

    def enable(self, backend_id: str, enabled: bool) -> None:
        """Let a backend be used, or not; the daemon remembers it."""
        self._ask("POST", f"/backends/{quote(backend_id, safe='')}", {"enabled": enabled})

    def machine(self) -> Machine:
        """What the sensors say."""
        said = self._status()["system"]
        names = [name for name in Machine.__slots__ if name != "unknown"]
        parts: dict[str, Any] = {name: _whole(said[name]) if name in WHOLE else said[name] for name in names}
        return Machine(
            **parts, unknown={name: said["unknown"][name]["reason"] for name in names if name in said["unknown"]}
        )

    def served(self) -> Served:
        """The counts of the present day."""
        today = self._status()["today"]
        saved_j, compared = today.get("saved_joules"), today.get("compared", 0)
        return Served("today", today["requests"], today["errors"], today["energy_joules"], saved_j, compared)

    def settings(self) -> Settings:
        """They are changed over the session bus, and shown where they are changed."""
        self._need_a_bus(SETTINGS)

    def change_settings(self, changes: Mapping[str, str]) -> None:  # noqa: ARG002 - the port's signature
        """Only over the session bus."""
        self._need_a_bus(SETTINGS)

    def reset_settings(self, keys: Sequence[str]) -> None:  # noqa: ARG002 - the port's signature
        """Only over the session bus."""
        self._need_a_bus(SETTINGS)

    def explain(self, question: Mapping[str, Any]) -> Any:
        """Where a request would go."""
        hints = {name: value for name, value in question.items() if name in HINTS}
        system = {name: value for name, value in question.items() if name in Machine.__slots__}
        rest = {name: value for name, value in question.items() if name not in HINTS and name not in system}
        return self._ask("POST", "/routing/explain", rest | {"hints": hints} | ({"system": system} if system else {}))

    def changes(self) -> Iterator[Routed | None]:
        """An item for each event of the daemon's stream; raises Unreachable when that ends."""
        with closing(http.client.HTTPConnection(*host_and_port(self.via), timeout=SILENT_S)) as stream:
            try:
                stream.request("GET", "/status/events", headers=self._headers)
                reply = stream.getresponse()
                if reply.status != http.client.OK:
                    _decoded(self.via, reply.status, reply.read())
                while line := reply.readline():
                    if line.startswith(b"data:"):
                        yield None
            except (OSError, http.client.HTTPException) as error:
                raise self._gone(error) from None
        raise Unreachable(f"the daemon at {self.via} has ended")

    def __enter__(self) -> Self:
        """Use it in a `with` statement."""
        return self

    def __exit__(self, *ended: object) -> None:
        """End the connection."""
        self._connection.close()

    def _need_a_bus(self, what: str) -> NoReturn:
        raise Failed(f"{what} works over the session bus alone, and the daemon was reached at {self.via}")

    def _gone(self, error: Exception) -> Unreachable:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        return Unreachable(f"no daemon answers at {self.via} ({why})")

    def _status(self) -> Any:
        return self._ask("GET", "/status")

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({} if content is None else {"Content-Type": "application/json"})
        try:
            self._connection.request(method, path, content, headers)
            reply = self._connection.getresponse()
            answer = reply.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise self._gone(error) from None
        return _decoded(self.via, reply.status, answer)


def host_and_port(url: str) -> tuple[str, int]:
    """Where to connect to; raises Failed."""
    try:
        address = urlsplit(url)
        host, port = address.hostname, address.port or 80
    except ValueError:
        host, port = None, 0
    if host is None or address.scheme != "http":
        raise Failed(f"{url!r} is not an address such as http://127.0.0.1:8080")
    return host, port


def _decoded(url: str, status: int, content: bytes) -> Any:
    try:
        answer = json.loads(content)
    except ValueError:
        raise Unreachable(f"what answers at {url} is not ollama-proxyd (status {status}, no JSON)") from None
    if status >= 400:
        error = answer.get("error") if isinstance(answer, dict) else None
        message = error.get("message") if isinstance(error, dict) else error
        kind = Invalid if status == http.client.BAD_REQUEST else Failed
        if status == http.client.UNAUTHORIZED:
            message = f"the daemon at {url} asks for a token: put it into the environment as OLLAMA_PROXY_TOKEN"
        raise kind(str(message or f"the daemon answered {status}"))
    return answer


def _mode(row: Any) -> ModeInfo:
    return ModeInfo(**{name: row.get(name) for name in ModeInfo.__slots__})


def _backend(each: Any) -> BackendInfo:
    parts = {name: each[name] for name in BackendInfo.__slots__}
    unknown = {name: why["reason"] for name, why in each["unknown"].items()}
    return BackendInfo(**parts | {"models": tuple(each["models"]), "unknown": unknown})


def _whole(percent: float | None) -> int | None:
    """As the session bus tells it."""
    return None if percent is None else round(percent)
