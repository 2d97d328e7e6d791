"""scripts/soak: a mixed load with random faults, reloads and mode switches; nothing may be left or missing."""

import argparse
import asyncio
import json
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.e2e.harness import backend
from tests.faults.answers import ASK
from tests.faults.client import PATHS, Asked, Outcome, ask, exchange, parse, request, request_for
from tests.faults.kinds import KINDS, Port
from tests.faults.rig import CHEAP, DEAR, Books, CountedDaemon, Upstream

CLIENTS = 12
MODES = ("Performance", "Balanced", "Efficiency", "Quiet", "UltraEfficiency")
MODEL = "m1"
EMBEDS = "m2embed"
MORE_MB = 60
MORE_TASKS = 4
"""Timers of a mode that was just chosen, and connections of the test's own."""
CHANGE_S = 5.0
PAUSE_S = 0.05
UNREAD = "left before the answer"
"""Such a request counts only where it was read."""
CHECKS = {"health_interval_s": 5, "health_recheck_s": 0.5, "health_timeout_s": 5}


def kinds() -> list[str]:
    """The faults that a backend can have at any time, without the slow and the heavy ones.

    Those whose engine says another text are left out too: an answer that moves in the middle would be of two texts.
    """
    slow = {"stall", "trickle"}
    return [
        kind.name
        for kind in KINDS.values()
        if kind.port is Port.SHARED and not (kind.texts or kind.is_heavy or kind.prompt_bytes or kind.family in slow)
    ]


class Soak:
    """One run: who asks what, and what became of it."""

    def __init__(self, daemon: CountedDaemon, upstream: Upstream, seed: int) -> None:
        self.daemon = daemon
        self.upstream = upstream
        self.chance = random.Random(seed)
        self.names = kinds()
        self.sent: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.bad: list[str] = []
        self.turn = 0

    def backends(self) -> list[dict[str, Any]]:
        """A cheap backend with a fault, and a dear one without, of each dialect."""
        self.turn += 1
        found = []
        for api, flavor in (("openai", {"flavor": "llamacpp"}), ("ollama", {})):
            fault = self.chance.choice(self.names)
            bad = f"{self.upstream.url}/c/{fault}/{api}/{self.turn}/{MODEL}"
            good = f"{self.upstream.url}/good/{api}/1,2embed"
            found.append(backend(f"bad-{api}", bad, api, "npu", slots=64, characteristics=CHEAP, **flavor))
            found.append(backend(f"good-{api}", good, api, "nvidia", slots=64, characteristics=DEAR, **flavor))
        return found

    async def client(self, until_s: float) -> None:
        """Asks one thing after another."""
        asks: list[Callable[[], Coroutine[Any, Any, None]]] = [self.chat, self.chat, self.chat, self.embed, self.vanish]
        while time.monotonic() < until_s:
            await self.chance.choice(asks)()
            await asyncio.sleep(self.chance.random() * PAUSE_S)

    async def chat(self) -> None:
        api, stream = self.chance.choice(tuple(PATHS)), self.chance.random() < 0.6
        seen = await ask(self.daemon.port, Asked(api, MODEL, stream))
        self._note(f"{api} {'stream' if stream else 'whole'}", seen.outcome, seen.why)

    async def embed(self) -> None:
        api = self.chance.choice(tuple(PATHS))
        sent = request_for(api, {"model": EMBEDS, "input": ASK}, "/v1/embeddings" if api == "openai" else "/api/embed")
        got, in_time = await exchange(self.daemon.port, sent)
        status, _, body = parse(got)
        outcome = Outcome.WHOLE if in_time and status == 200 and json.loads(body) else Outcome.WRONG
        self._note(f"{api} embeddings", outcome, f"{status} {body[:100]!r}")

    async def vanish(self) -> None:
        """A client that leaves in the middle of its answer, or before it, when its request may not have been read."""
        waits = self.chance.random() < 0.5
        reader, writer = await asyncio.open_connection("127.0.0.1", self.daemon.port)
        writer.write(request(self.chance.choice(tuple(PATHS)), MODEL, stream=True))
        await writer.drain()
        await (reader.read(1) if waits else asyncio.sleep(self.chance.random() * PAUSE_S))
        writer.close()
        self._note("left in the answer" if waits else UNREAD, None, "")

    def _note(self, what: str, outcome: Outcome | None, why: str) -> None:
        self.sent[what] += 1
        self.outcomes[f"{what}: {outcome.value if outcome else 'left'}"] += 1
        if outcome is Outcome.HONEST:
            self.ends[re.sub(r"backend \S+ at \S+|[0-9.]{2,}", "…", why)[:70]] += 1
        if outcome in {Outcome.WRONG, Outcome.LOST}:
            self.bad.append(f"{what}: {why} (turn {self.turn})"[:300])

    async def change(self, until_s: float) -> None:
        """Other faults, a reload, and another mode, every few seconds."""
        while time.monotonic() < until_s - CHANGE_S:
            await asyncio.sleep(CHANGE_S * (0.5 + self.chance.random()))
            mode = self.chance.choice(MODES)
            await asyncio.to_thread(self.daemon.post, "/efficiency", {"mode": mode})
            if self.chance.random() < 0.8:
                await asyncio.to_thread(self.daemon.replace, self.backends())
            else:
                self.daemon.signal(signal.SIGHUP)

    async def run(self, minutes: float) -> None:
        until_s = time.monotonic() + minutes * 60
        clients = [asyncio.create_task(self.client(until_s)) for _ in range(CLIENTS)]
        await asyncio.gather(self.change(until_s), *clients)


def ended(soak: Soak, outcome: Outcome) -> int:
    """How many of those who stayed saw this."""
    return sum(count for what, count in soak.outcomes.items() if what.endswith(f": {outcome.value}"))


def unaccounted(soak: Soak, counted: Counter[str], booked: int) -> list[str]:
    """Where the daemon's books differ from what the clients saw; how one ended that left is not known."""
    sent, unread, total = sum(soak.sent.values()), soak.sent[UNREAD], counted.total()
    left = sum(count for what, count in soak.outcomes.items() if what.endswith(": left"))
    whole, honest, cancelled = ended(soak, Outcome.WHOLE), ended(soak, Outcome.HONEST), counted["cancelled"]
    failed = total - counted["ok"] - cancelled
    checks = {
        f"{sent} requests were sent, {unread} perhaps unread, and {total} are in /metrics": sent - unread
        <= total
        <= sent,
        f"{whole} answers were whole, {left} clients left, and {counted['ok']} are in /metrics": whole
        <= counted["ok"]
        <= whole + left,
        f"{honest} answers ended in an error, {left} clients left, and {failed} are in /metrics": honest
        <= failed
        <= honest + left,
        f"{left} clients left, and {cancelled} are in /metrics": cancelled <= left,
        f"{total} requests are in /metrics and {booked} in the ledger": total == booked,
    }
    return [what for what, holds in checks.items() if not holds]


def complaints(soak: Soak, before: Books, after: Books) -> list[str]:
    """What is not as it must be."""
    checks = {
        f"{len(soak.bad)} wrong or lost: {soak.bad[:5]}": not soak.bad,
        f"{after.in_flight} requests are still under way": not after.in_flight,
        f"{after.tasks} tasks instead of {before.tasks}: {soak.daemon.tasks()[:50]}": after.tasks
        <= before.tasks + MORE_TASKS,
        f"{after.fds} file descriptors instead of {before.fds}": after.fds <= before.fds + 4,
        f"{after.rss_mb:.0f} MB instead of {before.rss_mb:.0f}": after.rss_mb <= before.rss_mb + MORE_MB,
        "the log has a traceback": "Traceback" not in soak.daemon.log.read_text(),
    }
    return [what for what, holds in checks.items() if not holds]


def report(soak: Soak, before: Books, after: Books, counted: Counter[str]) -> str:
    """The table."""
    lines = [f"{what:32}{count:8}" for what, count in sorted(soak.outcomes.items())]
    lines += [f"  {count:6} ended so: {why}" for why, count in soak.ends.most_common(12)]
    lines += [f"{'sum sent':32}{sum(soak.sent.values()):8}"]
    lines += [f"{f'in /metrics: {status}':32}{count:8}" for status, count in sorted(counted.items())]
    lines += [f"{'changes of faults':32}{soak.turn:8}", f"before {before}", f"after  {after}"]
    return "\n".join(lines)


def run(minutes: float, seed: int, folder: Path) -> list[str]:
    """The whole soak; what went wrong."""
    upstream, daemon = Upstream(folder), CountedDaemon(folder, [], monitoring=CHECKS)
    try:
        soak = Soak(daemon.alive(), upstream, seed)
        daemon.reload(soak.backends())
        asyncio.run(soak.run(min(0.2, minutes)))  # what grows once, such as pools and caches, has grown
        before = daemon.settled(lambda books: not books.in_flight)
        asyncio.run(soak.run(minutes))
        after = daemon.settled(
            lambda books: not books.in_flight and books.tasks <= before.tasks and books.fds <= before.fds
        )
        counted = daemon.by_label("ollama_proxy_requests_total", "status")
        booked = daemon.get("/status").json()["today"]["requests"]
        sys.stdout.write(report(soak, before, after, counted) + "\n")
        return unaccounted(soak, counted, booked) + complaints(soak, before, after)
    finally:
        daemon.stop()
        upstream.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20, help="how long the load lasts (20)")
    parser.add_argument("--seed", type=int, default=0, help="which faults come in which order (0)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wrong = run(options.minutes, options.seed, Path(folder))
    sys.stdout.write("".join(f"WRONG: {what}\n" for what in wrong) or "all is well\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
