"""`ollama-proxyctl features`: the flags, what each really does at each backend, and switching one."""

from typing import Any

import click

from ollama_proxyd.cli.session import answer, json_option
from ollama_proxyd.cli.tables import table

_IN_FORCE = {True: "in force", False: "not in force", None: "not told"}


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def features(context: click.Context) -> None:
    """Show feature flags, and what each does where."""
    if context.invoked_subcommand is None:
        answer(lambda daemon: daemon.get("/api/features"), flags)


@features.command("on")
@click.argument("feature")
@click.option("--keep", is_flag=True, help="Over restarts too.")
@json_option
def switch_on(feature: str, keep: bool) -> None:
    """Switch a flag on, for requests from now on."""
    _switch(feature, enabled=True, keep=keep)


@features.command("off")
@click.argument("feature")
@json_option
def switch_off(feature: str) -> None:
    """Switch a flag off."""
    _switch(feature, enabled=False, keep=False)


def _switch(feature: str, *, enabled: bool, keep: bool) -> None:
    choice = {"feature": feature, "enabled": enabled, "keep": keep}
    answer(lambda daemon: [each for each in daemon.post("/api/features", choice) if each["id"] == feature], flags)


def flags(all_of_them: Any) -> str:
    """Each flag with a line for each backend."""
    return "\n\n".join(_flag(each) for each in all_of_them)


def _flag(flag: Any) -> str:
    state = "on" if flag["enabled"] else "wanted, but nothing here does it" if flag["wanted"] else "off"
    kept = ", kept over restarts" if flag["kept"] else ""
    rows = [(f"  {each['backend']}", _IN_FORCE[each["in_force"]], each["reason"]) for each in flag["backends"]]
    return "\n".join([f"{flag['id']}: {state}{kept}", f"  {flag['description']}", table(("", "", ""), rows)]).rstrip()
