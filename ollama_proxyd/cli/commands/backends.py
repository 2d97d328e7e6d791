"""`ollama-proxyctl backends`: show them, take them out of service, put them back."""

from typing import TYPE_CHECKING, Any

import click

from ollama_proxyd.cli import render
from ollama_proxyd.cli.failures import Failed
from ollama_proxyd.cli.parameters import BACKEND
from ollama_proxyd.cli.session import answer, json_option

if TYPE_CHECKING:
    from ollama_proxyd.cli.client import Client


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def backends(context: click.Context) -> None:
    """Show and switch backends; without a command, list them."""
    if context.invoked_subcommand is None:
        context.invoke(list_)


@backends.command("list")
@json_option
def list_() -> None:
    """Show each backend: state, watts, speed, heat and models."""
    answer(lambda daemon: daemon.get("/status")["backends"], render.backends)


@backends.command()
@click.argument("backend_id", type=BACKEND, metavar="ID")
@json_option
def show(backend_id: str) -> None:
    """Show everything about one backend."""
    answer(lambda daemon: find(daemon, backend_id), render.backend)


@backends.command()
@click.argument("backend_id", type=BACKEND, metavar="ID")
@json_option
def enable(backend_id: str) -> None:
    """Let requests go to a backend again."""
    _switch(backend_id, enabled=True)


@backends.command()
@click.argument("backend_id", type=BACKEND, metavar="ID")
@json_option
def disable(backend_id: str) -> None:
    """Take a backend out of service, over restarts too."""
    _switch(backend_id, enabled=False)


def find(daemon: "Client", backend_id: str) -> Any:
    """One backend; raises Failed that names those that there are."""
    by_id = {each["id"]: each for each in daemon.get("/status")["backends"]}
    if backend_id not in by_id:
        raise Failed(f"there is no backend {backend_id!r}; there are: {', '.join(by_id) or 'none'}")
    return by_id[backend_id]


def _switch(backend_id: str, *, enabled: bool) -> None:
    from urllib.parse import quote  # noqa: PLC0415 - loaded with the client, which other commands need not wait for

    path = f"/backends/{quote(backend_id, safe='')}"
    answer(lambda daemon: daemon.post(path, {"enabled": enabled}), lambda each: f"{each['id']}: {render.state(each)}")
