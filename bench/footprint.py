"""The daemon's footprint: memory idle and with open streams, and the time from its start until it is ready."""

import argparse
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench import procfs, tools
from bench.contestants import XDG_HOMES
from bench.idle import buses_for
from bench.processes import BenchError, Command, Processes, Server, free_port

STARTS = 15
STREAMS = 100
SETTLE_S = 3.0
PATIENCE_S = 60.0
GOALS = {"memory_mb": 60.0, "ready_s": 0.6}
PACE = "interval_us=100000 tokens=100000"
"""Ten tokens a second for longer than anybody looks; bench/backend.c reads it in the prompt."""
QUESTION = {"model": "bench", "stream": True, "messages": [{"role": "user", "content": PACE}]}


@dataclass(frozen=True)
class Memory:
    """What a process holds in memory at one moment."""

    name: str
    rss_bytes: int
    pss_bytes: int
    """Pages that it shares with others count in part."""

    @classmethod
    def of(cls, name: str, pid: int) -> "Memory":
        """What the kernel says now."""
        return cls(name, procfs.rss_bytes([pid]), procfs.pss_bytes(pid))


class Manager:
    """The service manager's end of a start: hears when the service is ready."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.settimeout(PATIENCE_S)

    def until_ready(self) -> float:
        """When READY=1 came."""
        try:
            while b"READY=1" not in self._socket.recv(65536).splitlines():
                continue
        except TimeoutError:
            raise BenchError(f"the daemon did not become ready within {PATIENCE_S:g} s") from None
        return time.monotonic()

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


class Bench:
    """A backend and private buses; each daemon in front of them has a folder of its own."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._buses = buses_for(processes)
        self._backend_port = start_backend(processes)
        self._number = 0

    def start(self) -> tuple[Server, float]:
        """A daemon that is ready, and how long that took."""
        self._number += 1
        folder = self._processes.folder / f"daemon-{self._number}"
        homes = {name: str(folder / name.lower()) for name in XDG_HOMES}
        for home in homes.values():
            Path(home).mkdir(parents=True, mode=0o700)
        port = free_port()
        (folder / "config.yaml").write_text(json.dumps(_config(port, self._backend_port)))  # JSON is YAML
        manager = Manager(folder)
        compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(self._processes.folder / "bytecode")}
        environment = {**homes, **self._buses, **compiled, "NOTIFY_SOCKET": str(manager.path)}
        argv = (sys.executable, "-P", "-m", "ollama_proxyd", "--config", str(folder / "config.yaml"))
        began_s = time.monotonic()
        server = self._processes.start(f"daemon-{self._number}", Command(argv, environment), port)
        try:
            return server, manager.until_ready() - began_s
        finally:
            manager.close()

    def stop(self, server: Server) -> None:
        """End a daemon."""
        self._processes.stop(server)


def _config(port: int, backend_port: int) -> Mapping[str, Any]:
    backend = {
        "id": "bench",
        "type": "openai",
        "endpoint": f"http://127.0.0.1:{backend_port}",
        "hardware": "cpu",
        "slots": 1024,
        "characteristics": {"power_watts": 28, "avg_latency_ms": 100, "max_tokens_per_second": 50},
    }
    return {"server": {"http_port": port}, "backends": [backend]}


def start_backend(processes: Processes) -> int:
    """The suite's backend; its port."""
    backend = processes.start("backend", Command((tools.build("backend"),)), port=0)
    deadline_s = time.monotonic() + PATIENCE_S
    while not backend.log.read_text().endswith("\n"):
        if time.monotonic() > deadline_s:
            raise BenchError("the backend did not start")
        time.sleep(0.01)
    return int(json.loads(backend.log.read_text())["port"])


def memory(bench: Bench, streams: int) -> list[Memory]:
    """Memory before the first request, with that many open streams, and when they have ended.

    An installed daemon is compiled already; what compiles leaves more memory behind, so one start comes before.
    """
    bench.stop(bench.start()[0])
    server, _ = bench.start()
    pid = server.process.pid
    time.sleep(SETTLE_S)
    seen = [Memory.of("idle, before the first request", pid)]
    with ExitStack() as stack:
        for _ in range(streams):
            _open_stream(server.port, stack)
        time.sleep(SETTLE_S)
        seen.append(Memory.of(f"{streams} open streams", pid))
    time.sleep(SETTLE_S)
    seen.append(Memory.of("idle again", pid))
    bench.stop(server)
    return seen


def _open_stream(port: int, stack: ExitStack) -> None:
    """A request whose answer has begun and is left open."""
    body = json.dumps(QUESTION).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    way = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S))
    way.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
    answer = b""
    while b"data:" not in answer:
        part = way.recv(4096)
        if not part:
            raise BenchError(f"a stream ended before it began: {answer[:300]!r}")
        answer += part


def starts(bench: Bench, count: int) -> list[float]:
    """Seconds from each start to READY; one start before them compiles and fills caches, and is not counted."""
    taken_s = []
    for _ in range(count + 1):
        server, seconds = bench.start()
        bench.stop(server)
        taken_s.append(seconds)
    return taken_s[1:]


def render(memories: Sequence[Memory], starts_s: Sequence[float]) -> str:
    """The tables, with what is wanted."""
    lines = ["| memory | RSS MB | PSS MB |", "| --- | --- | --- |"]
    lines += [f"| {each.name} | {each.rss_bytes / 1e6:.1f} | {each.pss_bytes / 1e6:.1f} |" for each in memories]
    low, mid, high = min(starts_s), median(starts_s), max(starts_s)
    lines += ["", "| start to READY | lowest s | median s | highest s |", "| --- | --- | --- | --- |"]
    lines += [f"| {len(starts_s)} starts | {low:.3f} | {mid:.3f} | {high:.3f} |", ""]
    lines += ["| goal | bound | measured | verdict |", "| --- | --- | --- | --- |"]
    for each in memories[:2]:
        lines.append(_goal(f"memory, {each.name}: RSS MB", GOALS["memory_mb"], each.rss_bytes / 1e6, ".1f"))
    lines.append(_goal("start to READY, median: s", GOALS["ready_s"], mid, ".3f"))
    return "\n".join(lines)


def _goal(name: str, bound: float, measured: float, form: str) -> str:
    return f"| {name} | ≤ {bound:g} | {measured:{form}} | {'met' if measured <= bound else 'missed'} |"


def main() -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="scripts/bench footprint", description="Memory of the daemon, and its start.")
    parser.add_argument("--starts", type=int, default=STARTS, help=f"how many starts are timed ({STARTS})")
    parser.add_argument("--streams", type=int, default=STREAMS, help=f"how many streams are open ({STREAMS})")
    options = parser.parse_args()
    tools.CACHE.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="foot-"))  # a socket's path has to be short
    try:
        with Processes(folder) as processes:
            bench = Bench(processes)
            text = render(memory(bench, options.streams), starts(bench, options.starts))
    except BenchError as error:
        print(f"scripts/bench footprint: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    machine = f"{os.cpu_count()} cores of {procfs.cpu_model()}; Linux {os.uname().release}"
    print(f"{machine}; Python {sys.version.split()[0]}\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
