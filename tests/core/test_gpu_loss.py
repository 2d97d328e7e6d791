"""Engines that came back from the machine's sleep without their GPU."""

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.fleet import BackendView, Hardware, Health, LoadedModel, Model
from ollama_proxyd.core.gpu_loss import Before, lost_memory, lost_speed, remember
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.policy.priors import CLASS_PRIORS, expect
from ollama_proxyd.core.reasons import Reason
from tests.fakes import spec_of
from tests.reasons import because


def view(vram: int | None = 100, **changes: Any) -> BackendView:
    loaded = (LoadedModel("tiny", size_bytes=100, size_vram_bytes=vram),)
    return BackendView(spec_of("nvidia"), Health.UP, models=(Model("tiny"),), loaded=loaded, **changes)


@pytest.mark.parametrize(("vram", "is_lost"), [(0, True), (9, True), (11, False), (100, False)])
def test_a_model_that_left_the_memory_of_the_gpu_has_lost_it(vram: int, is_lost: bool) -> None:
    before = remember(Before(), view())
    assert bool(lost_memory(before, view(vram))["tiny"]) is is_lost


def test_what_ran_on_the_cpu_before_has_lost_nothing() -> None:
    assert lost_memory(remember(Before(), view(0)), view(0)) == {}


def test_a_server_that_does_not_tell_is_not_suspected() -> None:
    assert lost_memory(remember(Before(), view()), view(None)) == {}


def test_a_backend_without_its_gpu_does_not_become_the_measure() -> None:
    before = remember(Before(), view())
    assert remember(before, view(0, degraded=because("lost"))) == before


@pytest.mark.parametrize(("tps", "says"), [(10.0, True), (30.0, False)])
def test_a_third_of_the_speed_is_the_limit(tps: float, says: bool) -> None:
    before = remember(Before(), view(speeds={"tiny": Speed(decode_tps=60.0, samples=5)}))
    assert isinstance(lost_speed(before, view(), "tiny", tps), Reason) is says


@pytest.mark.parametrize(("vram", "is_taken_for_lost"), [(0, True), (40, False), (100, True), (None, True)])
def test_a_model_of_which_only_a_part_fits_beside_something_else_may_be_slow(
    vram: int | None, is_taken_for_lost: bool
) -> None:
    before = remember(Before(), view(speeds={"tiny": Speed(decode_tps=60.0, samples=5)}))
    assert isinstance(lost_speed(before, view(vram), "tiny", 5.0), Reason) is is_taken_for_lost


def test_too_few_requests_before_say_nothing_and_a_cpu_cannot_lose_what_it_has_not() -> None:
    few = remember(Before(), view(speeds={"tiny": Speed(decode_tps=60.0, samples=2)}))
    assert lost_speed(few, view(), "tiny", 1.0) is False
    enough = remember(Before(), view(speeds={"tiny": Speed(decode_tps=60.0, samples=5)}))
    assert lost_speed(enough, replace(view(), spec=spec_of("cpu")), "tiny", 1.0) is False


def test_a_degraded_backend_is_expected_to_be_as_slow_as_a_cpu_and_explains_it() -> None:
    expected = expect(view(degraded=because("its GPU is lost")), Model("tiny"))
    slow = CLASS_PRIORS[Hardware.CPU]
    assert (expected.decode_tps[0], expected.ttft_s) == (slow.decode_tps, slow.ttft_s)
    assert "degraded: its GPU is lost" in map(str, expected.notes)
    assert expect(view(), Model("tiny")).decode_tps[0] > slow.decode_tps
