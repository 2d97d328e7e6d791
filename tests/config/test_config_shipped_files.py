"""The reference file, the schema and the examples agree with the code."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ollama_proxyd.config import json_schema, reference
from ollama_proxyd.config.changes import NEEDS_RESTART
from ollama_proxyd.config.check import _ALL_KEYS
from ollama_proxyd.config.load import FILE_VARIABLE, VARIABLES, load
from ollama_proxyd.config.retired import RETIRED
from ollama_proxyd.config.settings import Config

FOLDER = Path(__file__).parents[2] / "config"
EXAMPLES = sorted((FOLDER / "examples").glob("*.yaml"))


def defaults() -> Config:
    return load(None, {"HOME": "/nonexistent", "XDG_CONFIG_DIRS": "/nonexistent"})


def bare(config: Config) -> Config:
    return replace(config, path=None, written=defaults().written)


def test_the_schema_is_as_the_code_writes_it() -> None:
    assert (FOLDER / "schema.json").read_text() == json_schema.render(), "stale: run scripts/schema"


def test_the_reference_file_is_as_the_code_writes_it() -> None:
    assert (FOLDER / "config.yaml").read_text() == reference.render(), "stale: run scripts/schema"


def test_the_reference_file_says_exactly_the_defaults() -> None:
    assert bare(load(FOLDER / "config.yaml", {})) == defaults()


def test_the_backend_of_the_reference_file_is_one_without_its_remarks(tmp_path: Path) -> None:
    text = (FOLDER / "config.yaml").read_text()
    block = re.search(r"^# backends:\n(#   .*\n)+", text, re.MULTILINE)
    assert block is not None
    path = tmp_path / "c.yaml"
    path.write_text(re.sub(r"^# ", "", block[0], flags=re.MULTILINE))
    (backend,) = load(path, {}).backends
    assert backend.spec.id == "ollama-npu"


def test_every_key_stands_in_the_reference_file() -> None:
    text = (FOLDER / "config.yaml").read_text()
    missing = [key for key in _ALL_KEYS if not re.search(rf"^[# -]*{key.rpartition('.')[2]}:", text, re.MULTILINE)]
    assert missing == []


def test_every_key_is_described_by_a_sentence() -> None:
    for name, described in properties(json_schema.json_schema()):
        sentence = described.get("description", "")
        assert sentence.endswith("."), name
        assert sentence[0].isupper(), name


def test_every_plain_key_has_a_default_or_is_needed() -> None:
    schema = json_schema.json_schema()
    needed = set(schema["$defs"]["Backend"]["required"])
    assert needed == {"id", "endpoint"}
    rows = schema["$defs"]["ModeLimits"]["properties"]
    for name, described in properties(schema):
        is_section = "$ref" in described and "default" not in described
        assert is_section or name in needed or name in rows or "default" in described, name


def properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for definition in schema["$defs"].values():
        yield from definition.get("properties", {}).items()


def test_no_key_is_both_known_and_retired() -> None:
    assert not set(RETIRED) & set(_ALL_KEYS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_is_right(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    copy.write_text(path.read_text())
    token = tmp_path / "token"
    token.write_text("a-token")
    token.chmod(0o600)
    config = load(copy, {"VLLM_API_KEY": "sk-1"})
    assert config.backends
    assert config.warnings == ()


@pytest.mark.parametrize("path", [FOLDER / "config.yaml", *EXAMPLES], ids=lambda path: path.stem)
def test_each_file_leads_an_editor_to_the_schema(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / named).resolve() == FOLDER / "schema.json"


def test_the_schema_is_of_the_dialect_that_it_names() -> None:
    schema = json.loads((FOLDER / "schema.json").read_text())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert all(each["additionalProperties"] is False for each in schema["$defs"].values() if "properties" in each)


DOCS = (FOLDER.parent / "docs" / "configuration.md").read_text()


def test_every_key_that_the_documentation_names_exists() -> None:
    sections = "server|routing|efficiency|monitoring|detection|upstream"
    named = set(re.findall(rf"`((?:{sections})\.[a-z_.]+)[`:]", DOCS))
    assert named
    assert named <= set(_ALL_KEYS) | set(RETIRED)


def test_the_documentation_names_every_key_that_waits_for_a_restart() -> None:
    (sentence,) = re.findall(r"These wait for a restart: ([^.]*(?:\.[a-z_][^.]*)*)\.", DOCS)
    assert set(re.findall(r"`([a-z_.]+)`", sentence)) == NEEDS_RESTART


def test_the_documentation_names_every_variable_and_example() -> None:
    assert all(f"`{name}`" in DOCS for name in (FILE_VARIABLE, *VARIABLES))
    assert all(f"`{path.name}`" in DOCS for path in EXAMPLES)


@pytest.mark.parametrize("snippet", re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL))
def test_each_snippet_of_the_documentation_is_right(snippet: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(snippet)
    assert load(path, {}).warnings == ()
