"""`ollama-proxyctl explain`: where a request would go, and what every candidate would cost."""

from collections.abc import Mapping
from typing import Any

import click

from ollama_proxyd.cli import session
from ollama_proxyd.cli.parameters import BACKEND, MODE
from ollama_proxyd.cli.render_decision import decision
from ollama_proxyd.cli.session import json_option, say

HINTS = ("target", "latency_critical", "power_efficient", "max_latency_ms", "max_power_watts", "strict_limits", "defer")
SYSTEM = (
    "on_battery",
    "battery_percent",
    "battery_state",
    "hottest_celsius",
    "fan_percent",
    "power_profile",
    "quiet_hours",
)
BATTERY_STATES = ("charging", "discharging", "empty", "fully-charged", "pending-charge", "pending-discharge")
PROFILES = ("power-saver", "balanced", "performance")


@click.command()
@click.option("--model", help="The requested model; any if left out.")
@click.option("--prompt-tokens", type=click.IntRange(min=0), help="The length of the prompt.")
@click.option("--max-tokens", type=click.IntRange(min=0), help="The longest answer.")
@click.option("--image-urls", "has_image_urls", is_flag=True, default=None, help="As if it had images by address.")
@click.option("--mode", type=MODE, help="As if this mode were chosen.")
@click.option("--target", type=BACKEND, metavar="ID", help="As if the request named this backend.")
@click.option("--frontend", metavar="NAME", help="As if the request came to this front end.")
@click.option("--latency-critical", is_flag=True, default=None, help="As if the request were latency-critical.")
@click.option("--power-efficient", is_flag=True, default=None, help="As if only energy counted.")
@click.option(
    "--max-latency-ms", type=click.FloatRange(0, min_open=True), help="As if the answer had to begin by then."
)
@click.option("--max-power-watts", type=click.FloatRange(0, min_open=True), help="As if the request limited the power.")
@click.option("--strict-limits", is_flag=True, default=None, help="As if the mode's limits were strict.")
@click.option("--defer", type=click.Choice(("ac",)), help="As if the request might wait for the charger.")
@click.option("--on-battery/--on-mains", default=None, help="As if the laptop were on battery, or not.")
@click.option(
    "--battery", "battery_percent", type=click.FloatRange(0, 100), metavar="PERCENT", help="As if at this charge."
)
@click.option("--battery-state", type=click.Choice(BATTERY_STATES), help="As if the battery did this.")
@click.option(
    "--hottest",
    "hottest_celsius",
    type=click.FloatRange(0, 200),
    metavar="CELSIUS",
    help="As if devices were this hot.",
)
@click.option(
    "--fan", "fan_percent", type=click.FloatRange(0, 100), metavar="PERCENT", help="As if fans ran at this speed."
)
@click.option("--power-profile", type=click.Choice(PROFILES), help="As if this profile were active.")
@click.option("--quiet-hours/--no-quiet-hours", default=None, help="As if these were the quiet hours, or not.")
@json_option
def explain(**asked: Any) -> None:
    """Show where a request would go, and each cost in joules.

    Nothing is sent and nothing changes. If a part of the machine's state is given, the rest is unknown.
    Exit status 3: no backend can serve the request.
    """
    with session.asked().reach() as daemon:
        found = daemon.post("/routing/explain", question(asked))
    say(found, decision)
    if found["backend"] is None:
        click.get_current_context().exit(3)


def question(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The options as the body of POST /routing/explain."""
    given = {name: value for name, value in asked.items() if value is not None}
    nested = {
        part: {name: given.pop(name) for name in names if name in given}
        for part, names in (("hints", HINTS), ("system", SYSTEM))
    }
    return given | {part: values for part, values in nested.items() if values}
