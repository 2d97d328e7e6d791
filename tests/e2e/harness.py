"""Processes under test, a plain HTTP client that shows every byte, and waiting for conditions."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import yaml

from tests.free_ports import free_port

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")
Response = http.client.HTTPResponse
HANGS_S = 120.0
"""An answer that is silent for so long hangs: a busy machine takes long to start an engine for twenty at once."""


def wait_until(condition: Callable[[], T], what: str, timeout_s: float = 60.0, every_s: float = 0.02) -> T:
    """The condition's first true value; an error that says what was waited for when time is up."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s:g} s: {what}; last seen: {value!r}")
        time.sleep(every_s)


@dataclass(frozen=True)
class Reply:
    """A whole HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def lines(self) -> list[Any]:
        """The values of an NDJSON answer."""
        return [json.loads(line) for line in self.body.splitlines() if line]

    def events(self) -> list[Any]:
        """The values of an SSE answer that ended as it should."""
        data = [line[6:] for line in self.body.decode().splitlines() if line.startswith("data: ")]
        assert data, self.body
        assert data[-1] == "[DONE]", data[-1]
        return [json.loads(item) for item in data[:-1]]


Body = bytes | str | dict[str, Any] | list[Any] | None


def _encoded(body: Body) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


@contextlib.contextmanager
def opened(
    base: str, method: str, path: str, body: Body = None, headers: Mapping[str, str] | None = None
) -> Iterator[Response]:
    """An answer whose body is still to be read; leaving the block closes the connection."""
    url = urlsplit(base)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=HANGS_S)
    try:
        sent = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, _encoded(body), {**sent, **(headers or {})})
        response = connection.getresponse()
        with response:
            yield response
    finally:
        connection.close()


def ask(base: str, method: str, path: str, body: Body = None, headers: Mapping[str, str] | None = None) -> Reply:
    """One request on a connection of its own, and its whole answer."""
    with opened(base, method, path, body, headers) as response:
        return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


class Server:
    """A program that serves HTTP on loopback, with its output in a log file."""

    def __init__(
        self, name: str, command: list[str], url: str, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.url = url
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=env, cwd=log.parent
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return ask(self.url, "GET", path, None, headers)

    def post(self, path: str, body: Body, headers: Mapping[str, str] | None = None) -> Reply:
        return ask(self.url, "POST", path, body, headers)

    def connection(self) -> http.client.HTTPConnection:
        url = urlsplit(self.url)
        return http.client.HTTPConnection(url.hostname or "", url.port, timeout=HANGS_S)

    def sent(self, method: str, path: str, body: Body) -> http.client.HTTPConnection:
        """A connection with a request on its way, nothing read yet."""
        connection = self.connection()
        connection.request(method, path, _encoded(body), {"Content-Type": "application/json"})
        return connection

    def opened(self, method: str, path: str, body: Body = None) -> "contextlib.AbstractContextManager[Response]":
        return opened(self.url, method, path, body)

    def status_of(self, path: str) -> int | None:
        """What the path gives, None while nobody listens; an error at once when the program has ended."""
        if self.returncode is not None:
            raise AssertionError(f"{self.name} ended with {self.returncode}:\n{self.log_tail()}")
        try:
            return self.get(path).status
        except OSError:
            return None

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, timeout_s: float = 60.0) -> int:
        return self._process.wait(timeout_s)

    def stop(self) -> None:
        """End it politely, then by force; harmless when it has ended already."""
        if self.returncode is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class LlamaServer(Server):
    """A real llama-server that serves the tiny model under a name of the test's choice."""

    def __init__(self, program: Path, model: Path, alias: str, folder: Path, *flags: str, port: int = 0) -> None:
        port = port or free_port()
        command = [str(program), "-m", str(model), "-a", alias, "-t", "1", "-np", "4", "-c", "8192", "--metrics"]
        command += ["--host", "127.0.0.1", "--port", str(port), *flags]
        super().__init__(f"llama-server {alias}", command, f"http://127.0.0.1:{port}", folder / f"llama-{port}.log")
        self.alias = alias
        self.port = port

    def ready(self) -> "LlamaServer":
        wait_until(lambda: self.status_of("/health") == 200, f"{self.name} is healthy")
        return self

    def busy_slots(self) -> int:
        return sum(slot["is_processing"] for slot in self.get("/slots").json())


class Daemon(Server):
    """The daemon as a user runs it: a process of its own, with its own folders and a configuration file."""

    MODULE = "ollama_proxyd"

    def __init__(
        self, folder: Path, config: dict[str, Any], env: Mapping[str, str] | None = None, options: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.config_file = folder / "config.yaml"
        self.write_config(config)
        command = [sys.executable, "-m", self.MODULE, "--config", str(self.config_file), *options]
        url = f"http://127.0.0.1:{config['server']['http_port']}"
        super().__init__("ollama-proxyd", command, url, folder / "daemon.log", {**_own_env(folder), **(env or {})})

    def write_config(self, config: dict[str, Any] | str) -> None:
        text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False)
        self.config_file.write_text(text)

    def ready(self, *models: str) -> "Daemon":
        """Wait until it can serve, and knows these models."""
        wait_until(lambda: self.status_of("/readyz") == 200, "the daemon is ready")
        wait_until(lambda: not set(models) - self.models(), f"the daemon knows {models}")
        return self

    def models(self) -> set[str]:
        return {item["id"].removesuffix(":latest") for item in self.get("/v1/models").json()["data"]}

    def alive(self) -> "Daemon":
        wait_until(lambda: self.status_of("/healthz"), "the daemon answers")
        return self

    def ready_with(self, *ids: str) -> "Daemon":
        """Wait until these backends can serve."""
        self.alive()
        wait_until(lambda: not set(ids) - self.healthy(), f"{ids} can serve")
        return self

    def backends(self) -> dict[str, Any]:
        """What /backends says, by id."""
        return {item["id"]: item for item in self.get("/backends").json()}

    def healthy(self) -> set[str]:
        return {identity for identity, item in self.backends().items() if item["health"] == "up"}

    def in_flight(self) -> dict[str, int]:
        return {identity: item["in_flight"] for identity, item in self.backends().items()}

    def counted_requests(self) -> list[str]:
        """The lines of /metrics that count requests to backends."""
        lines = self.get("/metrics").body.decode().splitlines()
        return [line for line in lines if line.startswith(("ollama_proxy_requests_total", "ollama_proxy_routing"))]

    def takes_nothing_new(self) -> bool:
        try:
            return self.get("/readyz").status == 503
        except OSError:
            return True


def _own_env(folder: Path) -> dict[str, str]:
    foreign = ("OLLAMA_", "DBUS_")  # the settings and the buses of whoever runs the tests
    kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign) and "proxy" not in k.lower()}
    own = {"HOME": folder, "XDG_CONFIG_HOME": folder / "config", "XDG_STATE_HOME": folder / "state"}
    own |= {"XDG_CACHE_HOME": folder / "cache", "XDG_RUNTIME_DIR": folder / "run", "XDG_DATA_HOME": folder / "data"}
    for path in own.values():
        path.mkdir(mode=0o700, exist_ok=True)
    return {**kept, **{k: str(v) for k, v in own.items()}, "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True)
class Fleet:
    """`tiny` thinks unless told not to, `calm` never does, `tinyembed` embeds."""

    tiny: LlamaServer
    calm: LlamaServer
    tinyembed: LlamaServer


StartLlama = Callable[..., LlamaServer]
StartDaemon = Callable[..., Daemon]

NPU = {"power_watts": 3, "avg_latency_ms": 800, "max_tokens_per_second": 10}
NVIDIA = {"power_watts": 55, "avg_latency_ms": 150, "max_tokens_per_second": 65}


def backend(identity: str, endpoint: str, kind: str = "openai", hardware: str = "cpu", **more: Any) -> dict[str, Any]:
    """One entry of the configuration's `backends`."""
    return {"id": identity, "type": kind, "endpoint": endpoint, "hardware": hardware, "enabled": True, **more}


def llama(identity: str, server: LlamaServer, **more: Any) -> dict[str, Any]:
    """The entry of a llama-server."""
    return backend(identity, server.url, flavor="llamacpp", **more)


def config_of(*backends: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """A configuration on a free port."""
    server = {"host": "127.0.0.1", "http_port": free_port(), **sections.pop("server", {})}
    return {"server": server, "backends": list(backends), **sections}
