"""Whatever a server says about itself, reading it fails nothing: what does not fit counts as not said."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.fleet import LoadedModel, Model
from ollama_proxyd.core.requests import Api, Json
from ollama_proxyd.dialects.ollama.models import describe, render_ps, render_tags
from ollama_proxyd.edges.backends import facts
from ollama_proxyd.edges.backends.engine import Answer
from ollama_proxyd.edges.backends.engines import ENGINES, PATHS, lemonade, lmstudio, ollama, ovms, recognise, tgi
from ollama_proxyd.edges.backends.findings import combine
from ollama_proxyd.edges.backends.untrusted_json import label
from tests.any_json import ANY_JSON, HUGE, nearly

META = {"n_ctx": 1, "n_ctx_train": 3, "n_params": 1000, "size": 1, "n_embd": 2, "ftype": "q"}
ENTRY = {
    "id": "x",
    "created": 1700000000,
    "owned_by": "vllm",
    "meta": META,
    "max_model_len": 3,
    "status": {"value": "loaded"},
    "arch": "x",
    "type": "llm",
    "state": "loaded",
    "labels": ["vision"],
    "loaded_context_length": 3,
    "max_context_length": 2,
    "quantization": "x",
    "capabilities": ["tool_use"],
}
PROPS = {
    "object": "list",
    "data": [ENTRY],
    "total_slots": 1,
    "build_info": "x",
    "chat_template": "x",
    "modalities": {"vision": True, "audio": False},
    "chat_template_caps": {"supports_tools": True},
    "is_sleeping": False,
    "version": "x",
    "result": "KoboldCpp",
    "model_id": "x",
    "max_total_tokens": 1,
    "max_concurrent_requests": 2,
    "is_generation": True,
    "idle": 0,
    "model_name": "x",
    "all_models_loaded": [{"model_name": "x"}],
    "model_loaded": "x",
    "x": {"model_version_status": [{}]},
}
TAG = {
    "name": "x",
    "model": "x",
    "modified_at": "2024-01-01T00:00:00Z",
    "size": 1,
    "digest": "d",
    "details": {"family": "x", "parameter_size": "1B", "quantization_level": "q", "format": "g", "context_length": 1},
    "capabilities": ["completion"],
    "size_vram": 1,
    "context_length": 3,
    "expires_at": "2024-01-01T00:00:00Z",
}
QUESTIONS = {
    question.path: question
    for engine in ENGINES.values()
    if engine.api is Api.OPENAI
    for question in (engine.model_list, *engine.extras)
}


@given(said=nearly(PROPS))
def test_anything_a_server_says_can_be_read_and_shown(said: Json) -> None:
    probe = combine([question.read(said) for question in QUESTIONS.values()])
    render_tags((model, ["it"]) for model in probe.models)
    for model in probe.models:
        describe(model, "engine", "http://it")


@given(said=nearly({"models": [TAG, TAG], "capabilities": ["completion"]}))
def test_anything_an_ollama_says_can_be_read_and_shown(said: Json) -> None:
    ollama.read_show(said)
    render_tags((model, ["it"]) for model in ollama.read_tags(said).models)
    render_ps((loaded, None, ["it"]) for loaded in ollama.read_ps(said).loaded or ())


@given(nearly(PROPS) | ANY_JSON, st.sets(st.sampled_from(PATHS)))
def test_anything_is_recognised_or_not(said: Json, paths: set[str]) -> None:
    recognise({path: Answer(200, {}, "x", said) for path in paths})


@pytest.mark.parametrize("created", [253402300800, 1700000000000, 10**30, HUGE, -5, 0, "soon", True])
def test_a_time_that_cannot_be_is_not_said(created: Json) -> None:
    (model,) = facts.read_models({"data": [{"id": "tiny", "created": created}]}).models
    assert model.modified_at is None


def test_a_time_that_can_be_is_told() -> None:
    (model,) = facts.read_models({"data": [{"id": "tiny", "created": 1700000000}]}).models
    assert model.modified_at == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize(
    "odd", ["never", "2026-01-01", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", 5, ""]
)
def test_a_moment_that_ollamas_clients_cannot_read_is_not_said(odd: Json) -> None:
    entry = {"name": "tiny", "modified_at": odd, "expires_at": odd}
    (model,) = ollama.read_tags({"models": [entry]}).models
    (loaded,) = ollama.read_ps({"models": [entry]}).loaded or ()
    assert (model.modified_at, loaded.expires_at, loaded.expires_unix_s) == (None, None, None)


@pytest.mark.parametrize(
    "told", ["0001-01-01T00:00:00Z", "2318-01-01T00:00:00.123456789+02:00", "2026-11-20T12:03:25.6-11:00"]
)
def test_ollamas_own_moments_are_told_as_they_are(told: str) -> None:
    (loaded,) = ollama.read_ps({"models": [{"name": "tiny", "expires_at": told}]}).loaded or ()
    assert loaded.expires_at == told


@pytest.mark.parametrize("key", ["n_params", "size", "n_ctx_train", "n_embd"])
def test_a_number_that_no_reader_can_hold_is_not_said(key: str) -> None:
    (model,) = facts.read_models({"data": [{"id": "tiny", "meta": {key: HUGE}}]}).models
    told = (model.parameter_size, model.size_bytes, model.context_length, model.embedding_length)
    assert told == (None,) * 4


@pytest.mark.parametrize("name", ["tiny\nINFO backend is up", "\x1b[2J", "tiny\x00", "a\u202eb", "x" * 600])
@pytest.mark.parametrize(
    "read",
    [
        lambda name: facts.read_models({"data": [{"id": name}]}).models,
        lambda name: ovms.read_config({name: {"model_version_status": [{}]}}).models,
        lambda name: ollama.read_tags({"models": [{"name": name}]}).models,
        lambda name: tgi.read_info({"model_id": name}).models,
        lambda name: lemonade.read_health({"model_loaded": name}).loaded,
    ],
)
def test_a_name_that_is_no_printable_line_is_no_name(read: Callable[[str], Any], name: str) -> None:
    assert read(name) == ()
    assert read("tiny")[0].name == "tiny"


@pytest.mark.parametrize("words", ["\x1b[2J", "a\nb", "a\u202eb", "x" * 600])
def test_nothing_that_is_no_printable_line_is_said_of_a_model(words: str) -> None:
    kinds = dict.fromkeys(("family", "parameter_size", "quantization_level", "format"), words)
    entry = {"name": "tiny", "digest": words, "modified_at": words, "expires_at": words, "details": kinds}
    assert ollama.read_tags({"models": [entry | {"capabilities": [words]}]}).models == (
        Model("tiny", capabilities=frozenset()),
    )
    assert ollama.read_ps({"models": [entry]}).loaded == (LoadedModel("tiny"),)
    told = {"id": "tiny", "arch": words, "quantization": words, "compatibility_type": words}
    (model,) = lmstudio.read_models({"data": [told]}).models
    assert (model.family, model.quantization, model.format) == (None,) * 3
    (model,) = facts.read_models({"data": [{"id": "tiny", "meta": {"ftype": words}}]}).models
    assert model.quantization is None


def test_a_version_that_is_no_printable_line_is_not_said() -> None:
    assert facts.read_version({"version": "1\n2"}).version is None
    assert label({"version": "0.9 (β)"}, "version") == "0.9 (β)"
