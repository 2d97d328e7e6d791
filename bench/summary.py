"""Turns measurements into tables of ratios, each taken within one round, and holds them against the goals."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.contestants import BEFORE, DIRECT, LITELLM, NGINX, OURS, OURS_FOUR, OURS_GRPC, Contestant
from bench.measuring import Measurement

MIB = 1024 * 1024
NOTHING = "-"
CLOSED = (1, 16, 64, 256)
PACED = (64, 256)
WAYS = {
    "streams": ("server-sent events", OURS),
    "sockets": ("WebSocket", OURS),
    "ollama": ("Ollama's words, translated", OURS),
    "grpc": ("gRPC", OURS_GRPC),
}
"""How else ours is asked, and which of its contestants."""
Value = Callable[[Measurement], float]


@dataclass(frozen=True)
class Spread:
    """The values of all rounds."""

    values: tuple[float, ...]

    def __str__(self) -> str:
        if not self.values:
            return NOTHING
        middle, low, high = (_short(value) for value in (self.median, min(self.values), max(self.values)))
        return middle if low == high else f"{middle} ({low} … {high})"

    @property
    def median(self) -> float:
        """The middle of all rounds."""
        return median(self.values)


def _short(value: float) -> str:
    """Three digits that matter; whole numbers from a thousand on."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


class Results:
    """All that was measured in one run."""

    def __init__(
        self,
        measurements: Sequence[Measurement],
        started: Sequence[Contestant],
        names: Sequence[str],
        failures: Sequence[str] = (),
    ) -> None:
        self.names = names
        self.started = started
        self.thrown_away = sum(m.noisy for m in measurements)
        self.total = len(measurements)
        self.faults = [f"round {m.round}, {m.scenario}: {m.contestant}: {m.fault}" for m in measurements if m.fault]
        self.faults += failures
        self._by_place = {(m.scenario, m.contestant, m.round): m for m in measurements if not m.noisy}
        self.rounds = sorted({m.round for m in measurements if not m.noisy})

    def plain(self, scenario: str, name: str, value: Value) -> Spread:
        """A value in each clean round."""
        found = (self._by_place.get((scenario, name, turn)) for turn in self.rounds)
        return Spread(tuple(value(m) for m in found if m is not None))

    def ratio(self, scenario: str, name: str, to: str, value: Value) -> Spread:
        """A contestant's value divided by another's in the same round."""
        return self._paired(scenario, name, to, lambda mine, other: value(mine) / value(other))

    def added(self, scenario: str, name: str, value: Value) -> Spread:
        """A contestant's value less that of talking to the backend directly, in the same round."""
        return self._paired(scenario, name, DIRECT, lambda mine, other: value(mine) - value(other))

    def added_ratio(self, scenario: str, name: str, to: str, value: Value) -> Spread:
        """What another contestant adds, divided by what this one adds, in the same round."""
        added = []
        for turn in self.rounds:
            trio = [self._by_place.get((scenario, who, turn)) for who in (DIRECT, name, to)]
            direct, mine, other = (value(m) if m is not None else None for m in trio)
            if direct is not None and mine is not None and other is not None and mine > direct:
                added.append((other - direct) / (mine - direct))
        return Spread(tuple(added))

    def starts(self, name: str, value: Callable[[Contestant], float | None]) -> Spread:
        """A value of each start of a contestant."""
        found = (value(contestant) for contestant in self.started if contestant.name == name)
        return Spread(tuple(v for v in found if v is not None))

    def _paired(
        self, scenario: str, name: str, to: str, combine: Callable[[Measurement, Measurement], float]
    ) -> Spread:
        return self.across((scenario, name), (scenario, to), combine)

    def across(
        self, one: tuple[str, str], other: tuple[str, str], combine: Callable[[Measurement, Measurement], float]
    ) -> Spread:
        """What two measurements of a round come to together; each is a scenario and a contestant."""
        pairs = ((self._by_place.get((*place, turn)) for place in (one, other)) for turn in self.rounds)
        return Spread(tuple(combine(a, b) for a, b in pairs if a is not None and b is not None))


def _table(title: str, head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join([f"### {title}", "", *("| " + " | ".join(line) + " |" for line in lines), ""])


def _throughput(results: Results) -> str:
    rows = []
    for n in CLOSED:
        key = f"closed-{n}"
        for name in results.names:
            per_s = results.plain(key, name, lambda m: m.per_s)
            to_nginx = results.ratio(key, name, NGINX, lambda m: m.per_s)
            cpu = results.plain(key, name, lambda m: m.cpu_us_each) if name != DIRECT else NOTHING
            rows.append((n, name, per_s, to_nginx, cpu, results.plain(key, name, lambda m: m.p99_ms)))
    head = ("connections", "contestant", "requests/s", "÷ nginx", "CPU µs a request", "p99 ms")
    return _table("Requests in a closed loop", head, rows)


def _first_token(results: Results) -> str:
    rows: list[tuple[object, ...]] = []
    for name in results.names:
        if name == DIRECT:
            direct = (results.plain("ttft", DIRECT, value) for value in (lambda m: m.p50_ms, lambda m: m.p99_ms))
            rows.append((DIRECT, *(f"(itself {spread})" for spread in direct), NOTHING))
            continue
        added = (results.added("ttft", name, value) for value in (lambda m: m.p50_ms, lambda m: m.p99_ms))
        rows.append((name, *added, results.added_ratio("ttft", name, LITELLM, lambda m: m.p50_ms)))
    head = ("contestant", "added p50 ms", "added p99 ms", "LiteLLM adds … times as much (p50)")
    return _table("Time to the first token, one stream at a time", head, rows)


def _chunks(results: Results) -> str:
    rows = []
    for n in PACED:
        key = f"streams-{n}"
        for name in results.names:
            if name == DIRECT:
                continue
            added = (results.added(key, name, value) for value in (lambda m: m.p50_ms, lambda m: m.p99_ms))
            cpu = results.plain(key, name, lambda m: m.cpu_us_each)
            to_nginx = results.ratio(key, name, NGINX, lambda m: m.cpu_us_each)
            rows.append((n, name, *added, cpu, to_nginx, results.plain(key, name, lambda m: m.per_s)))
    head = ("streams", "contestant", "added delay p50 ms", "added p99 ms", "CPU µs a chunk", "÷ nginx", "chunks/s")
    return _table("Streams of 20 tokens/s", head, rows)


def _ways(results: Results) -> str:
    rows = []
    for n in PACED:
        for way, (what, name) in WAYS.items():
            key = f"{way}-{n}"
            values: tuple[Value, ...] = (lambda m: m.p50_ms, lambda m: m.p99_ms, lambda m: m.cpu_us_each)
            direct, nginx = ((f"streams-{n}", other) for other in (DIRECT, NGINX))
            added = results.across((key, name), direct, lambda mine, other: mine.p50_ms - other.p50_ms)
            to_nginx = results.across((key, name), nginx, lambda mine, other: mine.cpu_us_each / other.cpu_us_each)
            if added.values or to_nginx.values:
                rows.append((n, what, added, *(results.plain(key, name, value) for value in values), to_nginx))
    head = ("streams", "over", "added delay p50 ms", "delay p50 ms", "p99 ms", "CPU µs a chunk", "÷ nginx")
    return _table("Streams of 20 tokens/s through ours, by each of its ways", head, rows)


def _four(results: Results) -> str:
    """Ours with four backends divided by ours with one; nothing where the first took no part."""
    if OURS_FOUR not in results.names:
        return ""
    values: tuple[Value, ...] = (lambda m: m.p50_ms, lambda m: m.p99_ms, lambda m: m.cpu_us_each, lambda m: m.per_s)
    keys = ("ttft", *(f"streams-{n}" for n in PACED), *(f"closed-{n}" for n in CLOSED))
    rows = [(key, *(results.ratio(key, OURS_FOUR, OURS, value) for value in values)) for key in keys]
    return _table("Four backends ÷ one", ("scenario", "p50", "p99", "CPU each", "per second"), rows)


def _thousand(results: Results) -> str:
    values: tuple[Value, ...] = (
        lambda m: m.cores,
        lambda m: m.rss_bytes / MIB,
        lambda m: m.p50_ms,
        lambda m: m.p99_ms,
        lambda m: m.max_ms,
        lambda m: m.late_percent,
        lambda m: m.per_s,
    )
    rows = [(name, *(results.plain("streams-1000", name, value) for value in values)) for name in results.names]
    head = ("contestant", "cores", "RSS MiB", "delay p50 ms", "p99 ms", "max ms", "later than 20 ms, %", "chunks/s")
    return _table("1,000 open streams of 10 tokens/s", head, rows)


def _progress(results: Results) -> str:
    """This checkout divided by the earlier one; nothing where that one took no part."""
    if BEFORE not in results.names:
        return ""
    values: tuple[Value, ...] = (lambda m: m.p50_ms, lambda m: m.p99_ms, lambda m: m.cpu_us_each, lambda m: m.per_s)
    keys = ("ttft", *(f"streams-{n}" for n in (*PACED, 1000)), *(f"closed-{n}" for n in CLOSED))
    rows = [(key, *(results.ratio(key, OURS, BEFORE, value) for value in values)) for key in keys]
    return _table("Ours ÷ before", ("scenario", "p50", "p99", "CPU each", "per second"), rows)


def _idle_mib(contestant: Contestant) -> float | None:
    return None if contestant.idle_rss_bytes is None else contestant.idle_rss_bytes / MIB


def _starts(results: Results) -> str:
    rows = [
        (name, results.starts(name, lambda c: c.ready_s), results.starts(name, _idle_mib))
        for name in results.names
        if name != DIRECT
    ]
    return _table("Start and idle memory", ("contestant", "start to ready s", "idle RSS MiB"), rows)


@dataclass(frozen=True)
class Goal:
    """A bound on the median of one measured value; `at_most` is False for a lower bound."""

    what: str
    measured: Spread
    bound: float
    at_most: bool = True

    def row(self) -> tuple[str, str, str, str]:
        """The goal as a line of the table."""
        bound = f"{'≤' if self.at_most else '≥'} {self.bound:g}"
        if not self.measured.values:
            return self.what, bound, NOTHING, "not measured"
        met = self.measured.median <= self.bound if self.at_most else self.measured.median >= self.bound
        return self.what, bound, str(self.measured), "met" if met else "missed"


def _goals(results: Results, decision_us: Spread) -> str:
    thousand = "streams-1000"
    goals = (
        Goal("added TTFT p50, ms", results.added("ttft", OURS, lambda m: m.p50_ms), 0.42),
        Goal(
            "LiteLLM's added TTFT p50 ÷ ours",
            results.added_ratio("ttft", OURS, LITELLM, lambda m: m.p50_ms),
            40,
            at_most=False,
        ),
        *(
            Goal(
                f"requests/s ÷ nginx's, {n} connections",
                results.ratio(f"closed-{n}", OURS, NGINX, lambda m: m.per_s),
                bound,
                at_most=False,
            )
            for n, bound in ((1, 0.13), (16, 0.1))
        ),
        *(
            Goal(
                f"CPU a chunk ÷ nginx's, {n} streams",
                results.ratio(f"streams-{n}", OURS, NGINX, lambda m: m.cpu_us_each),
                1.6,
            )
            for n in PACED
        ),
        Goal(
            "CPU a chunk ÷ nginx's, translated, 256 streams",
            results.across(
                ("ollama-256", OURS), ("streams-256", NGINX), lambda one, other: one.cpu_us_each / other.cpu_us_each
            ),
            2.4,
        ),
        Goal(
            "four backends ÷ one, CPU a request, 16 connections",
            results.ratio("closed-16", OURS_FOUR, OURS, lambda m: m.cpu_us_each),
            1.05,
        ),
        *(
            Goal(
                f"delay of a chunk p50 over a WebSocket ÷ by server-sent events, {n} streams",
                results.across(
                    (f"sockets-{n}", OURS), (f"streams-{n}", OURS), lambda one, other: one.p50_ms / other.p50_ms
                ),
                1,
            )
            for n in PACED
        ),
        Goal("1,000 streams: CPU ÷ nginx's", results.ratio(thousand, OURS, NGINX, lambda m: m.cores), 1.6),
        Goal("1,000 streams: delay of a chunk p99, ms", results.plain(thousand, OURS, lambda m: m.p99_ms), 20),
        Goal("idle RSS, MiB", results.starts(OURS, _idle_mib), 60),
        Goal("decision among four backends, µs", decision_us, 100),
    )
    return _table("Goals", ("goal", "bound", "measured", "verdict"), (goal.row() for goal in goals))


def render(results: Results, decision_us: Spread) -> str:
    """The whole report in Markdown."""
    note = (
        f"Median (lowest … highest) of {len(results.rounds)} rounds; ratios are taken within a round. "
        f"{results.thrown_away} of {results.total} measurements were thrown away because others used the machine.\n"
    )
    tables = (_progress, _four, _first_token, _chunks, _ways, _thousand, _throughput, _starts)
    remarks = ["### Remarks", "", *(f"- {fault}" for fault in results.faults), ""] if results.faults else []
    return "\n".join([note, *(table(results) for table in tables), *remarks, _goals(results, decision_us)])
