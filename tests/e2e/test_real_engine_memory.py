"""Six models in a memory for two: real llama-servers take turns, and no request notices but by its wait."""

import http.client
import json
import os
import queue
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from scripts.make_tiny_gguf import THINK, Shape, build
from tests.belady import fewest_evictions
from tests.e2e.harness import Daemon, StartDaemon, config_of

pytestmark = pytest.mark.real
LAYERS = range(11, 17)
MODELS = [f"layers{count}" for count in LAYERS]
ROOM_FOR = 2
BUDGET_GB = 0.29
"""Any two fit by the kernel's count, some 95 to 130 MB each, and no three."""
REQUESTS, CLIENTS = 200, 16
LONGEST_S = 500.0
KIB = 1024


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for layers, name in zip(LAYERS, MODELS, strict=True):
        shape = Shape(dim=256, layers=layers, heads=8, kv_heads=4, ffn=1024, ctx=8192, seed=layers, name=name)
        build(folder / f"{name}.gguf", shape)
    return folder


class Asked(NamedTuple):
    """What became of a request."""

    model: str
    status: int
    said: str


def children(pid: int) -> list[int]:
    """The processes that a process has started, by the kernel."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(number) for task in tasks for number in task.read_text().split()]


class KernelsCount:
    """What the engines of a daemon have of main memory together, looked at again and again (proc(5), Pss)."""

    def __init__(self, daemon: Daemon) -> None:
        self._pid = daemon.pid
        self.most_bytes = self.most_processes = self.looks = 0

    def look(self) -> None:
        sizes = []
        for pid in children(self._pid):
            with suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                sizes += [int(line.split()[1]) * KIB for line in lines if line.startswith("Pss:")]
        self.most_bytes = max(self.most_bytes, sum(sizes))
        self.most_processes = max(self.most_processes, len(sizes))
        self.looks += 1

    @contextmanager
    def looking(self) -> Iterator[None]:
        is_over = threading.Event()

        def go_on() -> None:
            while not is_over.wait(0.02):
                self.look()

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()


def ask(daemon: Daemon, model: str, number: int) -> Asked:
    url = urlsplit(daemon.url)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=LONGEST_S)
    messages = [{"role": "user", "content": f"hello {number}"}]
    body = json.dumps({"model": model, "messages": messages, "max_tokens": 4, "temperature": 0})
    try:
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        answer = json.loads(reply.read())
        is_good = reply.status == 200
        said = answer["choices"][0]["message"]["reasoning_content"] if is_good else json.dumps(answer)
        return Asked(model, reply.status, said)
    finally:
        connection.close()


def ask_all(daemon: Daemon, wanted: Sequence[str]) -> list[Asked]:
    """By as many clients as there are, each with one request after the other."""
    left: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
    for pair in enumerate(wanted):
        left.put(pair)
    answers: list[Asked] = []

    def go_on() -> None:
        with suppress(queue.Empty):
            while True:
                number, model = left.get_nowait()
                answers.append(ask(daemon, model, number))

    clients = [threading.Thread(target=go_on) for _ in range(CLIENTS)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    return answers


@pytest.mark.timeout(600)
def test_200_requests_over_six_models_in_a_memory_for_two(
    models_dir: Path, llama_program: Path, start_daemon: StartDaemon
) -> None:
    config = config_of(
        engines=[{"id": "llama", "hardware": "cpu", "slots": 4}],
        models_dir=str(models_dir),
        memory_budget={"ram_gb": BUDGET_GB},
        routing={"queue": {"max_wait_s": LONGEST_S}},
    )
    path = f"{llama_program.parent}:{os.environ['PATH']}"
    daemon = start_daemon(config, env={"PATH": path}).ready(*MODELS)
    rarely = [1 / (1 + number) for number in range(len(MODELS))]
    wanted = random.Random(7).choices(MODELS, rarely, k=REQUESTS)

    count = KernelsCount(daemon)
    with count.looking():
        answers = ask_all(daemon, wanted)

    assert len(answers) == REQUESTS
    assert {(each.status, each.said) for each in answers} == {(200, " ".join(THINK.split()[:4]))}
    assert sorted(each.model for each in answers) == sorted(wanted)
    told = daemon.get("/status").json()
    fewest = fewest_evictions(wanted, ROOM_FOR)
    evictions = told["evictions_total"]
    print(  # noqa: T201 - read in CI
        f"{REQUESTS} requests by {CLIENTS} clients: {evictions} evictions, {fewest} by Belady in the order of arrival, "
        f"ratio {evictions / fewest:.2f}; at most {count.most_bytes / 1e6:.0f} of {BUDGET_GB * 1e3:.0f} MB in "
        f"{count.most_processes} processes, in {count.looks} looks"
    )
    assert count.looks > 10
    assert 0 < count.most_bytes <= BUDGET_GB * 1e9
    assert evictions <= fewest
