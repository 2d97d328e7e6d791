"""Whatever stands in the file, loading it gives a configuration or an explanation."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ollama_proxyd.config.load import load
from ollama_proxyd.config.problems import ConfigError
from ollama_proxyd.config.settings import Config
from ollama_proxyd.config.shape import KEYS

LIMITS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

words = st.sampled_from([each.rpartition(".")[2] for each in KEYS])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["22:00", "http://127.0.0.1:8080", "ollama", "Balanced", "*x", "&x 1", "!!t", "| a", "\t", "'"]),
)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4), max_leaves=12
)


def rendered(tree: object) -> str:
    """YAML of the flow kind, with scalars as they come, so that much of it is not YAML at all."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key}: {rendered(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(rendered, tree)) + "]"
    return "" if tree is None else str(tree)


def outcome(path: Path, content: bytes) -> Config | ConfigError:
    path.write_bytes(content)
    try:
        return load(path, {})
    except ConfigError as error:
        return error


def check(path: Path, content: bytes) -> None:
    result = outcome(path, content)
    if isinstance(result, ConfigError):
        assert result.problems
        assert len(str(result).splitlines()) == len(result.problems)


@LIMITS
@given(content=st.binary(max_size=200))
def test_any_bytes_give_a_configuration_or_an_explanation(tmp_path: Path, content: bytes) -> None:
    check(tmp_path / "c.yaml", content)


@LIMITS
@given(text=st.text(max_size=200))
def test_any_text_gives_a_configuration_or_an_explanation(tmp_path: Path, text: str) -> None:
    check(tmp_path / "c.yaml", text.encode("utf-8", "surrogatepass"))


@LIMITS
@given(tree=trees)
def test_any_tree_of_known_words_gives_a_configuration_or_an_explanation(tmp_path: Path, tree: object) -> None:
    check(tmp_path / "c.yaml", rendered(tree).encode("utf-8", "surrogatepass"))


@LIMITS
@given(key=st.sampled_from([each for each in KEYS if "[]" not in each]), value=scalars)
def test_every_complaint_about_a_key_names_file_line_and_key(tmp_path: Path, key: str, value: object) -> None:
    *sections, name = key.split(".")
    lines = [f"{'  ' * depth}{section}:" for depth, section in enumerate(sections)]
    lines.append(f"{'  ' * len(sections)}{name}: {rendered(value)}")
    result = outcome(tmp_path / "c.yaml", "\n".join(lines).encode("utf-8", "surrogatepass"))
    if isinstance(result, ConfigError):
        for problem in result.problems:
            assert problem.origin.source == str(tmp_path / "c.yaml")
            assert problem.origin.line is not None
            assert problem.message


@pytest.mark.parametrize("escape", ["\\0", "\\ud800", "\\x85", "\\U0010ffff", "\\e"])
def test_escapes_in_quoted_text_do_no_harm(tmp_path: Path, escape: str) -> None:
    for key in ("name", "id", "endpoint", "api_key_env", "api_key_file"):
        backend = {"id": "a", "endpoint": "http://a:1"} | {key: escape}
        fields = ", ".join(f'{name}: "{value}"' for name, value in backend.items())
        check(tmp_path / "c.yaml", f"backends: [{{{fields}}}]".encode())
