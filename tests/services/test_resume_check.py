"""What is made of backends after the machine slept."""

from dataclasses import replace
from typing import Any

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.events import Timings, Usage
from ollama_proxyd.core.fleet import LoadedModel
from ollama_proxyd.core.requests import Operation
from ollama_proxyd.services.health import HealthMonitor
from ollama_proxyd.services.learner import Learner
from ollama_proxyd.services.resume_check import FIRST_REQUESTS, SLOW_COUNTS_S, GpuLossDetector
from tests.fakes import FakeBackend, FakeClock, FakeFleet
from tests.reasons import because

MODEL = "tiny:latest"


class Laptop:
    """One GPU backend whose engine may lose its GPU."""

    def __init__(self) -> None:
        self.backend = FakeBackend("nvidia", loaded=[LoadedModel(MODEL, 100, 100)])
        self.clock = FakeClock()
        self.learner = Learner()
        self.fleet = FakeFleet(self.clock, self.learner)
        self.fleet.have(self.backend)
        self.health = HealthMonitor(self.fleet, self.clock)
        self.detector = GpuLossDetector(self.fleet, self.learner)

    async def loads(self, vram: int) -> str:
        self.backend.loaded = (LoadedModel(MODEL, 100, vram),)
        await self.health.check_all()
        return self.degraded

    async def unloads(self) -> str:
        self.backend.loaded = ()
        await self.health.check_all()
        return self.degraded

    def answers(self, tps: float) -> str:
        ended = replace(ENDED, timings=Timings(decode_s=50 / tps))
        self.learner.observe(ended)
        self.detector.observe(ended)
        return self.degraded

    @property
    def degraded(self) -> str:
        return str(self.fleet.view("nvidia").degraded or "")

    @property
    def learned_tps(self) -> Any:
        return self.learner.speeds("nvidia")[MODEL].decode_tps


ENDED = AttemptEnded("nvidia", MODEL, Operation.CHAT, "r", 0.0, 1.0, usage=Usage(completion_tokens=50))


async def test_a_model_that_comes_back_without_its_gpu_is_shown_until_it_has_it_again() -> None:
    laptop = Laptop()
    assert await laptop.loads(100) == ""
    laptop.detector.remember()
    assert "fell back to the CPU" in await laptop.loads(0)
    assert await laptop.loads(100) == ""


async def test_before_any_sleep_nothing_is_suspected() -> None:
    laptop = Laptop()
    await laptop.loads(100)
    assert await laptop.loads(0) == ""
    assert all(not laptop.answers(tps) for tps in (60, 60, 60, 5))


async def test_a_slow_answer_after_the_sleep_replaces_what_was_learned_before() -> None:
    laptop = Laptop()
    await laptop.loads(100)
    for _ in range(5):
        laptop.answers(60)
    laptop.detector.remember()
    assert "5 tokens/s instead of 60" in laptop.answers(5)
    assert round(laptop.learned_tps) == 5
    assert laptop.answers(58) == ""
    assert round(laptop.learned_tps) == 58


async def test_speed_is_judged_only_in_the_first_answers_after_the_sleep() -> None:
    laptop = Laptop()
    await laptop.loads(100)
    for _ in range(5):
        laptop.answers(60)
    laptop.detector.remember()
    for _ in range(10):
        laptop.answers(60)
    assert laptop.answers(5) == ""


async def test_a_learned_speed_is_not_counted_on_without_the_gpu() -> None:
    laptop = Laptop()
    await laptop.loads(100)
    laptop.answers(60)
    laptop.detector.remember()
    await laptop.loads(0)
    assert MODEL not in laptop.learner.speeds("nvidia")


async def test_a_reload_of_the_configuration_forgets_none_of_it() -> None:
    laptop = Laptop()
    await laptop.loads(100)
    laptop.detector.remember()
    await laptop.loads(0)
    laptop.fleet.have(laptop.backend, FakeBackend("npu"))
    assert "fell back to the CPU" in laptop.degraded


async def lost() -> Laptop:
    """A laptop that woke up without its GPU, with what it showed before."""
    laptop = Laptop()
    await laptop.loads(100)
    for _ in range(5):
        laptop.answers(60)
    laptop.detector.remember()
    assert await laptop.loads(0)
    return laptop


async def test_a_model_that_was_unloaded_may_show_itself_anew() -> None:
    laptop = await lost()
    assert laptop.answers(5)
    assert await laptop.unloads() == ""
    assert MODEL not in laptop.learner.speeds("nvidia")
    assert await laptop.loads(100) == ""
    assert laptop.answers(60) == ""


async def test_an_engine_that_still_has_no_gpu_is_recognised_at_its_next_load() -> None:
    laptop = await lost()
    await laptop.unloads()
    assert "fell back to the CPU" in await laptop.loads(0)


async def test_an_engine_that_was_down_in_between_may_have_been_mended() -> None:
    laptop = Laptop()
    await laptop.loads(100)
    for _ in range(5):
        laptop.answers(60)
    laptop.detector.remember()
    assert laptop.answers(5)
    laptop.fleet.note_down("nvidia", because("connection refused"))
    assert await laptop.loads(100) == ""
    assert MODEL not in laptop.learner.speeds("nvidia")
    assert "instead of 60" in laptop.answers(5)


async def test_an_engine_that_was_down_and_has_no_gpu_all_the_same_is_still_degraded() -> None:
    laptop = await lost()
    laptop.fleet.note_down("nvidia", because("connection refused"))
    assert laptop.degraded == ""
    assert "fell back to the CPU" in await laptop.loads(0)


async def test_a_slow_answer_keeps_requests_away_for_a_while_and_not_for_ever() -> None:
    laptop = Laptop()
    await laptop.loads(100)
    for _ in range(5):
        laptop.answers(60)
    laptop.detector.remember()
    assert laptop.answers(5)
    laptop.clock.advance(SLOW_COUNTS_S - 1)
    assert await laptop.loads(100)
    laptop.clock.advance(1)
    assert await laptop.loads(100) == ""
    assert "instead of 60" in laptop.answers(5)


async def test_a_model_that_shares_the_gpu_after_the_sleep_is_not_degraded() -> None:
    laptop = Laptop()
    await laptop.loads(100)
    for _ in range(5):
        laptop.answers(60)
    laptop.detector.remember()
    assert await laptop.loads(30) == ""
    assert laptop.answers(15) == ""


async def test_long_after_the_sleep_a_load_on_the_cpu_is_somebodys_choice() -> None:
    laptop = Laptop()
    await laptop.loads(100)
    for _ in range(5):
        laptop.answers(60)
    laptop.detector.remember()
    for _ in range(FIRST_REQUESTS):
        laptop.answers(60)
    await laptop.unloads()
    assert await laptop.loads(0) == ""
