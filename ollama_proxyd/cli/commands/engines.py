"""`ollama-proxyctl engines`: the processes that the proxy runs, their memory, and what they wrote."""

from typing import Any

import click

from ollama_proxyd.cli.failures import Failed
from ollama_proxyd.cli.parameters import BACKEND, MODEL
from ollama_proxyd.cli.printable import printable
from ollama_proxyd.cli.progress import follow
from ollama_proxyd.cli.render_engines import engines as shown
from ollama_proxyd.cli.session import answer, asked, json_option, json_text

KEYS = (
    *("engines", "engines_ended", "models_unusable", "engine_processes", "engine_addresses"),
    *("memory", "saved_prompts", "loads_total", "evictions_total"),
)
SHOWN_LINES = 40
NO_FURTHER = "(no further lines: "
"""How the last line of a log begins that cannot be followed any further."""


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def engines(context: click.Context) -> None:
    """Show, start and stop engines that the proxy runs."""
    if context.invoked_subcommand is None:
        context.invoke(list_)


@engines.command("list")
@json_option
def list_() -> None:
    """Show each engine, what ended unasked and why, and the memory budgets."""
    answer(_status, shown)


@engines.command()
@click.argument("backend_id", type=BACKEND, metavar="ID")
@click.argument("model", type=MODEL)
@json_option
def start(backend_id: str, model: str) -> None:
    """Start the engine of a model, and show how far it is."""
    told = follow("/models/load", {"model": model, "backend": backend_id})
    if not asked().as_json:
        click.echo(f"{model} is loaded at {backend_id} after {told['seconds']:.1f} s")


@engines.command()
@click.argument("backend_id", type=BACKEND, metavar="ID")
@click.argument("model", type=MODEL, required=False)
@json_option
def stop(backend_id: str, model: str | None) -> None:
    """Stop the engine of a model, or all of a backend.

    Their requests end before. The next request for a model starts it again; `backends disable` keeps it stopped.
    """
    body = {"backend": backend_id, "model": model}
    answer(
        lambda daemon: daemon.post("/engines/stop", body, slow=True),
        lambda told: f"stopped at {backend_id}: {', '.join(told['stopped']) or 'nothing ran'}",
    )


@engines.command()
@click.argument("backend_id", type=BACKEND, metavar="ID")
@click.argument("model", type=MODEL, required=False)
@click.option("-n", "--lines", type=click.IntRange(1, 1000), default=SHOWN_LINES, help="How many of the last lines.")
@click.option("-f", "--follow", "goes_on", is_flag=True, help="Show each further one, too.")
@json_option
def log(backend_id: str, model: str | None, lines: int, *, goes_on: bool) -> None:
    """Show what the engine of a model wrote last.

    Without a model it is the one that ran last.
    """
    from urllib.parse import urlencode  # noqa: PLC0415 - loaded with the client, which other commands need not wait for

    def ask(daemon: Any) -> list[str]:
        written: str = daemon.text(path(daemon))
        return written.splitlines()

    def path(daemon: Any) -> str:
        named = {"backend": backend_id, "model": model or _last(daemon, backend_id), "lines": lines}
        return f"/engines/log?{urlencode(named)}"

    if not goes_on:
        answer(ask, "\n".join)
        return
    with asked().reach() as daemon:
        text = ""
        for line in daemon.lines(f"{path(daemon)}&follow", None):
            text = line.rstrip("\n")
            click.echo(json_text(text) if asked().as_json else printable(text))
        raise Failed("the daemon cannot follow this log") if text.startswith(NO_FURTHER) else daemon.ended()


def _status(daemon: Any) -> Any:
    status = daemon.get("/status")
    return {key: status.get(key) for key in KEYS}


def _last(daemon: Any, backend_id: str) -> str:
    """The model whose engine runs, or ended last; raises Failed where there is none."""
    status = _status(daemon)
    for each in (*status["engines"], *sorted(status["engines_ended"], key=lambda each: -each["unix"])):
        if each["backend"] == backend_id:
            return str(each["model"])
    raise Failed(f"no engine of {backend_id} runs, and none has failed; name a model")
