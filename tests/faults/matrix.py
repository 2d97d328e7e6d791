"""Every kind of fault in every pair of dialects, streamed or not, alone or with a good second backend of either."""

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tests.e2e.harness import backend
from tests.faults.client import Asked, Outcome, Seen, ask
from tests.faults.kinds import KINDS, Kind, Port
from tests.faults.rig import CHEAP, DEAR, Books, CountedDaemon, Upstream, each_within

APIS = ("openai", "ollama")
CLIENTS = (*APIS, "anthropic")
FLAVORS = {"openai": {"flavor": "llamacpp"}, "ollama": {}}
BATCH = 48
AT_ONCE = 48
HEAVY_AT_ONCE = 3
SLOTS = 512
FEW = 0.25
MOST_LINES = 20
SLOW = {"stall", "trickle"}
"""Families that wait; they wait together."""


@dataclass(frozen=True)
class Case:
    """One request to a backend with a fault."""

    number: int
    kind: Kind
    backend_api: str
    client_api: str
    stream: bool
    second_api: str | None
    """What the good second backend speaks; None where there is none."""

    @property
    def has_second(self) -> bool:
        return self.second_api is not None

    @property
    def model(self) -> str:
        """The second backend of a batch knows models by their numbers."""
        return f"m{self.number}" if self.has_second else f"alone{self.number}"

    @property
    def name(self) -> str:
        shape = ("stream" if self.stream else "whole") + (f" +{self.second_api}" if self.second_api else "")
        return f"{self.kind.name} {self.backend_api}<{self.client_api} {shape}"


@dataclass(frozen=True)
class Row:
    """What became of a case."""

    case: Case
    seen: Seen
    reached: bool
    again: "Row | None" = None
    """What became of it when it was asked once more, alone."""

    @property
    def is_saved(self) -> bool:
        return self.reached and self.seen.outcome is Outcome.WHOLE


FEW_OF_EACH = 4
"""Cases of a kind in a quick run: another seed draws others."""


def is_asked_for_a_stream(backend_api: str, client_api: str) -> bool:
    """Whether the engine streams what the client gets in one piece, so that no fault of a whole answer can reach it."""
    return backend_api == "openai" and client_api != "openai"


def cases(names: Iterable[str] = KINDS, seed: int = 0, *, everything: bool = True) -> list[Case]:
    """The cases, mixed: every combination, or some of each kind."""
    chance = random.Random(seed)
    found = []
    for kind in map(KINDS.__getitem__, names):
        each = [
            (kind, *choices)
            for choices in itertools.product(APIS, CLIENTS, (True, False), (None, *APIS))
            if kind.shape in ("", "stream" if choices[2] else "whole")
            and not (kind.shape == "whole" and is_asked_for_a_stream(*choices[:2]))
            and (choices[3] == choices[0] if kind.everywhere else True)
        ]
        found += each if everything else chance.sample(each, min(FEW_OF_EACH, len(each)))
    chance.shuffle(found)
    found.sort(key=lambda each: (each[0].is_heavy, each[0].family in SLOW))
    return [Case(number, *each) for number, each in enumerate(found)]


class Matrix:
    """Runs cases in batches: each case has a backend of its own, so that none suffers from what another one did."""

    def __init__(self, daemon: CountedDaemon, upstream: Upstream) -> None:
        self.daemon = daemon
        self.upstream = upstream
        self.rows: list[Row] = []
        self.before = daemon.books()
        self.left: list[Books] = []
        """What was still held after each batch."""

    async def run(self, todo: Sequence[Case]) -> None:
        for at in range(0, len(todo), BATCH):
            batch = todo[at : at + BATCH]
            self.daemon.reload(
                [entry for entries in map(self._backends, batch) for entry in entries] + self._good(batch)
            )
            self.upstream.control("arm")
            await self._run(batch)
            self.left.append(self.daemon.settled(lambda books: not books.in_flight))
            self.upstream.control("disarm")

    async def ask_again(self) -> None:
        """Ask once more, each alone and with new backends, what was not saved of the kinds with few cases."""
        rows, tried = self.rows, Counter(row.case.kind.name for row in self.rows if could_be_whole(row))
        for at, row in enumerate(rows):
            if could_be_whole(row) and not row.is_saved and tried[row.case.kind.name] <= FEW_OF_EACH:
                self.rows = []
                await self.run([replace(row.case, number=len(rows) + at)])
                rows[at] = replace(row, again=self.rows[0])
        self.rows = rows

    def why(self, row: Row) -> str:
        """What the daemon told of a row: the reason of the route, its log lines, and those of the good backends."""
        headers = row.seen.headers or {}
        identity = headers.get("x-request-id", "no id")
        lines = self.daemon.log.read_text().splitlines()
        told = [line for line in lines if identity in line or "backend good-" in line]
        return "\n  ".join([f"{identity}: {headers.get('x-routing-reason', 'no reason')}", *told[-MOST_LINES:]])

    async def _run(self, batch: Sequence[Case]) -> None:
        light, heavy = ([case for case in batch if case.kind.is_heavy is is_heavy] for is_heavy in (False, True))
        seen = await each_within(AT_ONCE, (partial(self._ask, case) for case in light))
        seen += await each_within(HEAVY_AT_ONCE, (partial(self._ask, case) for case in heavy))
        hits = self.upstream.control("hits")["hits"]
        for case, each in zip([*light, *heavy], seen, strict=True):
            reached = case.kind.port is not Port.SHARED or hits.get(str(case.number), 0) > case.kind.warms
            self.rows.append(Row(case, each, reached))

    async def _ask(self, case: Case) -> Seen:
        asked = Asked(case.client_api, case.model, case.stream, case.kind.texts, is_whole=case.kind.shape == "whole")
        if case.kind.warms:
            await ask(self.daemon.port, asked)
        return await ask(self.daemon.port, asked, case.kind.prompt_bytes)

    def _backends(self, case: Case) -> Iterator[dict[str, Any]]:
        """The backend with the fault, and another one of the same kind where the fault is everywhere."""
        at = case.number % BATCH
        yield self._entry(f"f{at:03d}", case, case.number, CHEAP)
        if case.kind.everywhere:
            yield self._entry(f"g{at:03d}", case, f"{case.number}b", DEAR)

    def _entry(self, identity: str, case: Case, number: int | str, speed: dict[str, Any]) -> dict[str, Any]:
        kind, api = case.kind, case.backend_api
        url = self.upstream.url
        if kind.port is not Port.SHARED:
            url = f"http://127.0.0.1:{self.upstream.control('listen', kind.name)}"
        address = f"{url}/c/{kind.name}/{api}/{number}/{case.model}"
        return backend(identity, address, api, "npu", slots=SLOTS, characteristics=speed, **FLAVORS[api])

    def _good(self, batch: Sequence[Case]) -> list[dict[str, Any]]:
        """The second backends, which know the models of the cases that have one."""
        found = []
        for api in APIS:
            numbers = [case.number for case in batch if case.second_api == api and not case.kind.everywhere]
            if numbers:
                known = ",".join(map(str, numbers))
                address = f"{self.upstream.url}/good/{api}/{known}"
                entry = backend(
                    f"good-{api}", address, api, "nvidia", slots=SLOTS, characteristics=DEAR, **FLAVORS[api]
                )
                found.append(entry)
        return found


def faults(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows that are wrong or lost, by kind."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.reached and row.seen.outcome in {Outcome.WRONG, Outcome.LOST}:
            found[row.case.kind.name].append(row)
    return found


def could_be_whole(row: Row) -> bool:
    """Whether a fault was met that should do no harm: harmless kinds need no second backend."""
    return row.reached and (row.case.kind.is_harmless or counts_as_savable(row.case))


def unsaved(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows that are not whole although they could be, by kind.

    A few may be the fault of a machine that is too busy: of many a share, of few those that are saved when asked again.
    """
    tried: Counter[str] = Counter()
    found: dict[str, list[Row]] = defaultdict(list)
    for row in filter(could_be_whole, rows):
        tried[row.case.kind.name] += 1
        if not row.is_saved:
            found[row.case.kind.name].append(row)
    few = {name: [row for row in failed if not (row.again and row.again.is_saved)] for name, failed in found.items()}
    return {
        name: few[name] if tried[name] <= FEW_OF_EACH else failed
        for name, failed in found.items()
        if (few[name] if tried[name] <= FEW_OF_EACH else len(failed) > FEW * tried[name])
    }


def counts_as_savable(case: Case) -> bool:
    """Whether a good second backend could have answered."""
    return case.has_second and not case.kind.is_clients and not case.kind.everywhere


def table(rows: Sequence[Row]) -> str:
    """The counts by family."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in (row for row in rows if row.reached):
        for name in (row.case.kind.family, "sum, alone" if not row.case.has_second else "sum, with a second"):
            counts[name][row.seen.outcome.value] += 1
            counts[name]["injected"] += 1
            if counts_as_savable(row.case):
                counts[name]["savable"] += 1
                counts[name]["saved"] += row.seen.outcome is Outcome.WHOLE
    columns = ("injected", *(outcome.value for outcome in Outcome))
    lines = [f"{'family':24}" + "".join(f"{column:>12}" for column in columns) + f"{'with second':>14}"]
    for name, count in sorted(counts.items(), key=lambda pair: (pair[0].startswith("sum"), pair[0])):
        share = f"{count['saved']}/{count['savable']}" if count["savable"] else ""
        lines.append(f"{name:24}" + "".join(f"{count[column]:12}" for column in columns) + f"{share:>14}")
    missed = sum(not row.reached for row in rows)
    return "\n".join([*lines, f"{missed} requests did not reach the fault and are left out"])
