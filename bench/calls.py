"""Counts the calls of the project's own functions behind one request: in which modules, and who makes them."""

import argparse
import http.client
import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import contestants, tools
from bench.contestants import OURS
from bench.counted_daemon import OUTPUT
from bench.footprint import start_backend
from bench.processes import BenchError, Processes, Server, free_port, wait_until_ready

WARM_UP = 60
COUNTED = 100
FRAMES = 5
LIMIT_S = 60.0
SHOWN_FROM = 4.0
"""Functions behind which fewer calls lie for each request are not shown."""
GOALS = {"whole": 130, "stream": 150}


@dataclass
class Node:
    """A function in its place among its callers: the calls of all below it, and itself."""

    calls: int = 0
    callees: dict[str, "Node"] = field(default_factory=dict)

    def lines(self, requests: int, depth: int = 0) -> Iterator[str]:
        """The tree, the functions with most calls first."""
        for name, each in sorted(self.callees.items(), key=lambda item: -item[1].calls):
            if each.calls >= SHOWN_FROM * requests:
                yield f"{each.calls / requests:8.1f} {'  ' * depth}{name}"
                yield from each.lines(requests, depth + 1)


@dataclass(frozen=True)
class Counts:
    """The calls behind some requests of a kind, by their chains of callers."""

    kind: str
    requests: int
    chains: Sequence[tuple[tuple[str, ...], int]]

    @property
    def per_request(self) -> float:
        """All of them."""
        return sum(count for _, count in self.chains) / self.requests

    def by_module(self) -> list[tuple[str, float]]:
        """The modules with most calls first."""
        found: Counter[str] = Counter()
        for chain, count in self.chains:
            found[chain[-1].partition(":")[0]] += count
        return [(module, count / self.requests) for module, count in found.most_common()]

    def tree(self) -> Node:
        """Who calls whom."""
        root = Node()
        for chain, count in self.chains:
            at = root
            for name in chain:
                at = at.callees.setdefault(name, Node())
                at.calls += count
        return root


class Bench:
    """The daemon that counts, in front of the suite's backend."""

    def __init__(self, processes: Processes) -> None:
        folder = processes.folder / OURS
        folder.mkdir()
        port, self._output = free_port(), folder / "calls.json"
        command = contestants.KINDS[OURS].prepare(folder, port, start_backend(processes))
        argv = tuple("bench.counted_daemon" if each == "ollama_proxyd" else each for each in command.argv)
        environment = {**command.env, OUTPUT: str(self._output), "PYTHONPATH": str(tools.ROOT)}
        self._daemon: Server = processes.start(OURS, replace(command, argv=argv, env=environment), port)
        wait_until_ready(self._daemon, "/readyz")

    def count(self, kind: str) -> Counts:
        """The calls behind some requests on one connection, after others."""
        way = http.client.HTTPConnection("127.0.0.1", self._daemon.port, timeout=LIMIT_S)
        question: dict[str, object] = {"model": "bench", "stream": kind == "stream"}
        question["messages"] = [{"role": "user", "content": f"interval_us=2000 tokens={FRAMES}"}]
        body = json.dumps(question).encode()
        _ask(way, body, WARM_UP)
        self._daemon.process.send_signal(signal.SIGUSR1)
        _ask(way, body, COUNTED)
        self._daemon.process.send_signal(signal.SIGUSR2)
        deadline_s = time.monotonic() + LIMIT_S
        while not self._output.exists():
            if time.monotonic() > deadline_s:
                raise BenchError("the daemon wrote no counts")
            time.sleep(0.01)
        told = json.loads(self._output.read_text())
        self._output.unlink()
        way.close()
        return Counts(kind, COUNTED, [(tuple(chain), count) for *chain, count in told])


def _ask(way: http.client.HTTPConnection, body: bytes, times: int) -> None:
    for _ in range(times):
        way.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        answer = way.getresponse()
        answer.read()
        if answer.status != http.client.OK:
            raise BenchError(f"the daemon answered {answer.status}")


def render(all_counts: Sequence[Counts], modules: int) -> str:
    """The tables and the trees."""
    lines = ["| request | calls | goal |", "| --- | --- | --- |"]
    lines += [f"| {each.kind} | {each.per_request:.0f} | {GOALS[each.kind]} |" for each in all_counts]
    for each in all_counts:
        lines += ["", f"## {each.kind}: calls by module", "", "| module | calls |", "| --- | --- |"]
        lines += [f"| {module} | {calls:.1f} |" for module, calls in each.by_module()[:modules]]
        lines += ["", f"## {each.kind}: calls behind each function, itself included", "", "```"]
        lines += [*each.tree().lines(each.requests), "```"]
    return "\n".join(lines)


def main() -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="scripts/bench calls", description="Calls of functions behind a request.")
    parser.add_argument("--modules", type=int, default=30, help="how many modules are shown (30)")
    options = parser.parse_args()
    tools.CACHE.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="calls-"))
    try:
        with Processes(folder) as processes:
            bench = Bench(processes)
            text = render([bench.count(kind) for kind in GOALS], options.modules)
    except BenchError as error:
        print(f"scripts/bench calls: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
