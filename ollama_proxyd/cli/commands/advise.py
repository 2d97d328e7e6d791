"""`ollama-proxyctl advise`: which quantisation of a model suits this machine."""

from typing import Any
from urllib.parse import urlencode

import click

from ollama_proxyd.cli import session
from ollama_proxyd.cli.amounts import number
from ollama_proxyd.cli.parameters import BACKEND
from ollama_proxyd.cli.render import quantity
from ollama_proxyd.cli.render_machine import size
from ollama_proxyd.cli.session import json_option, say
from ollama_proxyd.cli.tables import table

_FITS = {True: "yes", False: "no", None: "unknown"}


@click.command()
@click.argument("model")
@click.option("--context", type=click.IntRange(1, 10**8), help="The context in tokens; the model's own if left out.")
@click.option("--backend", type=BACKEND, metavar="ID", help="Only for this backend's device.")
@click.option("--aggressive", is_flag=True, help="One tier lower than what fits.")
@json_option
def advise(model: str, context: int | None, backend: str | None, aggressive: bool) -> None:
    """Show which quantisation of a model fits here.

    Each comes with its memory, speed and joules per token.

    Exit status 3: none fits, or it is not known how much memory there is.
    """
    asked = {"model": model, "context": context, "backend": backend, "aggressive": "1" if aggressive else None}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    with session.asked().reach() as daemon:
        found = daemon.get(f"/api/quant-advice?{query}")
    say(found, advice)
    if found["recommended"] is None:
        click.get_current_context().exit(3)


def advice(found: Any) -> str:
    """The recommendation, and a table for each device."""
    return "\n\n".join([_head(found), *(_device(each) for each in found["devices"])])


def _head(found: Any) -> str:
    parameters = f"{number(found['parameters'] / 1e9)} billion parameters by {found['parameters_from']}"
    context = f", {found['context_tokens']} tokens of context" if found["context_tokens"] else ""
    best = found["recommended"]
    where = found["backend"] or "the processor, once an engine is here"
    advised = f"{best['tag']} on {where}: {best['description'].lower()}" if best else "nothing fits"
    return f"{found['model']} ({parameters}{context})\nadvised: {advised}\n{found['registry_tags']['reason']}"


def _device(device: Any) -> str:
    free = size(device["memory_free_bytes"]) or "unknown"
    total = size(device["memory_total_bytes"]) or "unknown"
    why = f"; {device['reason']}" if device["reason"] else ""
    heads = ("", "tier", "memory", "fits", "speed", "energy", "known", "held")
    rows = [
        (
            "*" if each["tag"] == device["recommended"] else " ",
            each["tag"],
            size(each["memory_bytes"]) + ("" if each["cache_bytes"] is not None else " and its context"),
            _FITS[each["fits"]],
            quantity(each["tokens_per_second"], "tokens/s"),
            quantity(each["joules_per_token"], "J/token"),
            each["speed_from"],
            ", ".join(each["models"]),
        )
        for each in device["tiers"]
    ]
    name = device["backend"] or "no backend yet"
    return f"{name} ({device['hardware']}), {free} of {total} free{why}\n{table(heads, rows)}"
