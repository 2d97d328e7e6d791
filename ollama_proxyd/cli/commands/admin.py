"""`ollama-proxyctl admin`: backends, front ends and models, requests under way, tokens, and who changed what."""

import json
from datetime import datetime
from typing import IO, Any
from urllib.parse import quote

import click

from ollama_proxyd.cli.failures import Failed
from ollama_proxyd.cli.session import answer, json_option
from ollama_proxyd.cli.tables import table

KIND = click.Choice(("backends", "frontends"))
ROLES = ("read", "use", "admin")
_backend = click.option("--backend", metavar="ID", help="At this backend.")


@click.group()
def admin() -> None:
    """Change backends, front ends and tokens live.

    What the configuration file names counts, and is changed there.
    """


@admin.command("list")
@click.argument("kind", type=KIND, metavar="KIND")
@json_option
def list_(kind: str) -> None:
    """Show all backends or frontends, those of the file too."""
    answer(lambda daemon: daemon.get(f"/v1.0/{kind}"), _rows)


@admin.command()
@click.argument("kind", type=KIND, metavar="KIND")
@click.argument("name")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@json_option
def put(kind: str, name: str, file: IO[str]) -> None:
    """Add or replace one, as the JSON in FILE says ("-": what is piped in)."""
    try:
        body = json.load(file)
    except ValueError as error:
        raise Failed(f"{file.name} holds no JSON: {error}") from None
    answer(
        lambda daemon: daemon.change("PUT", _path(kind, name), body), lambda each: f"{each['Identifier']} is in force"
    )


@admin.command()
@click.argument("kind", type=KIND, metavar="KIND")
@click.argument("name")
@json_option
def delete(kind: str, name: str) -> None:
    """Take one away that was added here."""
    answer(lambda daemon: daemon.change("DELETE", _path(kind, name)), lambda _: f"{name} is gone")


@admin.command()
@json_option
def sessions() -> None:
    """Show the requests under way."""
    answer(lambda daemon: daemon.get("/v1.0/sessions"), _sessions)


@admin.command()
@click.argument("name", metavar="ID")
@json_option
def end(name: str) -> None:
    """End a request under way; its client is told."""
    answer(lambda daemon: daemon.change("DELETE", _path("sessions", name)), lambda _: f"{name} was ended")


@admin.command()
@json_option
def models() -> None:
    """Show the models by backend, and what is being pulled."""
    answer(lambda daemon: daemon.get("/v1.0/models"), _models)


@admin.command("pull")
@click.argument("model")
@_backend
@json_option
def pull(model: str, backend: str | None) -> None:
    """Have a backend pull a model; "admin models" shows how far it is."""
    answer(
        lambda daemon: daemon.change("PUT", _model_path(model, backend)),
        lambda told: f"{told['Name']} at {told['Backend']} ({told['Why']}): {told['State']}",
    )


@admin.command("delete-model")
@click.argument("model")
@_backend
@json_option
def delete_model(model: str, backend: str | None) -> None:
    """Have the backends that hold a model delete it, and pull it no longer."""
    answer(lambda daemon: daemon.change("DELETE", _model_path(model, backend)), lambda _: f"{model} is gone")


@admin.command()
@json_option
def tokens() -> None:
    """Show the tokens by name and role."""
    answer(lambda daemon: daemon.get("/v1.0/tokens"), _tokens)


@admin.command("add-token")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it is good for.")
@json_option
def add_token(name: str, role: str) -> None:
    """Make a token and print it this once; only its hash is kept."""
    answer(lambda daemon: daemon.change("PUT", _path("tokens", name), {"Role": role}), lambda made: str(made["Token"]))


@admin.command("delete-token")
@click.argument("name")
@json_option
def delete_token(name: str) -> None:
    """Take a token away."""
    answer(lambda daemon: daemon.change("DELETE", _path("tokens", name)), lambda _: f"{name} opens nothing any more")


@admin.command()
@json_option
def audit() -> None:
    """Show who changed what, from where, newest first."""
    answer(lambda daemon: daemon.get("/v1.0/audit"), _changes)


def _path(kind: str, name: str) -> str:
    return f"/v1.0/{kind}/{quote(name, safe='')}"


def _model_path(model: str, backend: str | None) -> str:
    return _path("models", model) + ("" if backend is None else f"?backend={quote(backend, safe='')}")


def _sessions(found: Any) -> str:
    rows = [
        (e["Identifier"], e["Application"] or "", e["Model"], e["Backend"] or "", e["State"], f"{e['Seconds']:.0f} s")
        for e in found
    ]
    return table(("request", "from", "model", "backend", "state", "for"), rows) if rows else "no request is under way"


def _models(found: Any) -> str:
    rows = [(each["Name"], ", ".join(each["Backends"]), "held") for each in found["Models"]]
    for each in found["Pulls"]:
        share = f" {each['CompletedBytes'] / each['TotalBytes']:.0%}" if each["TotalBytes"] else ""
        rows.append((each["Name"], each["Backend"], f"{each['State']}{share} {each['Reason'] or ''}".rstrip()))
    return table(("model", "backends", "state"), rows) if rows else "there are none"


def _rows(found: Any) -> str:
    rows = [(each["Identifier"], each["Source"], _where(each)) for each in found]
    return table(("name", "from", "at"), rows) if rows else "there are none"


def _where(each: Any) -> str:
    """Where it is, or why it is not in force."""
    why = each.get("LeftOut")
    return f"left out: {why}" if why else each.get("endpoint") or ", ".join(each.get("hosts", ()))


def _tokens(found: Any) -> str:
    rows = [(each["Name"], each["Role"], _moment(each["CreatedUnix"])) for each in found]
    return table(("token", "role", "made"), rows) if rows else "there are none"


def _changes(found: Any) -> str:
    rows = [(_moment(e["unix_s"]), e["who"], e["place"], e["action"], e["kind"], e["name"]) for e in found]
    return table(("when", "who", "from", "did", "to", "name"), rows) if rows else "nothing was changed here"


def _moment(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s).astimezone().strftime("%Y-%m-%d %H:%M")
