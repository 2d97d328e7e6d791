"""What an answer changes about the models in a backend's memory."""

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.events import FinishReason
from ollama_proxyd.core.fleet import LoadedModel
from ollama_proxyd.core.requests import Operation
from ollama_proxyd.core.residency import loaded_after
from tests.core.reference_profile import backend

COLD, WARM = replace(backend(), loaded=()), backend()


def ended(**facts: Any) -> AttemptEnded:
    return AttemptEnded("npu", "tiny:latest", Operation.CHAT, "", 0.0, 1.0, **facts)


def names(loaded: tuple[LoadedModel, ...] | None) -> list[str] | None:
    return None if loaded is None else [each.name for each in loaded]


@pytest.mark.parametrize("finish", [FinishReason.STOP, FinishReason.LENGTH, FinishReason.LOAD])
def test_what_answered_is_in_memory(finish: FinishReason) -> None:
    assert names(loaded_after(COLD, ended(finish=finish))) == ["tiny:latest"]
    assert loaded_after(WARM, ended(finish=finish)) is WARM.loaded


@pytest.mark.parametrize("facts", [{"finish": FinishReason.UNLOAD}, {"keeps_s": 0.0}])
def test_what_was_unloaded_is_not(facts: dict[str, Any]) -> None:
    assert names(loaded_after(WARM, ended(**facts))) == []
    assert loaded_after(COLD, ended(**facts)) is COLD.loaded


@pytest.mark.parametrize("facts", [{"error": ErrorKind.UPSTREAM_FAILED}, {"cancelled": True}])
def test_what_broke_off_says_nothing(facts: dict[str, Any]) -> None:
    assert loaded_after(COLD, ended(**facts)) is COLD.loaded


def test_an_engine_that_does_not_tell_stays_unknown() -> None:
    assert loaded_after(replace(backend(), loaded=None), ended()) is None
