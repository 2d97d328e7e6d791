"""`ollama-proxyctl watch`: changes as they come, a line for each."""

import json
import time
from dataclasses import asdict

import click

from ollama_proxyd.cli.commands.status import picture
from ollama_proxyd.cli.differences import Line, differences, settled
from ollama_proxyd.cli.pictures import Routed, Status
from ollama_proxyd.cli.port import Daemon
from ollama_proxyd.cli.session import asked, json_option


@click.command()
@json_option
def watch() -> None:
    """Print each change as it comes, until Ctrl-C.

    Changes are those of the mode, the backends and the machine, and, over the session bus, each request's way.
    """
    with asked().reach() as daemon:
        try:
            _follow(daemon)
        except KeyboardInterrupt:
            return


def _follow(daemon: Daemon) -> None:
    before: Status | None = None
    for happened in daemon.changes():
        if isinstance(happened, Routed):
            _print(Line("request", happened.backend, happened.reason))
            continue
        now = settled(before, picture(daemon))
        for line in differences(before, now):
            _print(line)
        before = now


def _print(line: Line) -> None:
    if asked().as_json:
        click.echo(json.dumps({"unix_s": round(time.time(), 3), **asdict(line)}, ensure_ascii=False))
    else:
        click.echo(f"{time.strftime('%H:%M:%S')}  {line.what:<8} {f'{line.name}: ' if line.name else ''}{line.says}")
