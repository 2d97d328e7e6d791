"""`ollama-proxyctl` and its alias `ai-efficiency`: ask the running daemon and steer it."""

import click

from ollama_proxyd import __version__
from ollama_proxyd.cli import render, render_machine
from ollama_proxyd.cli.commands.admin import admin
from ollama_proxyd.cli.commands.advise import advise
from ollama_proxyd.cli.commands.backends import backends
from ollama_proxyd.cli.commands.calibrate import calibrate
from ollama_proxyd.cli.commands.config import config
from ollama_proxyd.cli.commands.doctor import doctor
from ollama_proxyd.cli.commands.energy import energy
from ollama_proxyd.cli.commands.engines import engines
from ollama_proxyd.cli.commands.explain import explain
from ollama_proxyd.cli.commands.features import features
from ollama_proxyd.cli.commands.house import house, pair, unpair
from ollama_proxyd.cli.commands.mode import ModeGroup, mode
from ollama_proxyd.cli.commands.models import models
from ollama_proxyd.cli.commands.replay import replay
from ollama_proxyd.cli.commands.simulate import simulate
from ollama_proxyd.cli.commands.watch import watch
from ollama_proxyd.cli.failures import Program
from ollama_proxyd.cli.session import HELP, answer, daemon_options, json_option


@click.group(cls=Program, context_settings=HELP)
@daemon_options
@click.version_option(__version__, prog_name="ollama-proxyctl")
def control() -> None:
    """Ask and steer the running ollama-proxyd.

    It is asked over HTTP on its Unix socket, over TCP where there is none.
    """


class ModeProgram(ModeGroup, Program):
    """`ollama-proxyctl mode` as a program."""


@click.group(cls=ModeProgram, context_settings=HELP, invoke_without_command=True)
@daemon_options
@click.version_option(__version__, prog_name="ai-efficiency")
@click.pass_context
def ai_efficiency(context: click.Context) -> None:
    """Show, choose and hold the efficiency mode of ollama-proxyd; the same as `ollama-proxyctl mode`."""
    if context.invoked_subcommand is None:
        context.invoke(mode.commands["get"])


@control.command()
@json_option
def status() -> None:
    """Show the mode and why, the backends and the machine."""
    answer(lambda daemon: daemon.get("/status"), render.status)


@control.command()
@json_option
def machine() -> None:
    """Show the machine's cores, caches, memory and devices."""
    answer(lambda daemon: daemon.get("/machine"), render_machine.machine)


@control.command("install-service")
@click.option("--uninstall", "away", is_flag=True, help="Take it away again.")
@click.option("--purge", is_flag=True, help="With --uninstall: the configuration and what was learned too.")
def install_service(away: bool, purge: bool) -> None:
    """Make the daemon a service of this user, or undo that.

    It writes systemd units and files for D-Bus activation. For installations by pipx or pip; scripts/install does it
    by itself.
    """
    if purge and not away:
        raise click.UsageError("--purge goes with --uninstall")
    from ollama_proxyd.cli.install import command  # noqa: PLC0415 - 20 ms that other commands need not wait for

    click.echo("\n".join(command.run(away=away, purge=purge)))


OF_DAEMON = (
    mode,
    backends,
    engines,
    models,
    energy,
    explain,
    watch,
    doctor,
    config,
    simulate,
    replay,
    calibrate,
    advise,
    features,
    admin,
    house,
    pair,
    unpair,
)
for command in OF_DAEMON:
    control.add_command(command)
for command in (*mode.commands.values(), status):
    ai_efficiency.add_command(command)
