"""The budgets of ARCHITECTURE.md, held: small modules, small functions, a sentence for each module."""

import ast
import re
import statistics
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "ollama_proxyd"
SOURCES = {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}
LINES = {name: len(source.splitlines()) for name, source in SOURCES.items()}
BOUNDARIES = {
    "services/tasks.py",
    "services/admission.py",
    "services/cell.py",
    "edges/grpc_api/service.py",
    "edges/http_api/middleware.py",
    "edges/http_api/websocket.py",
    "edges/picker_api/streams.py",
    "edges/storage/history.py",
}
"""Where an exception that nobody expected is allowed to stop.

A task, a request that waits, one who hears of a fact, one request over HTTP, a WebSocket or gRPC, one that a gateway
carries, and the thread that writes the history.
"""


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Each function's name and number of lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def caught(tree: ast.Module) -> Iterator[str]:
    """The name of each exception that is caught, "" for all."""
    for handler in ast.walk(tree):
        if isinstance(handler, ast.ExceptHandler):
            names = ast.walk(handler.type) if handler.type else [ast.Name("")]
            yield from (name.id for name in names if isinstance(name, ast.Name))


def imported(tree: ast.Module) -> Iterator[str]:
    """The first part of the name of each module that is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def test_there_are_modules_to_look_at() -> None:
    assert len(SOURCES) > 40


def test_the_median_module_has_at_most_120_lines() -> None:
    assert statistics.median(LINES.values()) <= 120


def test_no_module_has_more_than_300_lines() -> None:
    assert {name: lines for name, lines in LINES.items() if lines > 300} == {}


def test_every_module_says_in_one_sentence_what_it_is() -> None:
    first_lines = {name: (ast.get_docstring(tree) or "").split("\n", 1)[0] for name, tree in TREES.items()}
    assert {name: line for name, line in first_lines.items() if not line.endswith(".")} == {}


def test_no_function_has_more_than_40_lines() -> None:
    long = {f"{name}: {function}": lines for name in TREES for function, lines in functions(TREES[name]) if lines > 40}
    assert long == {}


def test_an_unexpected_exception_stops_only_at_a_boundary() -> None:
    catches_all = {name for name, tree in TREES.items() if {"", "Exception"} & set(caught(tree))}
    assert catches_all <= BOUNDARIES


def test_the_inside_names_no_http_header() -> None:
    inside = {name: source for name, source in SOURCES.items() if name.startswith(("core/", "services/"))}
    assert [name for name, source in inside.items() if re.search(r"\bX-[A-Z]", source)] == []


def test_every_library_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = sum(project["optional-dependencies"].values(), project["dependencies"])
    declared = {each.lower().replace("-", "_") for each in re.findall(r"^[\w-]+", "\n".join(wanted), re.MULTILINE)}
    makers = packages_distributions()
    libraries = {name for tree in TREES.values() for name in imported(tree)} - sys.stdlib_module_names - {PACKAGE.name}
    assert len(libraries) > 10
    of = {each: {maker.lower().replace("-", "_") for maker in makers.get(each, [each])} for each in libraries}
    assert [each for each in libraries if not declared & of[each]] == []
