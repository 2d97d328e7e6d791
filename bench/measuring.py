"""Measures one contestant in one scenario: runs the load and reads the kernel's books around it."""

import json
import os
import subprocess
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

from bench import procfs, tools
from bench.contestants import ALL, BEFORE, LITELLM, OURS, OURS_FOUR, OURS_GRPC, Contestant
from bench.processes import ContestantError, get

LOAD_LIMIT_S = 120.0
DRAIN_LIMIT_S = 60.0
QUIET_LIMIT_S = 20.0
LOOK_S = 0.3
NOISE_CORES = 0.2
TRIES = 3


@dataclass(frozen=True)
class Scenario:
    """One way to load a contestant; `args` follow the port on the load generator's command line."""

    key: str
    mode: str
    args: tuple[int, ...]
    skip: frozenset[str] = frozenset()

    @property
    def connections(self) -> int:
        """How many connections are to be served at the same time."""
        return 1 if self.mode == "ttft" else self.args[0]


@dataclass(frozen=True)
class Measurement:
    """What one contestant did in one scenario of one round."""

    round: int
    scenario: str
    contestant: str
    connections: int
    measured_s: float
    samples: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    late: int
    open: int
    errors: int
    cpu_s: float
    rss_bytes: int
    others_cores: float

    @property
    def noisy(self) -> bool:
        """Whether somebody else took so much processor time that the numbers mean little."""
        return self.others_cores > NOISE_CORES

    @property
    def fault(self) -> str:
        """What went wrong while it was measured; empty when nothing did."""
        unopened = max(self.connections - self.open, 0)
        faults = (
            (self.errors, "requests or streams failed"),
            (unopened, "connections were not served when measuring began"),
        )
        return ", ".join(f"{count} {what}" for count, what in faults if count)

    @property
    def per_s(self) -> float:
        """Requests or chunks in a second."""
        return self.samples / self.measured_s

    @property
    def cpu_us_each(self) -> float:
        """Processor time of the contestant for each request or chunk, in microseconds."""
        return self.cpu_s / max(self.samples, 1) * 1e6

    @property
    def cores(self) -> float:
        """Share of a core that the contestant used."""
        return self.cpu_s / self.measured_s

    @property
    def late_percent(self) -> float:
        """Share of chunks that came more than 20 ms after they were sent."""
        return 100 * self.late / max(self.samples, 1)

    def as_json(self) -> str:
        """One line for the record."""
        return json.dumps(asdict(self))


def scenarios(*, quick: bool) -> list[Scenario]:
    """What is measured, in this order; LiteLLM is left out where it could only drown, all others without a route."""
    measure_ms = 1000 if quick else 3000
    stream_ms = 1500 if quick else 5000
    drowns = frozenset({LITELLM})
    all_but_ours = frozenset(ALL) - {OURS, OURS_FOUR}
    all_but_grpc = frozenset((*ALL, BEFORE)) - {OURS_GRPC}
    return [
        Scenario("ttft", "ttft", (60 if quick else 300, 4000)),
        Scenario("streams-1000", "streams", (1000, 100_000, 2000, 10_000, stream_ms), drowns),
        Scenario("streams-64", "streams", (64, 50_000, 500, 10_000, stream_ms)),
        Scenario("streams-256", "streams", (256, 50_000, 1000, 10_000, stream_ms)),
        Scenario("sockets-64", "sockets", (64, 50_000, 500, 10_000, stream_ms), all_but_ours),
        Scenario("sockets-256", "sockets", (256, 50_000, 1000, 10_000, stream_ms), all_but_ours),
        Scenario("ollama-64", "ollama", (64, 50_000, 500, 10_000, stream_ms), all_but_ours),
        Scenario("ollama-256", "ollama", (256, 50_000, 1000, 10_000, stream_ms), all_but_ours),
        Scenario("grpc-64", "grpc", (64, 50_000, 500, 10_000, stream_ms), all_but_grpc),
        *(Scenario(f"closed-{n}", "closed", (n, 500, measure_ms)) for n in (1, 16, 64, 256)),
    ]


def measure(load: str, scenario: Scenario, contestant: Contestant, backend: tuple[int, int], turn: int) -> Measurement:
    """Measures until nobody else took a share of the machine, but no more than a few times."""
    for attempt in range(TRIES):
        _wait_for_quiet({*contestant.pids(), backend[0]})
        result = _measure_once(load, scenario, contestant, backend[0], turn)
        _wait_for_drain(contestant, backend[1])
        if result is not None and (not result.noisy or attempt == TRIES - 1):
            return result
    raise ContestantError(f"{contestant.name} answered nothing in {scenario.key}")


def _wait_for_quiet(ours: set[int]) -> None:
    """Returns when the others leave the machine alone, or when they have been waited for long enough."""
    deadline_s = time.monotonic() + QUIET_LIMIT_S
    ours = {*ours, os.getpid()}
    while time.monotonic() < deadline_s:
        before_s = procfs.others_cpu_s(ours)
        time.sleep(LOOK_S)
        if procfs.others_cpu_s(ours) - before_s <= NOISE_CORES * LOOK_S:
            return


def _load(load: str, scenario: Scenario, contestant: Contestant) -> tuple[list[str], dict[str, str]]:
    """The command that loads a contestant, and its environment."""
    command, args = contestant.command, list(map(str, scenario.args))
    if scenario.mode == "grpc":
        python, port = tools.grpc_python(), str(command.grpc_port)
        return [python, "-P", "-m", "bench.grpc_load", port, *args], {**os.environ, "PYTHONPATH": str(tools.ROOT)}
    headers = "".join([f"{name}: {value}\r\n" for name, value in command.headers.items()])
    return [load, scenario.mode, str(contestant.port), *args], {**os.environ, "LOAD_HEADERS": headers}


def _measure_once(
    load: str, scenario: Scenario, contestant: Contestant, backend_pid: int, turn: int
) -> Measurement | None:
    argv, env = _load(load, scenario, contestant)
    pids = contestant.pids()
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as process:
        watchdog = threading.Timer(LOAD_LIMIT_S, process.kill)
        watchdog.start()
        try:
            ours = {*pids, backend_pid, process.pid, os.getpid()}
            _event(process, "begin", contestant.name)
            cpu_s, others_s, began_s = procfs.cpu_s(pids), procfs.others_cpu_s(ours), time.monotonic()
            result = _event(process, "result", contestant.name)
            cpu_s = procfs.cpu_s(pids) - cpu_s
            others_cores = (procfs.others_cpu_s(ours) - others_s) / (time.monotonic() - began_s)
            rss_bytes = procfs.rss_bytes(pids)
        finally:
            watchdog.cancel()
            if process.stdin is not None:
                process.stdin.close()  # which lets the streams go
    if result["samples"] == 0:
        if result["errors"]:
            raise ContestantError(f"{contestant.name} failed every request of {scenario.key}")
        return None
    kept = {key: result[key] for key in RESULT_KEYS}
    books: dict[str, Any] = {"cpu_s": cpu_s, "rss_bytes": rss_bytes, "others_cores": max(others_cores, 0.0)}
    return Measurement(turn, scenario.key, contestant.name, scenario.connections, **kept, **books)


RESULT_KEYS = ("measured_s", "samples", "p50_ms", "p99_ms", "max_ms", "late", "open", "errors")


def _event(process: subprocess.Popen[str], name: str, contestant: str) -> dict[str, Any]:
    """The load generator's next line, which must be this event."""
    line = process.stdout.readline() if process.stdout else ""
    event = json.loads(line) if line else {}
    if event.get("event") != name:
        raise ContestantError(f"the load on {contestant} brought no {name}: {line or 'it ended early'}")
    return event


def _wait_for_drain(contestant: Contestant, backend_port: int) -> None:
    """Returns when the backend serves no stream any more: the next in turn must not pay for this one."""
    deadline_s = time.monotonic() + DRAIN_LIMIT_S
    while json.loads(get(backend_port, "/bench/active")[1] or '{"streams": 0}')["streams"] > 0:
        if time.monotonic() > deadline_s:
            raise ContestantError(f"{contestant.name} still holds streams that its clients left")
        time.sleep(0.05)
