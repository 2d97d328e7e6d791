"""`ollama-proxyctl status`: everything on one screen."""

import click

from ollama_proxyd.cli import render
from ollama_proxyd.cli.pictures import Status
from ollama_proxyd.cli.port import Daemon
from ollama_proxyd.cli.session import answer, json_option


@click.command()
@json_option
def status() -> None:
    """Show the mode and why, the backends and the machine."""
    answer(picture, render.status)


def picture(daemon: Daemon) -> Status:
    """All that a daemon says of itself."""
    return Status(daemon.via, daemon.efficiency().in_force, daemon.backends(), daemon.machine(), daemon.served())
