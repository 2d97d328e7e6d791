"""`ollama-proxyctl watch`: changes as they come, a line for each."""

import json
import time
from typing import TYPE_CHECKING, Any

import click

from ollama_proxyd.cli.differences import Difference, differences, settled
from ollama_proxyd.cli.session import asked, json_option

if TYPE_CHECKING:
    from ollama_proxyd.cli.client import Client


@click.command()
@json_option
def watch() -> None:
    """Print each change as it comes, until Ctrl-C.

    Changes are those of the mode, the backends and the machine, and where each request went.
    """
    with asked().reach() as daemon:
        try:
            _follow(daemon)
        except KeyboardInterrupt:
            return


def _follow(daemon: "Client") -> None:
    before: Any = None
    for kind, data in daemon.events():
        if kind == "request":
            _print(Difference("request", data["backend"] or "", data["reason"]))
        elif kind == "message":
            now = settled(before, data)
            for line in differences(before, now):
                _print(line)
            before = now


def _print(line: Difference) -> None:
    if asked().as_json:
        click.echo(json.dumps({"unix_s": round(time.time(), 3), **line._asdict()}, ensure_ascii=False))
    else:
        click.echo(f"{time.strftime('%H:%M:%S')}  {line.what:<8} {f'{line.name}: ' if line.name else ''}{line.says}")
