"""How often the daemon wakes the machine, and what it costs, while nobody uses it."""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import procfs, tools
from bench.contestants import XDG_HOMES
from bench.processes import BenchError, Command, Processes, Server, free_port, wait_until_ready
from bench.woken_daemon import OUTPUT

WAKES = "wakes.json"
LEAST_S = 60.0
START_S = 10.0
SETTLE_S = 10.0
SETTLE_WITH_BACKENDS_S = 75.0
"""After its start the daemon looks at its backends often for a minute; it idles when that is over."""
BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>custom</type><listen>unix:path={folder}/bus</listen><auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/><allow own="*"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/>
    <allow receive_type="signal"/><allow receive_type="error"/>
  </policy>
</busconfig>
"""


@dataclass(frozen=True)
class Situation:
    """A configuration to idle in."""

    name: str
    config: Mapping[str, Any]
    arguments: tuple[str, ...] = ()
    settle_s: float = SETTLE_S


@dataclass(frozen=True)
class Idle:
    """What a process did within a time in which nobody asked it for anything."""

    name: str
    seconds: float
    voluntary: int
    involuntary: int
    cpu_ms: float
    rss_bytes: int
    threads: int
    woken: Sequence[tuple[Sequence[str], int]] = ()
    """What was at work in each wake-up, of a second time as long in which the daemon noted it."""

    @property
    def wakes_per_s(self) -> float:
        """How often one of its threads woke up: as often as it had gone to sleep by itself.

        A thread that is pushed aside while it runs (an involuntary switch) wakes nothing when it goes on.
        """
        return self.voluntary / self.seconds

    @property
    def cpu_percent(self) -> float:
        """The share of one core."""
        return self.cpu_ms / self.seconds / 10


def situations(port: int, backend_port: int) -> tuple[Situation, ...]:
    """The ones that issues ask for, each with one thing more than the one before."""
    nothing = {"server": {"http_port": port}, "detection": {"enabled": False}}
    backend = {
        "id": "bench",
        "type": "openai",
        "endpoint": f"http://127.0.0.1:{backend_port}",
        "hardware": "cpu",
        "characteristics": {"power_watts": 28, "avg_latency_ms": 100, "max_tokens_per_second": 50},
    }
    return (
        Situation("nothing to watch", {**nothing, "sensors": {"enabled": False}}),
        Situation("sensors", nothing),
        Situation("sensors, one backend", {**nothing, "backends": [backend]}, settle_s=SETTLE_WITH_BACKENDS_S),
        Situation("sensors, looking for engines", {"server": {"http_port": port}}),
        Situation("sensors, demo fleet", {"server": {"http_port": port}}, ("--demo",), SETTLE_WITH_BACKENDS_S),
    )


@dataclass(frozen=True)
class Mark:
    """What the kernel had counted for a process at one moment."""

    at_s: float
    voluntary: int
    involuntary: int
    cpu_s: float

    @classmethod
    def of(cls, pid: int) -> "Mark":
        """The counters now."""
        return cls(time.monotonic(), *procfs.switches(pid), procfs.cpu_clock_s(pid))


def watch(named: Sequence[tuple[str, int]], seconds: float) -> list[Idle]:
    """Watch processes for a while, from outside."""
    before = [Mark.of(pid) for _, pid in named]
    time.sleep(seconds)
    after = [Mark.of(pid) for _, pid in named]
    return [
        Idle(
            name,
            then.at_s - now.at_s,
            then.voluntary - now.voluntary,
            then.involuntary - now.involuntary,
            (then.cpu_s - now.cpu_s) * 1000,
            procfs.rss_bytes([pid]),
            procfs.threads(pid),
        )
        for (name, pid), now, then in zip(named, before, after, strict=True)
    ]


def render(measured: Sequence[Idle]) -> str:
    """The table, and what the sensors alone add."""
    head = ("situation", "wake-ups/s", "pushed aside/s", "CPU ms/s", "% of a core", "memory MB", "threads")
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for each in measured:
        per_s = (each.wakes_per_s, each.involuntary / each.seconds, each.cpu_ms / each.seconds)
        shown = " | ".join(f"{value:.3f}" for value in per_s)
        lines.append(
            f"| {each.name} | {shown} | {each.cpu_percent:.4f} | {each.rss_bytes / 1e6:.1f} | {each.threads} |"
        )
    lines += ["", "| situation | wake-ups | what woke it | what ran then |", "| --- " * 4 + "|"]
    lines += [line for each in measured for line in _causes(each)]
    by_name = {each.name: each for each in measured}
    if {"nothing to watch", "sensors"} <= set(by_name):
        without, with_them = by_name["nothing to watch"], by_name["sensors"]
        lines += ["", _ratio(without, with_them)]
    return "\n".join(lines)


def _causes(seen: Idle) -> Iterator[str]:
    """What ran first in each wake-up that the daemon noted, how often, and what ran in the same ones."""
    count = sum(times for _, times in seen.woken)
    first: Counter[str] = Counter()
    beside: dict[str, dict[str, None]] = {}
    for (source, *others), times in seen.woken:
        first[source] += times
        beside.setdefault(source, {}).update(dict.fromkeys(others))
    for source, times in first.most_common():
        yield f"| {seen.name} | {times} of {count} | {source} | {', '.join(beside[source]) or '-'} |"


def _ratio(without: Idle, with_them: Idle) -> str:
    added = with_them.wakes_per_s - without.wakes_per_s
    cpu_percent = with_them.cpu_percent - without.cpu_percent
    ratio = f"{with_them.cpu_ms / without.cpu_ms:.2f} times that of" if without.cpu_ms else "against none in"
    return (
        f"The sensors add {added:.3f} wake-ups a second and {cpu_percent:.4f} % of a core "
        f"({ratio} the daemon without them)."
    )


def buses_for(processes: Processes) -> Mapping[str, str]:
    """A bus of its own in the place of both buses, so that nothing else is heard on them; none without dbus-daemon."""
    program = shutil.which("dbus-daemon")
    nowhere = f"unix:path={processes.folder}/no-bus"
    if program is None:
        print("dbus-daemon is not installed: the daemon is measured without any bus", file=sys.stderr)
        return dict.fromkeys(("DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS"), nowhere)
    config = processes.folder / "bus.conf"
    config.write_text(BUS_CONFIG.format(folder=processes.folder))
    processes.start("bus", Command((program, f"--config-file={config}", "--nofork", "--nopidfile")), port=0)
    address = f"unix:path={processes.folder}/bus"
    return dict.fromkeys(("DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS"), address)


def _start(processes: Processes, situation: Situation, buses: Mapping[str, str]) -> Server:
    folder = processes.folder / "daemon"
    homes = {name: str(folder / name.lower()) for name in XDG_HOMES}
    for home in homes.values():
        Path(home).mkdir(parents=True, mode=0o700)
    config = folder / "config.yaml"
    config.write_text(json.dumps(situation.config))  # JSON is YAML
    argv = (sys.executable, "-P", "-m", "bench.woken_daemon", "--config", str(config), *situation.arguments)
    port = int(situation.config["server"]["http_port"])
    noting = {OUTPUT: str(folder / WAKES), "PYTHONPATH": str(tools.ROOT)}
    server = processes.start("daemon", Command(argv, {**homes, **buses, **noting}), port)
    wait_until_ready(server, "/healthz")
    return server


def _run(folder: Path, seconds: float, only: str) -> Iterator[Idle]:
    """One after the other: daemons keep the same beat, so side by side each would push the others aside."""
    names = [each.name for each in situations(0, 0) if only in each.name]
    for at, name in enumerate(names):
        (folder / str(at)).mkdir()
        yield _measure(folder / str(at), seconds, name)


def _measure(folder: Path, seconds: float, name: str) -> Idle:
    with Processes(folder) as processes:
        buses = buses_for(processes)
        backend = processes.start("backend", Command((tools.build("backend"),)), port=0)
        deadline_s = time.monotonic() + START_S
        while not backend.log.read_text().endswith("\n") and time.monotonic() < deadline_s:
            time.sleep(0.01)
        backend_port = int(json.loads(backend.log.read_text())["port"])
        chosen = next(each for each in situations(free_port(), backend_port) if each.name == name)
        daemon = _start(processes, chosen, buses)
        time.sleep(chosen.settle_s)
        (seen,) = watch([(name, daemon.process.pid)], seconds)
        return replace(seen, woken=_woken(daemon, processes.folder / "daemon" / WAKES, seconds))


def _woken(daemon: Server, output: Path, seconds: float) -> Sequence[tuple[Sequence[str], int]]:
    """What the daemon notes of its own wake-ups, which costs, and is therefore a time of its own."""
    daemon.process.send_signal(signal.SIGUSR1)
    time.sleep(seconds)
    daemon.process.send_signal(signal.SIGUSR2)
    deadline_s = time.monotonic() + START_S
    while not output.exists():
        if time.monotonic() > deadline_s:
            raise BenchError("the daemon did not say what woke it")
        time.sleep(0.01)
    return [(tuple(sources), count) for sources, count in json.loads(output.read_text())]


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="scripts/bench idle", description="What the daemon costs while nobody asks.")
    parser.add_argument("--seconds", type=float, default=LEAST_S, help="how long each situation is watched (60)")
    parser.add_argument("--only", default="", metavar="WORDS", help="the situations with these words in their names")
    options = parser.parse_args()
    tools.CACHE.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="idle-"))  # a socket's path has to be short
    try:
        measured = list(_run(folder, options.seconds, options.only))
    except BenchError as error:
        print(f"scripts/bench idle: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{os.cpu_count()} cores of {procfs.cpu_model()}; Linux {os.uname().release}\n\n{render(measured)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
