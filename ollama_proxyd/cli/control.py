"""`ollama-proxyctl`: asks the running daemon and steers it."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from ollama_proxyd import __version__
from ollama_proxyd.cli import render
from ollama_proxyd.cli.client import Client, DaemonError, default_url

EXIT_UNAVAILABLE = 69
"""sysexits.h: EX_UNAVAILABLE."""

Answer = Callable[[Client], tuple[Any, str]]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--url", default=default_url, help="Where the daemon listens; OLLAMA_PROXY_HTTP_PORT changes the port.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.version_option(__version__, prog_name="ollama-proxyctl")
@click.pass_context
def control(context: click.Context, url: str, as_json: bool) -> None:
    """Ask and steer the running ollama-proxyd."""
    context.obj = (url, as_json)


def _answer(context: click.Context, ask: Answer) -> None:
    """Print an answer for people or programs; a failure is one sentence and exit status 69."""
    url, as_json = context.obj
    try:
        data, text = ask(Client(url, os.environ.get("OLLAMA_PROXY_TOKEN")))
    except DaemonError as error:
        click.echo(f"ollama-proxyctl: {error}", err=True)
        sys.exit(EXIT_UNAVAILABLE)
    click.echo(json.dumps(data, indent=2) if as_json else text)


@control.command()
@click.pass_context
def status(context: click.Context) -> None:
    """Show the mode and why it is in force, and what each backend does."""

    def ask(client: Client) -> tuple[Any, str]:
        data = {"efficiency": client.get("/efficiency"), "backends": client.get("/backends")}
        return data, f"{render.mode(data['efficiency'])}\n\n{render.backends(data['backends'])}"

    _answer(context, ask)


@control.group()
def mode() -> None:
    """Show or choose the efficiency mode."""


@mode.command("get")
@click.pass_context
def mode_get(context: click.Context) -> None:
    """Show the mode in force and why."""

    def ask(client: Client) -> tuple[Any, str]:
        data = client.get("/efficiency")
        return data, render.mode(data)

    _answer(context, ask)


@mode.command("set")
@click.argument("name")
@click.pass_context
def mode_set(context: click.Context, name: str) -> None:
    """Put a mode in force; it survives restarts."""

    def ask(client: Client) -> tuple[Any, str]:
        data = client.post("/efficiency", {"mode": name})
        return data, render.mode(data)

    _answer(context, ask)


@mode.command("list")
@click.pass_context
def mode_list(context: click.Context) -> None:
    """Show every mode with its price of time and its limits."""

    def ask(client: Client) -> tuple[Any, str]:
        data = client.get("/efficiency")
        return data["modes"], render.modes(data)

    _answer(context, ask)


@control.command()
@click.pass_context
def backends(context: click.Context) -> None:
    """Show each backend: state, models, watts and speed."""

    def ask(client: Client) -> tuple[Any, str]:
        data = client.get("/backends")
        return data, render.backends(data)

    _answer(context, ask)


@control.command()
@click.option("--model", help="The model that is asked for; without it, any.")
@click.option("--prompt-tokens", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--max-tokens", type=click.IntRange(min=0))
@click.option("--mode", "mode_name", help="As if this mode were chosen.")
@click.option("--on-battery/--on-mains", default=None, help="As if the laptop were on battery, or not.")
@click.option("--battery", type=click.FloatRange(0, 100), help="As if the battery were at this percentage.")
@click.pass_context
def explain(context: click.Context, /, mode_name: str | None, on_battery: bool | None, **asked: Any) -> None:
    """Show where a request would go and what every candidate would cost; nothing is sent."""
    system = {"on_battery": on_battery, "battery_percent": asked.pop("battery")}
    imagined = {name: value for name, value in system.items() if value is not None}
    question = {name: value for name, value in {**asked, "mode": mode_name}.items() if value is not None}

    def ask(client: Client) -> tuple[Any, str]:
        data = client.post("/routing/explain", question | ({"system": imagined} if imagined else {}))
        return data, render.decision(data)

    _answer(context, ask)
