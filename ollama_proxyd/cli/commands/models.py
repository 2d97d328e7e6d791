"""`ollama-proxyctl models`: what there is and where, and getting, loading and unloading a model."""

from typing import Any

import click

from ollama_proxyd.cli.parameters import BACKEND, MODEL
from ollama_proxyd.cli.progress import follow
from ollama_proxyd.cli.render_engines import loads_of, table_of_models
from ollama_proxyd.cli.session import answer, asked, json_option

at_backend = click.option("--backend", type=BACKEND, metavar="ID", help="The backend that is meant.")


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def models(context: click.Context) -> None:
    """Show, load, unload and pull models."""
    if context.invoked_subcommand is None:
        context.invoke(list_)


@models.command("list")
@json_option
def list_() -> None:
    """Show each model: its size, who has it, and where it is in memory."""

    def ask(daemon: Any) -> Any:
        found, status = daemon.get("/api/tags")["models"], daemon.get("/status")
        return [{**each, "backends": loads_of(each["name"], status)} for each in found]

    answer(ask, table_of_models)


@models.command()
@click.argument("model", type=MODEL)
@at_backend
@click.option("--alone", is_flag=True, help="Unload what else that backend has in memory and does not use.")
@json_option
def load(model: str, backend: str | None, alone: bool) -> None:
    """Load a model now, and show how far it is.

    Routing chooses the backend, unless one is named.
    """
    told = follow("/models/switch" if alone else "/models/load", {"model": model, "backend": backend})
    if not asked().as_json:
        gone = f"; unloaded: {', '.join(told['unloaded'])}" if told.get("unloaded") else ""
        click.echo(f"{model} is loaded at {told['backend']} after {told['seconds']:.1f} s{gone}")


@models.command()
@click.argument("model", type=MODEL)
@at_backend
@json_option
def unload(model: str, backend: str | None) -> None:
    """Have a model leave the memory, everywhere or at one backend."""
    body = {"model": model, "backend": backend}
    answer(lambda daemon: daemon.post("/models/unload", body), lambda told: str(told["reason"]))


@models.command()
@click.argument("model")
@at_backend
@json_option
def pull(model: str, backend: str | None) -> None:
    """Get a model from Ollama's library, and show how far it is."""
    follow("/api/pull", {"model": model}, {"X-Target-Backend": backend} if backend else {})
    if not asked().as_json:
        click.echo(f"{model} is here")
