"""`ollama-proxyctl energy`: what answers cost, by program, model, backend, day or mode."""

from typing import Any

import click

from ollama_proxyd.cli.failures import Silent, Unreachable
from ollama_proxyd.cli.render_energy import books as rendered
from ollama_proxyd.cli.session import asked, json_option, say

BY = ("app", "model", "backend", "day", "mode")
MOST_DAYS = 366


@click.command()
@click.option("--week", is_flag=True, help="The last seven days, instead of this one.")
@click.option("--days", type=click.IntRange(1, MOST_DAYS), help="So many days, this one included.")
@click.option("--by", type=click.Choice(BY), default="app", help="What a row stands for; without it, a program.")
@json_option
def energy(week: bool, days: int | None, by: str) -> None:
    """Show what answers cost, in watt-hours, by program or day."""
    if week and days is not None:
        raise click.UsageError("--week means --days 7; give one of them")
    days = 7 if week else days or 1
    try:
        with asked().reach() as daemon:
            told = daemon.get(f"/energy?days={days}&by={by}")
    except Unreachable as error:
        if asked().url or isinstance(error, Silent):
            raise
        click.echo("the daemon does not run, so what it has kept is read", err=True)
        told = _kept(days, by)
    say(told, rendered)


def _kept(days: int, by: str) -> Any:
    """The same from the daemon's file; raises Failed."""
    from datetime import date, timedelta  # noqa: PLC0415 - these take 60 ms, which the usual case need not wait for

    from ollama_proxyd.cli.kept_history import kept_history  # noqa: PLC0415
    from ollama_proxyd.core.energy_books import Asked, By, books_fields  # noqa: PLC0415
    from ollama_proxyd.core.readings import Unavailable  # noqa: PLC0415
    from ollama_proxyd.edges.storage.history_queries import books  # noqa: PLC0415

    today = date.today()  # noqa: DTZ011 - the days of the books are local ones
    with kept_history() as connection:
        found = books(connection, Asked(str(today - timedelta(days - 1)), str(today), By(by)))
    return books_fields(found, Unavailable.because("daemon_stopped"), None)
