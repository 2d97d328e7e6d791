"""The command line of the suite: rounds of all contestants in turn, then the report."""

import argparse
import json
import os
import platform
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import contestants, procfs, tools
from bench.contestants import ALL, DEFAULT, LITELLM, NGINX, Contestant
from bench.decision import decision_us
from bench.measuring import Measurement, Scenario, measure, scenarios
from bench.processes import BenchError, Command, ContestantError, Processes, Server
from bench.summary import Results, Spread, render

BACKEND_LIMIT_S = 5.0


class Suite:
    """One run: the backend, the load generator and the record of all that was measured."""

    def __init__(self, processes: Processes, names: Sequence[str], plan: Sequence[Scenario], record: Path) -> None:
        self.processes = processes
        self.names = names
        self.plan = plan
        self.record = record
        self.load = tools.build("load")
        self.backend = _start_backend(processes)
        self.measurements: list[Measurement] = []
        self.started: list[Contestant] = []
        self.failures: list[str] = []

    def round(self, turn: int) -> None:
        """Starts every contestant anew, measures them in turn in every scenario, and ends them."""
        running = [self._start(name, turn) for name in self.names]
        fit = list(running)
        for scenario in self.plan:
            for contestant in [c for c in fit if c.name not in scenario.skip]:
                try:
                    self._measure(scenario, contestant, turn)
                except ContestantError as failure:
                    self._lose(contestant, f"round {turn}, {scenario.key}: {failure}")
                    fit.remove(contestant)
        for contestant in running:
            if contestant.server is not None:
                self.processes.stop(contestant.server)

    def _start(self, name: str, turn: int) -> Contestant:
        contestant = contestants.start(self.processes, name, self.backend.port)
        warm_up = measure(self.load, WARM_UP, contestant, self._backend(), turn)
        if warm_up.fault:
            raise BenchError(f"{name} is not fit to be measured: {warm_up.fault}")
        self._say(f"round {turn}: {name} is ready")
        self.started.append(contestant)
        return contestant

    def _backend(self) -> tuple[int, int]:
        return self.backend.process.pid, self.backend.port

    def _measure(self, scenario: Scenario, contestant: Contestant, turn: int) -> None:
        result = measure(self.load, scenario, contestant, self._backend(), turn)
        self.measurements.append(result)
        with self.record.open("a") as record:
            record.write(result.as_json() + "\n")
        flags = [f"others used {result.others_cores:.2f} cores"] if result.noisy else []
        flags += [result.fault] if result.fault else []
        self._say(
            f"round {turn}: {scenario.key} {contestant.name}: {result.per_s:.0f}/s, "
            f"p50 {result.p50_ms:.3f} ms, p99 {result.p99_ms:.3f} ms, {result.cpu_us_each:.1f} CPU µs each"
            + "".join(f" [{flag}]" for flag in flags)
        )

    def _lose(self, contestant: Contestant, what: str) -> None:
        code = contestant.server.process.poll() if contestant.server else None
        ended = "" if code is None else f" (it has ended with status {code})"
        self.failures.append(f"{what}{ended}; it was left out for the rest of the round")
        self._say(self.failures[-1])

    @staticmethod
    def _say(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


WARM_UP = Scenario("warm-up", "closed", (4, 1000, 300))


def _start_backend(processes: Processes) -> Server:
    server = processes.start("backend", Command((tools.build("backend"),)), port=0)
    deadline_s = time.monotonic() + BACKEND_LIMIT_S
    while time.monotonic() < deadline_s:
        line = server.log.read_text()
        if line.endswith("\n"):
            return Server(server.process, int(json.loads(line)["port"]), server.log)
        time.sleep(0.01)
    raise BenchError("the backend did not start")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="The proxy, nginx and LiteLLM side by side.")
    parser.add_argument("--quick", action="store_true", help="short measurements and two rounds: a smoke test")
    parser.add_argument("--rounds", type=int, help="how often everyone has a turn (5; 2 when quick)")
    parser.add_argument("--minutes", type=float, default=40, help="no further round begins after this time (40)")
    parser.add_argument("--only", metavar="NAMES", help=f"these contestants alone, of {','.join(ALL)}")
    parser.add_argument("--without", metavar="NAMES", default="", help="leave these contestants out, say litellm")
    parser.add_argument("--scenario", metavar="KEYS", help="these scenarios alone, say ttft,closed-1")
    parser.add_argument("--before", metavar="DIR", type=Path, help="also an earlier checkout of this project")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 5)
    chosen = options.only.split(",") if options.only else list(DEFAULT)
    options.names = [name for name in chosen if name not in options.without.split(",")]
    unknown = [name for name in [*options.names, *filter(None, options.without.split(","))] if name not in ALL]
    if unknown:
        parser.error(f"no such contestant: {', '.join(unknown)} (there are {', '.join(ALL)})")
    if options.before:
        contestants.KINDS[contestants.BEFORE] = contestants.before(options.before)
        options.names.append(contestants.BEFORE)
    options.plan = scenarios(quick=options.quick)
    if options.scenario:
        wanted = options.scenario.split(",")
        if odd := set(wanted) - {scenario.key for scenario in options.plan}:
            parser.error(f"no such scenario: {', '.join(sorted(odd))}")
        options.plan = [scenario for scenario in options.plan if scenario.key in wanted]
    return options


def _machine(names: Sequence[str]) -> str:
    parts = [
        f"{os.cpu_count()} cores of {procfs.cpu_model()}",
        f"Linux {platform.release()}",
        f"Python {platform.python_version()}",
    ]
    if NGINX in names:
        parts.append(tools.version_of([tools.nginx(), "-v"]))
    if LITELLM in names:
        python = str(Path(tools.litellm()).parent / "python")
        ask = "import importlib.metadata as m; print(m.version('litellm'))"
        parts.append("LiteLLM " + tools.version_of([python, "-c", ask]))
    return "; ".join(parts)


def _prepare() -> Path:
    """Opens enough files, makes the folder of this run, and lets SIGTERM clean up like Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    tools.CACHE.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="run-", dir=tools.CACHE))


def _run(options: argparse.Namespace, folder: Path) -> None:
    record = tools.CACHE / "results.jsonl"
    record.unlink(missing_ok=True)
    machine = _machine(options.names)
    with Processes(folder) as processes:
        suite = Suite(processes, options.names, options.plan, record)
        deadline_s = time.monotonic() + options.minutes * 60
        for turn in range(1, options.rounds + 1):
            if turn == 1 or time.monotonic() < deadline_s:
                suite.round(turn)
    decision = Spread(decision_us(options.rounds) if contestants.OURS in options.names else ())
    results = Results(suite.measurements, suite.started, options.names, suite.failures)
    print(f"{machine}\n\n{render(results, decision)}")


def main() -> int:
    """Runs the suite; what it measured stays in .cache/bench/results.jsonl."""
    options = _options()
    folder = _prepare()
    try:
        _run(options, folder)
    except BenchError as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
