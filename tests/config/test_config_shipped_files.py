"""The reference file, the schema and the examples agree with the code."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ollama_proxyd.config.load import FILE_VARIABLE, OVERRIDES, load, variable_of
from ollama_proxyd.config.retired import GONE, NO_EFFECT, RENAMED
from ollama_proxyd.config.settings import Config
from ollama_proxyd.config.shape import KEYS, OPTIONS, is_required
from ollama_proxyd.core.options import Setting
from scripts.config_files import derived, json_schema

FOLDER = Path(__file__).parents[2] / "config"
REFERENCE = (FOLDER / "config.yaml").read_text()
DOCS = (FOLDER.parent / "docs" / "configuration.md").read_text()
EXAMPLES = sorted((FOLDER / "examples").glob("*.yaml"))


def defaults() -> Config:
    return load(None, {"HOME": "/nonexistent", "XDG_CONFIG_DIRS": "/nonexistent"})


@pytest.mark.parametrize(("path", "text"), list(derived()), ids=lambda each: getattr(each, "name", ""))
def test_what_is_derived_from_the_options_is_as_the_code_writes_it(path: Path, text: str) -> None:
    assert path.read_text() == text, "stale: run scripts/schema"


def test_the_reference_file_says_exactly_the_defaults() -> None:
    assert replace(load(FOLDER / "config.yaml", {}), path=None) == defaults()


def test_the_backend_of_the_reference_file_is_one_without_its_remarks(tmp_path: Path) -> None:
    text = (FOLDER / "config.yaml").read_text()
    block = re.search(r"^# backends:\n(#   .*\n)+", text, re.MULTILINE)
    assert block is not None
    path = tmp_path / "c.yaml"
    path.write_text(re.sub(r"^# ", "", block[0], flags=re.MULTILINE))
    (backend,) = load(path, {}).backends
    assert backend.spec.id == "ollama-npu"


def test_the_engine_of_the_reference_file_is_one_without_its_remarks(tmp_path: Path) -> None:
    text = (FOLDER / "config.yaml").read_text()
    block = re.search(r"^# engines:\n(#   .*\n)+", text, re.MULTILINE)
    assert block is not None
    path = tmp_path / "c.yaml"
    path.write_text(re.sub(r"^# ", "", block[0], flags=re.MULTILINE))
    (engine,) = load(path, {}).engines
    assert (engine.spec.id, engine.spec.flavor) == ("llama", "llamacpp")


def test_every_option_that_a_part_declares_stands_in_each_derived_file() -> None:
    assert [key for key, each in OPTIONS.items() if not schema_of(key)["description"].startswith(sentence(each))] == []
    assert [key for key in OPTIONS if not re.search(rf"^[# -]*{name_of(key)}:", REFERENCE, re.MULTILINE)] == []
    assert [key for key, each in OPTIONS.items() if not is_documented(each)] == []


def test_every_option_is_described_by_a_sentence() -> None:
    assert [key for key, each in OPTIONS.items() if not re.fullmatch("[A-Z].*[.]", sentence(each))] == []


def test_every_option_takes_its_default_or_is_needed() -> None:
    needed = {key for key, each in OPTIONS.items() if is_required(each)}
    assert needed == {"backends[].id", "backends[].endpoint", "frontends[].name", "engines[].id"}
    assert [key for key in OPTIONS if key not in needed and not takes_its_default(OPTIONS[key])] == []


def sentence(setting: Setting) -> str:
    return setting.option.sentence


def name_of(key: str) -> str:
    return key.rpartition(".")[2]


def is_documented(setting: Setting) -> bool:
    needs = "a reload" if setting.option.reload else "a restart"
    rows = [
        line
        for line in DOCS.partition("## Every option")[2].splitlines()
        if line.startswith(f"| `{setting.option.key}` |")
    ]
    return [sentence(setting) in row and row.endswith(f"| {needs} |") for row in rows] == [True]


def takes_its_default(setting: Setting) -> bool:
    values = setting.default if setting.takes.is_list or setting.takes.is_map else [setting.default]
    return all(setting.takes.accepts(each) for each in values)


def schema_of(key: str) -> dict[str, Any]:
    described = json_schema()
    for name in key.split("."):
        described = described["properties"][name.removesuffix("[]")]
        described = described["items"] if name.endswith("[]") else described
    return described


def test_no_key_is_both_known_and_retired() -> None:
    assert not {*NO_EFFECT, *GONE, *RENAMED} & set(KEYS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_is_right(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    copy.write_text(path.read_text())
    token = tmp_path / "token"
    token.write_text("a-token-of-some-length")
    token.chmod(0o600)
    config = load(copy, {"VLLM_API_KEY": "sk-1"})
    assert config.backends
    assert config.warnings == ()


@pytest.mark.parametrize("path", [FOLDER / "config.yaml", *EXAMPLES], ids=lambda path: path.stem)
def test_each_file_leads_an_editor_to_the_schema(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / named).resolve() == FOLDER / "schema.json"


def test_the_schema_is_of_the_dialect_that_it_names_and_takes_no_unknown_key() -> None:
    schema = json.loads((FOLDER / "schema.json").read_text())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert all(each["additionalProperties"] is False for each in objects(schema))


def objects(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "properties" in schema:
        yield schema
    for inner in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])):
        yield from objects(inner)


def test_every_key_that_the_documentation_names_exists() -> None:
    sections = "server|routing|efficiency|monitoring|detection|upstream"
    named = set(re.findall(rf"`((?:{sections})\.[a-z_.]+)[`:]", DOCS))
    assert named
    assert named <= {*KEYS, *NO_EFFECT, *GONE, *RENAMED}


def test_the_documentation_names_every_variable_and_example() -> None:
    assert all(f"`{name}`" in DOCS for name in (FILE_VARIABLE, *map(variable_of, OVERRIDES)))
    assert all(f"`{path.name}`" in DOCS for path in EXAMPLES)


@pytest.mark.parametrize("snippet", re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL))
def test_each_snippet_of_the_documentation_is_right(snippet: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(snippet)
    assert load(path, {}).warnings == ()
