"""A daemon in a thread of its own, on a real socket, so that commands can wait for it as in life."""

import asyncio
import http.server
import socket
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner, Result

from ollama_proxyd.cli.control import ai_efficiency, control
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.core.requests import Api, Chat, Operation, Request
from ollama_proxyd.edges.host.control_socket import PATH
from ollama_proxyd.edges.http_api.server import HttpServer
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.services.bundle import Services
from tests.cli.program import Program, Start
from tests.fakes import FakeBackend, reference_fleet, services_of

T = TypeVar("T")


class ServedDaemon:
    """The real edges over the real services in front of fake backends."""

    def __init__(self, backends: tuple[FakeBackend, ...], token: str | None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._token = token
        self._close: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self.services: Services = self.run(services_of(*backends))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the daemon's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def do(self, work: Callable[[], T]) -> T:
        """Call a function in the daemon's thread."""

        async def call() -> T:
            return work()

        return self.run(call())

    def listen(self, *sockets: socket.socket) -> str:
        """Serve HTTP over TCP, and on these sockets too; returns the address."""

        async def start() -> str:
            server = HttpServer(self.services, ServerSettings(port=0, drain_s=0.2, token=self._token))
            await server.start(extra=sockets)
            self._close.append(server.stop)
            return server.url

        return self.run(start())

    def know(self, **parts: Any) -> None:
        """The machine says this; what it says not stays unknown."""
        readings = {name: Reading(value, 0.0) for name, value in parts.items()}
        self.do(lambda: self.services.system.set(SystemState(**readings)))

    def ask(self, model: str = "tiny") -> None:
        """A client sends a request and takes the whole answer."""

        async def answer() -> None:
            request = Request(
                operation=Operation.CHAT,
                api=Api.OLLAMA,
                endpoint="chat",
                model=model,
                stream=True,
                body=b"{}",
                content=lambda: Chat(()),
            )
            async with aclosing(self.services.gateway.answer(request)) as events:
                async for _ in events:
                    pass

        self.run(answer())

    def leave(self) -> None:
        """Stop everything that serves."""
        while self._close:
            self.run(self._close.pop()())

    def close(self) -> None:
        self.leave()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(autouse=True)
def no_daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's own is reached: no bus, no usual port, no configuration."""
    for name in ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "OLLAMA_PROXY_HOST", "OLLAMA_PROXY_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("OLLAMA_PROXY_CONFIG", "XDG_CONFIG_HOME", "VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OLLAMA_PROXY_HTTP_PORT", "1")
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "etc"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def serve() -> Iterator[Callable[..., ServedDaemon]]:
    """Starts daemons that live as long as the test; without backends, with the reference fleet."""
    started: list[ServedDaemon] = []

    def start(*backends: FakeBackend, token: str | None = None) -> ServedDaemon:
        started.append(ServedDaemon(backends or reference_fleet(), token))
        return started[-1]

    yield start
    for daemon in started:
        daemon.close()


@pytest.fixture
def over_tcp(serve: Callable[..., ServedDaemon], monkeypatch: pytest.MonkeyPatch) -> ServedDaemon:
    """A daemon on the usual port, without a control socket."""
    daemon = serve()
    monkeypatch.setenv("OLLAMA_PROXY_HTTP_PORT", daemon.listen().rpartition(":")[2])
    return daemon


@pytest.fixture
def control_socket(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket where commands look for the daemon; its path must be short."""
    with tempfile.TemporaryDirectory() as runtime, socket.socket(socket.AF_UNIX) as made:
        path = Path(runtime, PATH)
        path.parent.mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        made.bind(str(path))
        made.listen()
        yield made


@pytest.fixture
def daemon(serve: Callable[..., ServedDaemon], control_socket: socket.socket) -> ServedDaemon:
    """A daemon on its control socket."""
    daemon = serve()
    daemon.listen(control_socket)
    return daemon


Ctl = Callable[..., Result]


@pytest.fixture
def ctl() -> Ctl:
    """Runs ollama-proxyctl with these arguments."""
    return lambda *arguments, **options: CliRunner().invoke(control, arguments, prog_name="ollama-proxyctl", **options)


@pytest.fixture
def alias() -> Ctl:
    """Runs ai-efficiency with these arguments."""
    return lambda *arguments: CliRunner().invoke(ai_efficiency, arguments, prog_name="ai-efficiency")


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts ollama-proxyctl as a process of its own that ends with the test."""
    running: list[Program] = []

    def begin(*arguments: str) -> Program:
        running.append(Program(*arguments))
        return running[-1]

    yield begin
    for program in running:
        program.close()


@pytest.fixture
def stranger() -> Iterator[Callable[[bytes], str]]:
    """Starts web servers that are not the daemon and always answer the same."""
    running: list[http.server.HTTPServer] = []

    def start(body: bytes) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()
