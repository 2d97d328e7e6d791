"""The progress of a long call that tells it in lines: a bar on a terminal, plain lines elsewhere."""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from ollama_proxyd.cli.failures import Failed
from ollama_proxyd.cli.printable import printable
from ollama_proxyd.cli.session import asked, json_text

if TYPE_CHECKING:
    from ollama_proxyd.cli.client import Client

WIDTH = 30


def follow(path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Any:
    """Post it, show each step, and return the last; raises Failed with what a step tells as its error."""
    with asked().reach() as daemon:
        show = _Shown()
        last: Any = {}
        for last in _steps(daemon, path, body, headers or {}):
            if "error" in last:
                show.end()
                raise Failed(str(last["error"]))
            show.step(last)
        show.end()
        return last


def _steps(daemon: "Client", path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[Any]:
    for line in daemon.lines(path, body, headers):
        if line.strip():
            yield json.loads(line)


class _Shown:
    """What is on the screen of a call under way."""

    def __init__(self) -> None:
        self._is_bar = sys.stderr.isatty() and not asked().as_json
        self._last = ""

    def step(self, step: Any) -> None:
        """One more step: on a terminal in place of the last, elsewhere where the words are new."""
        if asked().as_json:
            click.echo(json_text(step))
            return
        words, share = _words(step), _share(step)
        if self._is_bar:
            text = words if share is None else f"{words} {_bar(share)} {share:4.0%}"
            click.echo(f"\r\x1b[K{text}", err=True, nl=False)
        elif words != self._last:
            click.echo(words, err=True)
        self._last = words

    def end(self) -> None:
        """Take the bar away."""
        if self._is_bar and self._last:
            click.echo("\r\x1b[K", err=True, nl=False)


def _words(step: Any) -> str:
    return printable(" ".join(str(step[key]) for key in ("backend", "model", "status") if step.get(key)))


def _share(step: Any) -> float | None:
    """How much is done, from 0 to 1; None where that is not told."""
    if step.get("percent") is not None:
        return min(max(float(step["percent"]) / 100, 0.0), 1.0)
    done, whole = step.get("completed"), step.get("total")
    return min(done / whole, 1.0) if whole and done is not None else None


def _bar(share: float) -> str:
    full = int(share * WIDTH)
    return f"[{'#' * full}{'-' * (WIDTH - full)}]"
