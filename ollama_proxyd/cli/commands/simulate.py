"""`ollama-proxyctl simulate`: what each mode costs on a simulated day, beside what others would do."""

from typing import Any

import click

from ollama_proxyd.cli.amounts import number
from ollama_proxyd.cli.parameters import MODE
from ollama_proxyd.cli.session import json_option, say
from ollama_proxyd.cli.tables import table

MACHINES = ("laptop", "handheld", "workstation", "unseen", "batching")
DAYS = ("day", "agents", "chat")
COLUMNS = {
    "energy_joules": "J/request",
    "active_joules": "answers",
    "load_joules": "loading",
    "tail_joules": "idle tail",
    "waiting_seconds": "waits s",
    "p95_seconds": "p95 s",
    "ttft_p50_seconds": "first word s",
    "ttft_p95_seconds": "p95 s",
    "missed_percent": "late %",
    "refused": "refused",
    "background_seconds": "background s",
    "battery_hours": "battery h",
    "gap_percent": "above bound %",
}


@click.command()
@click.option("--machine", type=click.Choice(MACHINES), default="laptop", help="The machine; the laptop if left out.")
@click.option("--traffic", type=click.Choice(DAYS), default="day", help="A mixed day, four agents, or chats alone.")
@click.option("--mode", "modes", type=MODE, multiple=True, help="Only this mode; may be given several times.")
@click.option("--baselines", "with_baselines", is_flag=True, help="Routing by other rules too, for comparison.")
@click.option("--seeds", type=click.IntRange(1, 100), default=1, help="How many different days; the means are shown.")
@json_option
def simulate(machine: str, traffic: str, modes: tuple[str, ...], with_baselines: bool, seeds: int) -> None:
    """Show what each mode would cost on a simulated machine.

    The daemon need not run, and nothing is sent anywhere. It is the daemon's own code in virtual time; what devices
    draw and how fast they are is assumed.
    """
    from ollama_proxyd.core.modes import Mode  # noqa: PLC0415 - the simulator takes 0.5 s that no other command needs
    from ollama_proxyd.sim.comparing import Question, rows  # noqa: PLC0415 - as above

    wanted = tuple(Mode(each) for each in modes) or tuple(Mode)
    found = rows(Question(machine, traffic, wanted, with_baselines, seeds))
    say({"machine": machine, "traffic": traffic, "seeds": seeds, "rows": list(found)}, _text)


MEANINGS = """\
late: slower than twice the fastest device alone, and a quarter of a second
above bound: joules and priced waiting, beside each request alone without a queue"""


def _text(found: Any) -> str:
    cells = [
        (row["name"], *("" if row.get(key) is None else number(row[key]) for key in COLUMNS)) for row in found["rows"]
    ]
    days = "1 day" if found["seeds"] == 1 else f"{found['seeds']} days"
    head = f"simulated: machine {found['machine']}, traffic {found['traffic']}, {days}; joules above an idle machine's"
    return f"{head}\n{table(('', *COLUMNS.values()), cells, numbers_from=1)}\n\n{MEANINGS}"
