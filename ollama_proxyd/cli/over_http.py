"""Asks the daemon over HTTP, with the standard library alone so that a command starts quickly."""

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, Self
from urllib.parse import urlsplit

from ollama_proxyd.cli.failures import Failed, Unreachable
from ollama_proxyd.cli.pictures import BackendInfo, Efficiency, HoldInfo, InForce, Machine, ModeInfo, Routed, Served

TIMEOUT_S = 10.0
UNAUTHORIZED = 401
HINTS = {
    "target": "target_backend",
    "latency_critical": "latency_critical",
    "prefer_power_efficiency": "power_efficient",
    "max_latency_ms": "max_latency_ms",
    "max_power_watts": "max_power_watts",
}
"""What HTTP calls the parts of a question that a request would say in its headers."""
LOOK_AGAIN_S = 2.0
"""HTTP tells nothing by itself, so `changes` looks this often."""


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
        return tuple(_backend(each) for each in self._ask("GET", "/backends"))

    def enable(self, backend_id: str, enabled: bool) -> None:  # noqa: ARG002 - the port's signature
        """Only D-Bus tells the daemon's own user from others who may send requests."""
        self._need_a_bus("enabling and disabling backends")

    def machine(self) -> Machine:
        """What the sensors say."""
        readings = self._ask("GET", "/thermal")
        names = [name for name in Machine.__slots__ if name != "unknown"]
        said = {name: readings.get(name, {}) for name in names}
        unknown = {name: reading["reason"] for name, reading in said.items() if "reason" in reading}
        return Machine(**{name: reading.get("value") for name, reading in said.items()}, unknown=unknown)

    def served(self) -> Served:
        """The sums of all backends; HTTP has no count of the day."""
        totals = [each["totals"] for each in self._ask("GET", "/backends")]
        return Served(
            since="since the daemon started",
            requests=sum(each["requests"] for each in totals),
            failures=sum(each["failures"] for each in totals),
            energy_j=sum(each["energy_j"] for each in totals),
        )

    def explain(self, question: Mapping[str, Any]) -> Any:
        """Where a request would go."""
        hints = {HINTS[name]: value for name, value in question.items() if name in HINTS}
        system = {name: value for name, value in question.items() if name in Machine.__slots__}
        rest = {name: value for name, value in question.items() if name not in HINTS and name not in system}
        return self._ask("POST", "/routing/explain", rest | {"hints": hints} | ({"system": system} if system else {}))

    def changes(self) -> Iterator[Routed | None]:
        """Again and again, since nothing is told over HTTP."""
        while True:
            yield None
            time.sleep(LOOK_AGAIN_S)

    def __enter__(self) -> Self:
        """Use it in a `with` statement."""
        return self

    def __exit__(self, *ended: object) -> None:
        """End the connection."""
        self._connection.close()

    def _need_a_bus(self, what: str) -> NoReturn:
        raise Failed(f"{what} works over the session bus alone, and the daemon was reached at {self.via}")

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({} if content is None else {"Content-Type": "application/json"})
        try:
            self._connection.request(method, path, content, headers)
            reply = self._connection.getresponse()
            answer = reply.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise Unreachable(f"no daemon answers at {self.via} ({why})") from None
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
        if status == UNAUTHORIZED:
            message = f"the daemon at {url} asks for a token: put it into the environment as OLLAMA_PROXY_TOKEN"
        raise Failed(str(message or f"the daemon answered {status}"))
    return answer


def _mode(row: Any) -> ModeInfo:
    return ModeInfo(**{name: row.get(name) for name in ModeInfo.__slots__})


def _backend(each: Any) -> BackendInfo:
    return BackendInfo(
        id=each["id"],
        name=each["name"],
        hardware=each["hardware"],
        state=each["health"],
        reason=each["reason"],
        models=tuple(each["models"]),
        in_flight=each["in_flight"],
        rated_power_watts=each["power_watts"],
        power_watts=None,
        tokens_per_second=_speed(each),
        temperature_celsius=None,
        asleep=None,
        enabled=each["health"] != "disabled",
    )


def _speed(each: Any) -> float | None:
    """What was measured of the model that was asked most."""
    learned = max(each["learned"].values(), key=lambda speed: speed["samples"], default=None)
    speed: float | None = learned and learned["tokens_per_second"]
    return speed
