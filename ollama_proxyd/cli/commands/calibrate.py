"""`ollama-proxyctl calibrate`: measures what each backend needs for a token, and the daemon learns it by the way."""

import sys
from typing import TYPE_CHECKING, Any

import click

from ollama_proxyd.cli.amounts import number
from ollama_proxyd.cli.failures import Failed
from ollama_proxyd.cli.parameters import BACKEND
from ollama_proxyd.cli.session import asked, json_option, say
from ollama_proxyd.cli.tables import table

if TYPE_CHECKING:
    from ollama_proxyd.cli.calibration import Target

STOPPED = 130
"""What shells say of a program that Ctrl-C ended."""
HEADS = ("backend", "model", "s/token read", "written", "J/token read", "written", "known", "")


@click.command()
@click.option("--backend", "only", type=BACKEND, multiple=True, help="Only this backend; may be given several times.")
@click.option("--all", "every_model", is_flag=True, help="Every model, instead of one for each backend.")
@click.option("--on-battery", is_flag=True, help="On battery too.")
@click.option("--wake", is_flag=True, help="Devices that sleep too, without asking.")
@json_option
def calibrate(only: tuple[str, ...], every_model: bool, on_battery: bool, wake: bool) -> None:
    """Measure what a token costs on each backend.

    A few prompts of known sizes go through the daemon, one after the other, and it learns from them as from any
    request. Ctrl-C stops at once, and shows what is measured by then.
    """
    from ollama_proxyd.cli.calibration import CUT_SHORT, STEPS, measure, targets  # noqa: PLC0415 - --help need not wait for it

    with asked().reach() as daemon:
        status = daemon.get("/status")
        _check_power(status, on_battery=on_battery)
        wanted = [each for each in targets(status, every_model=every_model) if not only or each.backend in only]
        chosen = _awake(wanted, wake=wake)
        if not chosen:
            raise Failed("no backend is there to be measured: none serves, or their devices sleep (--wake)")
        _announce(chosen, len(STEPS))
        rows: list[Any] = []
        is_stopped = False
        with click.progressbar(length=len(chosen) * len(STEPS), label="measuring", file=sys.stderr) as bar:
            try:
                for at, target in enumerate(chosen):
                    row = measure(daemon, target, lambda: bar.update(1))
                    is_cut = row["error"] == CUT_SHORT
                    if row["answers"] or not is_cut:
                        rows.append(row)
                    if is_cut:
                        raise KeyboardInterrupt
                    bar.update((at + 1) * len(STEPS) - bar.pos)
            except KeyboardInterrupt:
                daemon.close()  # the daemon ends an answer whose client has gone
                is_stopped = True
    say({"rows": rows, "stopped": is_stopped}, _text)
    if is_stopped:
        click.get_current_context().exit(STOPPED)


def _check_power(status: Any, *, on_battery: bool) -> None:
    if status["system"]["on_battery"] and not on_battery:
        raise Failed("the machine runs on its battery; plug it in, or add --on-battery")
    if status["system"]["on_battery"] is None:
        click.echo("whether the machine is on its charger is not known", err=True)


def _awake(wanted: "list[Target]", *, wake: bool) -> "list[Target]":
    """Those that are measured: a device that sleeps only where that was said."""
    asleep = sorted({each.backend for each in wanted if each.asleep})
    if not asleep or wake:
        return wanted
    names = ", ".join(asleep)
    if sys.stdin.isatty() and click.confirm(f"{names} sleep; wake them for it?", default=False, err=True):
        return wanted
    click.echo(f"left out, since they sleep (--wake): {names}", err=True)
    return [each for each in wanted if not each.asleep]


def _announce(chosen: "list[Target]", steps: int) -> None:
    backends = list(dict.fromkeys(each.backend for each in chosen))
    click.echo(
        f"{len(chosen) * steps} short requests, one after the other, to {', '.join(backends)}; Ctrl-C stops", err=True
    )


def _text(found: Any) -> str:
    rows = [
        (
            row["backend"],
            row["model"],
            *(
                _figure(row[f"{what}_{unit}_per_token"])
                for unit in ("seconds", "joules")
                for what in ("read", "written")
            ),
            _known(row),
            row["error"] or "",
        )
        for row in found["rows"]
    ]
    shown = table(HEADS, rows, numbers_from=2) if rows else "nothing was measured"
    return f"{shown}\nstopped; what is shown was measured by then" if found["stopped"] else shown


def _figure(value: float | None) -> str:
    return "" if value is None else number(value)


def _known(row: Any) -> str:
    """Where the joules come from, and how far repeated answers differed."""
    error = row["energy_error_percent"]
    spread = "" if error is None else f" ±{error:.0f} %"
    return f"{row['energy_source']}{spread}" if row["energy_source"] else ""
