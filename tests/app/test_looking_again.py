"""How often the daemon looks for engines while none answers, and what becomes of those that answer late."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import pytest

from ollama_proxyd.app import sources
from ollama_proxyd.app.sources import Demo, lengthening
from ollama_proxyd.core.requests import Api
from ollama_proxyd.edges.backends.detect import Detected, Look
from tests.app.conftest import Running, Start
from tests.app.test_reload import CALM, Upstream, upstream  # noqa: F401 - a fixture
from tests.fakes import spec_of

CONFIG: dict[str, Any] = {**CALM, "detection": {"ports": [1, 2, 3], "interval_s": 0.01}}


def test_looks_that_find_nothing_become_rarer_and_never_stop() -> None:
    assert list(islice(lengthening(5.0), 7)) == [5, 5, 10, 20, 20, 20, 20]


class Laptop:
    """An engine that answers in time, one on port 2 that answers late, and on port 3 something that never does."""

    def __init__(self, quick: str) -> None:
        self.quick = [Detected(spec_of("quick", api=Api.OPENAI, endpoint=quick), "quick")]
        self.late = Detected(spec_of("late", endpoint="http://127.0.0.1:2"), "late")
        self.waited_for: list[int] = []

    async def detect(self, ports: Iterable[int]) -> Look:
        return Look(tuple(self.quick), frozenset({2, 3} & set(ports)))

    async def detect_late(self, ports: Iterable[int]) -> Look:
        self.waited_for += ports
        return Look((self.late,) if 2 in ports else (), frozenset({3} & set(ports)))


@pytest.fixture
def laptop(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> Laptop:  # noqa: F811
    laptop = Laptop(upstream.url)
    monkeypatch.setattr(sources, "detect", laptop.detect)
    monkeypatch.setattr(sources, "detect_late", laptop.detect_late)
    return laptop


async def until_known(running: Running, *ids: str) -> None:
    await running.until(running.services.fleet.views, lambda views: {view.spec.id for view in views} == set(ids))


async def test_an_engine_that_answers_late_is_waited_for_beside_one_that_does_not(start: Start, laptop: Laptop) -> None:
    running = await start(CONFIG, demo=Demo.NEVER)
    await until_known(running, "quick", "late")
    assert sorted(laptop.waited_for) == [2, 3]


async def test_an_engine_that_answers_late_is_found_alone(start: Start, laptop: Laptop) -> None:
    laptop.quick.clear()
    running = await start(CONFIG, demo=Demo.NEVER)
    await until_known(running, "late")


async def test_a_reload_keeps_a_found_engine_that_is_late(start: Start, laptop: Laptop) -> None:
    running = await start(CONFIG, demo=Demo.NEVER)
    await until_known(running, "quick", "late")
    await running.rewrite(CONFIG)
    assert running.services.fleet.has("late")
    await running.rewrite({**CONFIG, "detection": {"ports": [1, 3]}})
    assert not running.services.fleet.has("late")


async def test_what_never_answers_is_waited_for_once(start: Start, laptop: Laptop) -> None:
    running = await start(CONFIG, demo=Demo.NEVER)
    await until_known(running, "quick", "late")
    for _ in range(3):
        await running.rewrite(CONFIG)
    assert sorted(laptop.waited_for) == [2, 3]
