"""`ollama-proxyctl config`: finds, checks and edits the configuration; no daemon is needed."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from ollama_proxyd.cli.failures import BadConfig, Failed
from ollama_proxyd.cli.session import asked, json_option, say

if TYPE_CHECKING:
    from ollama_proxyd.config.problems import Problem

FILE = click.argument("file", required=False, type=click.Path(path_type=Path))


class CheckResult(NamedTuple):
    """The judgement of a configuration: its file, None for the built-in defaults, and its problems."""

    path: str | None
    errors: "tuple[Problem, ...]"
    warnings: "tuple[Problem, ...]"


@click.group()
def config() -> None:
    """Find, check and edit the configuration."""


@config.command()
@FILE
@json_option
def check(file: Path | None) -> None:
    """Say whether FILE is good, or the configuration that applies."""
    verdict = judge(file)
    if asked().as_json:
        problems = {"errors": _plain(verdict.errors), "warnings": _plain(verdict.warnings)}
        say({"path": verdict.path, **problems}, str)
        click.get_current_context().exit(BadConfig.exit_code if verdict.errors else 0)
    if verdict.errors:
        raise BadConfig("\n".join(["this configuration cannot be used", *map(str, verdict.errors)]))
    report_good(verdict.path, verdict.warnings)


@config.command()
@json_option
def path() -> None:
    """Print where the configuration is, or would be."""
    found, exists = applies()
    if not exists:
        click.echo("there is no configuration file yet, so the built-in defaults apply", err=True)
    say({"path": str(found), "exists": exists}, lambda _: str(found))


@config.command()
@FILE
def edit(file: Path | None) -> None:
    """Edit FILE or the configuration that applies, and check it.

    The editor is $VISUAL or $EDITOR. A running daemon applies the file as soon as it is saved; a bad one changes
    nothing.
    """
    chosen = file or applies()[0]
    while True:
        if not _open_editor(chosen):
            click.echo(f"{chosen} was not written; nothing has changed", err=True)
            return
        verdict = judge(chosen)
        for problem in (*verdict.errors, *verdict.warnings):
            click.echo(problem, err=True)
        if not verdict.errors:
            click.echo(f"{chosen}: good")
            return
        if not _again():
            raise BadConfig(f"{chosen} cannot be used as it is; a running daemon goes on with what it had")


def _open_editor(file: Path) -> bool:
    """Edit a file, a new one from the template; returns whether there is one then."""
    from ollama_proxyd.cli.install import parts  # noqa: PLC0415 - memory that the daemon, which reports here too, spares

    template, is_new = parts.template("config.yaml"), not os.path.lexists(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if is_new:
            file.touch(mode=0o600)
            file.write_bytes(template)
        click.edit(filename=str(file))
    except OSError as error:
        raise Failed(f"cannot write {file}: {error.strerror}; name another file") from None
    except click.ClickException as error:
        raise Failed(f"{error.message}; set EDITOR to your editor") from None
    finally:
        if is_new and file.is_file() and file.read_bytes() == template:
            file.unlink()
    return file.exists()


def report_good(path: Path | str | None, warnings: "Sequence[Problem]") -> None:
    """Say that a configuration can be used, with its warnings."""
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{path}: good" if path else "there is no configuration file, so the built-in defaults apply")


def judge(file: Path | None) -> CheckResult:
    """What is wrong with a file, or with the configuration that applies."""
    from ollama_proxyd.config.load import find, load  # noqa: PLC0415 - 0.3 s that other commands need not wait for
    from ollama_proxyd.config.problems import ConfigError  # noqa: PLC0415 - as above

    found = find(file, os.environ)
    shown = None if found is None else str(found)
    try:
        return CheckResult(shown, (), load(file, os.environ).warnings)
    except ConfigError as error:
        return CheckResult(shown, error.problems, ())


def applies() -> tuple[Path, bool]:
    """The file that applies, or the first place where one would be looked for, and whether it is there."""
    from ollama_proxyd.config.load import find, search_paths  # noqa: PLC0415 - as above

    found = find(None, os.environ)
    return (found, found.exists()) if found is not None else (search_paths(os.environ)[0], False)


def _plain(problems: "Sequence[Problem]") -> list[dict[str, str | int | None]]:
    return [
        {"source": each.origin.source, "line": each.origin.line, "key": each.key or None, "message": each.message}
        for each in problems
    ]


def _again() -> bool:
    """Whether to open the editor once more; where nobody can answer, no."""
    return sys.stdin.isatty() and click.confirm("edit it again?", default=True, err=True)
