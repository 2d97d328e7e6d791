"""`ollama-proxyctl house`, `pair` and `unpair`: the other machines of the house."""

import json
from typing import Any

import click

from ollama_proxyd.cli.failures import Failed
from ollama_proxyd.cli.printable import printable, printable_data
from ollama_proxyd.cli.session import answer, asked, json_option, json_text
from ollama_proxyd.cli.tables import table


@click.command()
@json_option
def house() -> None:
    """Show the machines that this one is paired with."""
    answer(lambda daemon: daemon.get("/house"), machines)


@click.command()
@click.argument("code", required=False)
@click.option("--address", metavar="HOST[:PORT]", help="Of the machine that shows the code, where it is not found.")
@json_option
def pair(code: str | None, address: str | None) -> None:
    """Pair this machine with another one.

    Without CODE it shows one, and waits two minutes; give that code to the same command on the other machine.
    """
    if code is not None:
        answer(lambda daemon: daemon.post("/house/pair", {"code": code, "address": address}), _paired)
        return
    if address is not None:
        raise click.UsageError("--address goes with the code of the other machine")
    with asked().reach() as daemon:
        for line in daemon.lines("/house/pair", {}, {}):
            _tell(json.loads(line))


def _tell(line: Any) -> None:
    if "error" in line:
        raise Failed(line["error"])
    if asked().as_json:
        click.echo(json_text(line))
    elif "code" in line:
        click.echo(f"Code: {line['code']}\nOn the other machine: ollama-proxyctl pair {line['code']}")
    else:
        click.echo(printable(_paired(printable_data(line)), keep="\n"))


@click.command()
@click.argument("name")
@json_option
def unpair(name: str) -> None:
    """Forget a paired machine, and cut it off."""
    answer(lambda daemon: daemon.post("/house/unpair", {"name": name}), machines)


def _paired(peer: Any) -> str:
    return f"Paired with {peer['name']} at {peer['address']}."


def machines(told: Any) -> str:
    """This machine, and a line for each other one."""
    if not told["enabled"]:
        return "Other machines are not used; house.enabled in the configuration says so."
    head = [f"This machine is {told['name']}, at port {told['port']} for paired machines."]
    if told["trouble"]:
        head.append(f"Note: {told['trouble']}.")
    rows = [
        (
            each["name"],
            each["address"],
            _power(each),
            _round_trip(each),
            ", ".join(each["backends"]) or each["reason"] or "",
        )
        for each in told["peers"]
    ]
    if not rows:
        return "\n".join([*head, "No machine is paired; begin with: ollama-proxyctl pair"])
    return "\n".join([*head, "", table(("MACHINE", "ADDRESS", "POWER", "NETWORK", "BACKENDS"), rows)])


def _power(peer: Any) -> str:
    if not peer["is_connected"]:
        return "not reached"
    if peer["on_battery"] is None:
        return "not known"
    percent = "" if peer["battery_percent"] is None else f", {peer['battery_percent']:.0f} %"
    return f"battery{percent}" if peer["on_battery"] else "mains"


def _round_trip(peer: Any) -> str:
    return "" if peer["rtt_ms"] is None else f"{peer['rtt_ms']:.1f} ms"
