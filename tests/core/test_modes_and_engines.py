"""Which engine of ours a mode starts: the one that is cheapest by its own prices, and by no other rule."""

import pytest

from ollama_proxyd.core.engine_program import EngineProgram
from ollama_proxyd.core.fleet import BackendSpec, BackendView, Hardware, Health, LoadedModel, Model
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import rank
from ollama_proxyd.core.readings import UNKNOWN_SYSTEM
from ollama_proxyd.core.requests import Api
from tests.core.reference_profile import setting

SMALL = Model("m", 1_000_000_000)
LOADED = (LoadedModel("m"),)


def engine(hardware: Hardware, loaded: tuple[LoadedModel, ...] = ()) -> BackendView:
    """An engine that the proxy runs, on a device of which nothing is known but its class."""
    name = hardware.value
    spec = BackendSpec(name, name, Api.OPENAI, "http://127.0.0.1:1", hardware, "llamacpp", engine=EngineProgram())
    return BackendView(spec, health=Health.UP, models=(SMALL,), loaded=loaded)


def first(mode: Mode, *fleet: BackendView) -> str:
    return rank(Query("m", prompt_tokens=200), fleet, UNKNOWN_SYSTEM, setting(mode)).ranked[0].backend_id


@pytest.mark.parametrize("mode", [Mode.EFFICIENCY, Mode.QUIET, Mode.ULTRA_EFFICIENCY])
def test_thrifty_modes_start_no_card_where_a_cheaper_device_has_the_model_too(mode: Mode) -> None:
    assert first(mode, engine(Hardware.NVIDIA), engine(Hardware.IGPU)) == "igpu"
    assert first(mode, engine(Hardware.NVIDIA), engine(Hardware.IGPU, LOADED)) == "igpu"


def test_performance_uses_the_card_that_runs() -> None:
    assert first(Mode.PERFORMANCE, engine(Hardware.NVIDIA, LOADED), engine(Hardware.IGPU, LOADED)) == "nvidia"


@pytest.mark.parametrize("mode", [Mode.QUIET, Mode.ULTRA_EFFICIENCY])
def test_a_card_that_alone_has_the_model_is_started_in_any_mode(mode: Mode) -> None:
    assert first(mode, engine(Hardware.NVIDIA)) == "nvidia"
