"""Models are listed in Ollama's form, each with the backends that hold it."""

import hashlib
from datetime import datetime
from typing import Any

import msgspec
import pytest

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.fleet import LoadedModel, Model
from ollama_proxyd.dialects.ollama.models import (
    NEVER,
    UNKNOWN_TIME,
    LoadedRow,
    completed,
    describe,
    details,
    parse_show,
    render_ps,
    render_tags,
    render_version,
    tagged,
)

FULL = Model(
    name="tiny:latest",
    size_bytes=452725,
    digest="b057",
    modified_at="2026-11-20T11:58:24.921052393Z",
    family="llama",
    parameter_size="163K",
    quantization="Q8_0",
    format="gguf",
    context_length=4096,
    embedding_length=64,
    capabilities=frozenset({"tools", "completion"}),
)
BARE = Model(name="tiny")


def test_a_model_is_listed_with_all_that_is_known_and_who_holds_it() -> None:
    (entry,) = msgspec.json.decode(render_tags([(FULL, ("cpu", "npu"))]))["models"]
    assert entry == {
        "name": "tiny:latest",
        "model": "tiny:latest",
        "modified_at": "2026-11-20T11:58:24.921052393Z",
        "size": 452725,
        "digest": "b057",
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "llama",
            "families": ["llama"],
            "parameter_size": "163K",
            "quantization_level": "Q8_0",
            "context_length": 4096,
            "embedding_length": 64,
        },
        "capabilities": ["completion", "tools"],
        "backends": ["cpu", "npu"],
    }


def test_a_model_of_which_only_the_name_is_known_has_every_key_that_clients_expect() -> None:
    (entry,) = msgspec.json.decode(render_tags([(BARE, ("cpu",))]))["models"]
    assert entry == {
        "name": "tiny:latest",
        "model": "tiny:latest",
        "modified_at": UNKNOWN_TIME,
        "size": 0,
        "digest": "name:" + hashlib.sha256(b"tiny:latest").hexdigest(),
        "details": {
            "parent_model": "",
            "format": "",
            "family": "",
            "families": [],
            "parameter_size": "",
            "quantization_level": "",
        },
        "backends": ["cpu"],
    }


def test_models_without_a_digest_are_told_apart_by_one_of_their_names() -> None:
    rows = [(Model(name), ("cpu",)) for name in ("tiny", "tiny:latest", "other")]
    one, same, other = [each["digest"] for each in msgspec.json.decode(render_tags(rows))["models"]]
    assert one == same != other


@pytest.mark.parametrize(
    ("name", "listed"),
    [("a", "a:latest"), ("a:1b", "a:1b"), ("host:5000/a", "host:5000/a:latest"), ("Org/A", "Org/A:latest")],
)
def test_a_listed_name_always_has_a_tag(name: str, listed: str) -> None:
    assert tagged(name) == listed


def test_models_in_memory_are_listed_longest_lived_first() -> None:
    soon = LoadedModel("soon", 7, 5, 4096, "2026-11-20T12:03:25Z")
    later = LoadedModel("later", expires_at="2026-11-20T12:09:00Z")
    stays = LoadedModel("stays")
    rows: list[LoadedRow] = [(soon, FULL, ("cpu",)), (stays, None, ("npu",)), (later, None, ("igpu",))]
    entries = msgspec.json.decode(render_ps(rows))["models"]
    assert [entry["name"] for entry in entries] == ["stays:latest", "later:latest", "soon:latest"]
    assert entries[0]["expires_at"] == NEVER
    assert entries[2] == {
        "name": "soon:latest",
        "model": "soon:latest",
        "size": 7,
        "digest": "b057",
        "details": details(FULL),
        "expires_at": "2026-11-20T12:03:25Z",
        "size_vram": 5,
        "context_length": 4096,
        "backends": ["cpu"],
    }


def test_the_times_that_stand_for_unknown_and_never_can_be_read_by_clients() -> None:
    for text in (UNKNOWN_TIME, NEVER):
        assert datetime.fromisoformat(text).isoformat().replace("+00:00", "Z") == text


def test_the_version_is_one_key() -> None:
    assert render_version("0.1.0") == b'{"version":"0.1.0"}'


@pytest.mark.parametrize("body", [b'{"model":"a","x":1}', b'{"name":"a","x":1}', b'{"model":"","name":"a","x":1}'])
def test_a_model_is_asked_about_by_either_word(body: bytes) -> None:
    model, fields = parse_show(body)
    assert (model, fields) == ("a", msgspec.json.decode(body))


def test_show_asks_for_a_model() -> None:
    with pytest.raises(ProxyError, match="model is required"):
        parse_show(b'{"verbose":true}')


def test_a_model_without_ollamas_files_is_described_by_where_it_is_served() -> None:
    shown = describe(FULL, "llamacpp", "http://127.0.0.1:8080", template="{{ x }}")
    assert "served by llamacpp at http://127.0.0.1:8080" in shown["modelfile"]
    assert shown["template"] == "{{ x }}"
    assert shown["details"] == details(FULL)
    assert shown["model_info"] == {
        "general.architecture": "llama",
        "llama.context_length": 4096,
        "llama.embedding_length": 64,
    }
    assert (shown["capabilities"], shown["modified_at"]) == (["completion", "tools"], FULL.modified_at)


@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"capabilities": None, "model_info": None},
        {"capabilities": "all", "model_info": {"general.architecture": 5}},
    ],
)
def test_editors_always_find_capabilities_and_an_architecture(shown: dict[str, Any]) -> None:
    told = completed(shown)
    assert told["capabilities"] == ["completion"]
    assert told["model_info"] == {"general.architecture": "unknown"}


def test_what_a_backend_tells_of_a_model_is_not_changed() -> None:
    told = {"model_info": {"general.architecture": "qwen3", "x": 1}, "capabilities": ["embedding"], "license": "MIT"}
    assert completed(told) == told


def test_a_description_holds_only_what_is_known() -> None:
    shown = describe(BARE, "vllm", "http://127.0.0.1:8000")
    assert list(shown) == ["modelfile", "details", "model_info", "modified_at"]
    assert shown["model_info"] == {"general.architecture": "unknown"}
