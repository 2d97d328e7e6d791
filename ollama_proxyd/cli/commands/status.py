"""`ollama-proxyctl status`: everything on one screen."""

import click

from ollama_proxyd.cli import render
from ollama_proxyd.cli.session import answer, json_option


@click.command()
@json_option
def status() -> None:
    """Show the mode and why, the backends and the machine."""
    answer(lambda daemon: daemon.get("/status"), render.status)
