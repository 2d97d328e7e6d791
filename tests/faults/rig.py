"""A daemon of its own and the scripted upstream, and what the daemon's books and the kernel say of it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.harness import ROOT, Daemon, ask, config_of, wait_until

SETTINGS: dict[str, Any] = {
    "upstream": {"connect_s": 2.0, "first_byte_s": 6.0, "idle_s": 2.0, "probe_s": 20.0},
    "monitoring": {
        "health_interval_s": 600,
        "health_idle_interval_s": 600,
        "health_recheck_s": 2,
        "health_timeout_s": 20,
    },
    "dbus": {"enabled": False},
    "sensors": {"enabled": False},
    "sleep": {"enabled": False},
}
"""Short waits; and health checks only where a test asks, so that what is found is what a request found."""
CHEAP = {"power_watts": 1, "avg_latency_ms": 1, "max_tokens_per_second": 100_000}
READY_S = 15.0
START_S = 60.0
TRIES = 3
DEAR = {"power_watts": 55, "avg_latency_ms": 200, "max_tokens_per_second": 50}


class Upstream:
    """The scripted upstream as a process."""

    def __init__(self, folder: Path) -> None:
        with (folder / "upstream.log").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.upstream"], stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT
            )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def control(self, *words: str) -> Any:
        return ask(self.url, "GET", "/control/" + "/".join(words)).json()

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


@dataclass(frozen=True)
class Books:
    """What a daemon holds at one moment."""

    in_flight: int
    tasks: int
    fds: int
    rss_mb: float


class CountedDaemon(Daemon):
    """The daemon, which tells how many tasks it has when it is asked by a signal."""

    def __init__(self, folder: Path, backends: Iterable[dict[str, Any]], **sections: Any) -> None:
        super().__init__(
            folder, config_of(*backends, **{**SETTINGS, **sections}), {"TASKS_FILE": str(folder / "tasks")}
        )
        self.port = int(self.url.rsplit(":", 1)[1])

    MODULE = "tests.faults.counted_daemon"

    def alive(self) -> "CountedDaemon":
        wait_until(lambda: self.status_of("/healthz"), "the daemon answers", START_S)
        return self

    def set_clock(self, off_s: float) -> None:
        """Let the wall clock leap to so many seconds before or after the real time."""
        (self.folder / "clock").write_text(str(off_s))

    def tasks(self) -> list[str]:
        """The names of the tasks of the daemon."""
        path = self.folder / "tasks"
        path.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR2)
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s:
            if path.exists() and (text := path.read_text()).endswith("\n"):
                return text.split()
            time.sleep(0.02)
        raise AssertionError("the daemon does not tell its tasks")

    def books(self) -> Books:
        in_flight = sum(backend["in_flight"] for backend in self.get("/status").json()["backends"])
        return Books(
            in_flight=in_flight + int(self.metric("ollama_proxy_requests_in_flight")),
            tasks=len(self.tasks()),
            fds=len(list(Path(f"/proc/{self.pid}/fd").iterdir())),
            rss_mb=self.metric("process_resident_memory_bytes") / 2**20,
        )

    def metric(self, name: str) -> float:
        """The sum of all lines of a metric."""
        lines = self.get("/metrics").body.decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def by_label(self, name: str, label: str) -> Counter[str]:
        """The sums of a metric for each value of a label."""
        found: Counter[str] = Counter()
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith(f"{name}{{"):
                found[line.partition(f'{label}="')[2].partition('"')[0]] += int(float(line.rsplit(" ", 1)[1]))
        return found

    def replace(self, backends: list[dict[str, Any]]) -> None:
        """Ask for other backends."""
        config = yaml.safe_load(self.config_file.read_text())
        self.write_config({**config, "backends": backends})
        self.signal(signal.SIGHUP)

    def reload(self, backends: list[dict[str, Any]]) -> None:
        """Have other backends, all of which were found healthy."""
        self.replace(backends)
        wanted = {entry["id"]: entry["endpoint"] for entry in backends}
        for _ in range(TRIES):
            if not (missing := self._missing(wanted)):
                return
            for identity in missing.keys() & self.backends().keys():  # asked again: a busy machine may be too slow
                self.post(f"/backends/{identity}", {"enabled": False})
                self.post(f"/backends/{identity}", {"enabled": True})
        raise AssertionError(f"not all backends are up: {missing}")

    def _missing(self, wanted: Mapping[str, str]) -> dict[str, Any]:
        """Which backends are not up in time, and why."""
        deadline_s = time.monotonic() + READY_S
        while True:
            known = self.backends()
            up = {identity for identity, each in known.items() if each["health"] == "up"}
            missing = {
                identity: known.get(identity, {}).get("reason")
                for identity, endpoint in wanted.items()
                if identity not in up or known[identity]["endpoint"] != endpoint
            }
            if not (missing or up - wanted.keys()) or time.monotonic() > deadline_s:
                return missing
            time.sleep(0.1)

    def settled(self, is_back: Callable[[Books], bool], timeout_s: float = 15.0) -> Books:
        """The books once they are as wanted, or the last ones in time."""
        deadline_s = time.monotonic() + timeout_s
        while not is_back(books := self.books()) and time.monotonic() < deadline_s:
            time.sleep(0.2)
        return books


async def each_within(limit: int, works: Iterable[Callable[[], Any]]) -> list[Any]:
    """All of it, at most so much at the same time; the results in the same order."""
    turns = asyncio.Semaphore(limit)

    async def one(work: Callable[[], Any]) -> Any:
        async with turns:
            return await work()

    return await asyncio.gather(*(one(work) for work in works))
