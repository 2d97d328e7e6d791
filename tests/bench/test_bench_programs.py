"""The two C programs of the benchmark understand each other: every request is answered, every chunk is timed."""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import urlopen

import pytest

SOURCES = Path(__file__).parents[2] / "bench"
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    for name in ("backend", "load"):
        options = ["-O2", "-Wall", "-Wextra", "-Werror"]
        subprocess.run([str(COMPILER), *options, "-o", folder / name, SOURCES / f"{name}.c"], check=True)
    return folder


@pytest.fixture(scope="module")
def port(programs: Path) -> Iterator[int]:
    with subprocess.Popen([programs / "backend"], stdout=subprocess.PIPE, text=True) as backend:
        try:
            assert backend.stdout is not None
            yield json.loads(backend.stdout.readline())["port"]
        finally:
            backend.kill()


class Refusal(BaseHTTPRequestHandler):
    """Answers every request with 503."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def refusing() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Refusal) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def result(programs: Path, *args: object) -> dict[str, Any]:
    argv = [str(programs / "load"), *map(str, args)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=True)
    begin, last = (dict[str, Any](json.loads(line)) for line in done.stdout.splitlines())
    assert begin == {"event": "begin"}
    return last


def test_a_closed_loop_counts_answers_and_no_errors(programs: Path, port: int) -> None:
    counted = result(programs, "closed", port, 4, 10, 50)
    assert counted["samples"] > 4
    assert counted["open"] == 4
    assert (counted["errors"], counted["reconnects"]) == (0, 0)
    assert counted["p50_ms"] <= counted["p99_ms"] <= counted["max_ms"]


def test_every_stream_of_the_first_token_run_gives_one_sample(programs: Path, port: int) -> None:
    counted = result(programs, "ttft", port, 10, 100)
    assert (counted["samples"], counted["errors"]) == (10, 0)


def test_paced_streams_all_open_and_their_chunks_are_timed(programs: Path, port: int) -> None:
    counted = result(programs, "streams", port, 8, 5000, 20, 2000, 100)
    assert (counted["open"], counted["errors"]) == (8, 0)
    assert counted["samples"] >= 8


class Ollama(BaseHTTPRequestHandler):
    """Answers a chat in Ollama's words, and keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append({"path": self.path, "x-more": self.headers["X-More"], **body})
        line = json.dumps({"message": {"content": f"@t={time.monotonic_ns():020}@ "}, "done": False}) + "\n"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(50):
            self.wfile.write(f"{len(line):x}\r\n{line}\r\n".encode())
            self.wfile.flush()
            time.sleep(0.01)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_ollamas_words_are_asked_at_its_own_route_with_the_headers_of_the_environment(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOAD_HEADERS", "X-More: yes\r\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), Ollama) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        counted = result(programs, "ollama", server.server_port, 1, 10_000, 10, 2000, 100)
        server.shutdown()
    assert counted["open"] == 1
    assert counted["samples"] > 0
    (asked,) = Ollama.asked
    assert (asked["path"], asked["x-more"], asked["model"]) == ("/api/chat", "yes", "bench")


def test_the_backend_can_be_taken_for_four(port: int) -> None:
    for at in range(4):
        with urlopen(f"http://127.0.0.1:{port + at}/health", timeout=10) as answer:
            assert answer.status == 200


def test_a_server_that_refuses_every_request_is_all_errors(programs: Path, refusing: int) -> None:
    counted = result(programs, "ttft", refusing, 3, 0)
    assert (counted["samples"], counted["p50_ms"]) == (0, None)
    assert counted["errors"] > 0
