"""The budgets of ARCHITECTURE.md, held: small modules, small functions, a sentence for each module."""

import ast
import re
import statistics
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "ollama_proxyd").rglob("*.py"))
BOUNDARIES = {"services/tasks.py", "edges/http_api/middleware.py"}
"""Where an exception that nobody expected is allowed to stop: a background task, and one HTTP request."""

each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(source(path))


def line_count(path: Path) -> int:
    return len(source(path).splitlines())


def test_there_are_modules_to_look_at() -> None:
    assert len(MODULES) > 40


def test_the_median_module_has_at_most_120_lines() -> None:
    assert statistics.median(line_count(path) for path in MODULES) <= 120


@each_module
def test_no_module_has_more_than_300_lines(path: Path) -> None:
    assert line_count(path) <= 300


@each_module
def test_every_module_says_in_one_sentence_what_it_is(path: Path) -> None:
    first_line = (ast.get_docstring(tree(path)) or "").split("\n", 1)[0]
    assert first_line.endswith(".")


@each_module
def test_no_function_has_more_than_40_lines(path: Path) -> None:
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > 40
    ]
    assert not long


@each_module
def test_an_unexpected_exception_stops_only_at_a_boundary(path: Path) -> None:
    caught = {
        name.id
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler) and node.type is not None
        for name in ast.walk(node.type)
        if isinstance(name, ast.Name)
    }
    bare = any(isinstance(node, ast.ExceptHandler) and node.type is None for node in ast.walk(tree(path)))
    if str(path.relative_to(ROOT / "ollama_proxyd")) not in BOUNDARIES:
        assert "Exception" not in caught
        assert not bare


def test_the_inside_names_no_http_header() -> None:
    inside = [path for path in MODULES if path.relative_to(ROOT / "ollama_proxyd").parts[0] in {"core", "services"}]
    assert [str(path.relative_to(ROOT)) for path in inside if re.search(r"\bX-[A-Z]", source(path))] == []
