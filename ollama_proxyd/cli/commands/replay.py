"""`ollama-proxyctl replay`: what the last days would have cost in other modes."""

from datetime import date, timedelta
from typing import Any

import click

from ollama_proxyd.cli.amounts import count, number
from ollama_proxyd.cli.failures import Failed
from ollama_proxyd.cli.parameters import MODE
from ollama_proxyd.cli.session import json_option, say
from ollama_proxyd.cli.tables import table

MOST_DAYS = 366


@click.command()
@click.option("--week", is_flag=True, help="The last seven days; so without an option.")
@click.option("--days", type=click.IntRange(1, MOST_DAYS), help="So many days, this one included.")
@click.option("--mode", "modes", type=MODE, multiple=True, help="Only this mode; may be given several times.")
@json_option
def replay(week: bool, days: int | None, modes: tuple[str, ...]) -> None:
    """Show what the last days would have cost in other modes.

    Their requests are played again in virtual time, by the daemon's own code, on this machine's backends as they were
    measured. Only figures are read, from the daemon's history; nothing is sent anywhere.
    """
    if week and days is not None:
        raise click.UsageError("--week means --days 7; give one of them")
    from ollama_proxyd.core.modes import Mode  # noqa: PLC0415 - the simulator takes 0.5 s that no other command needs
    from ollama_proxyd.sim.replaying import compared, replay_of  # noqa: PLC0415 - as above

    span = days or 7
    found = replay_of(*_rows(span))
    if found is None:
        raise Failed(
            f"the history of the last {span} days has no request that can be played again: answered, with its tokens"
            " told; use the proxy for a while, or ask for more --days"
        )
    wanted = [Mode(each) for each in modes] or [mode for mode in Mode if mode is not Mode.AUTO]
    say({"days": span, **compared(found, wanted)}, _text)


def _rows(days: int) -> tuple[Any, Any]:
    """What the daemon's file has of these days: requests, and attempts; raises Failed."""
    from ollama_proxyd.cli.kept_history import kept_history  # noqa: PLC0415 - SQLite, which --help need not wait for
    from ollama_proxyd.edges.storage.history_queries import since  # noqa: PLC0415 - as above

    first = str(date.today() - timedelta(days - 1))  # noqa: DTZ011 - the days of the books are local ones
    with kept_history() as connection:
        return since(connection, "requests", first), since(connection, "attempts", first)


def _text(found: Any) -> str:
    was, recorded = found["as_it_was"], found["recorded"]
    days = "today" if found["days"] == 1 else f"the last {found['days']} days"
    of_all = f"{found['requests']} of {count(found['found'], 'request')}"
    lines = [f"{days} again, simulated from {of_all}; joules and seconds of each", ""]
    cells = [_cells(row) for row in (was, *found["rows"])]
    lines += [table(("", "J/request", "waits s", "energy", "waiting"), cells, numbers_from=1), ""]
    lines += [_sentence(days, row) for row in found["rows"]]
    told = "unknown" if recorded["energy_joules"] is None else f"{number(recorded['energy_joules'])} J"
    lines += ["", f"recorded then: {told} for each answer without idle tails, {number(recorded['waiting_seconds'])} s"]
    lines += ["not known:", *(f"  {each}" for each in found["unknown"])]
    return "\n".join(lines)


def _cells(row: Any) -> tuple[str, ...]:
    return (
        row["name"],
        number(row["energy_joules"]),
        number(row["waiting_seconds"]),
        _percent(row["energy_percent"]),
        _percent(row["waiting_percent"]),
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:+.0f} %"


def _sentence(days: str, row: Any) -> str:
    cost, wait = row["energy_percent"], row["waiting_percent"]
    if cost is None or wait is None:
        return f"{days} in {row['name']}: no comparison, since nothing is known to have cost or waited"
    less = f"{abs(cost):.0f} % {'less' if cost <= 0 else 'more'}"
    more = f"{abs(wait):.0f} % {'less' if wait <= 0 else 'more'}"
    return f"{days} in {row['name']} would have cost {less}, waiting {more}"
