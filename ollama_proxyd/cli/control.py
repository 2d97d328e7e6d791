"""`ollama-proxyctl` and its alias `ai-efficiency`: ask the running daemon and steer it."""

import click

from ollama_proxyd import __version__
from ollama_proxyd.cli.commands.backends import backends
from ollama_proxyd.cli.commands.config import config
from ollama_proxyd.cli.commands.doctor import doctor
from ollama_proxyd.cli.commands.explain import explain
from ollama_proxyd.cli.commands.install_service import install_service
from ollama_proxyd.cli.commands.mode import mode
from ollama_proxyd.cli.commands.status import status
from ollama_proxyd.cli.commands.watch import watch
from ollama_proxyd.cli.session import HELP, daemon_options


@click.group(context_settings=HELP)
@daemon_options
@click.version_option(__version__, prog_name="ollama-proxyctl")
def control() -> None:
    """Ask and steer the running ollama-proxyd.

    It is asked over HTTP on its Unix socket, over TCP where there is none.
    """


@click.group(context_settings=HELP, invoke_without_command=True)
@daemon_options
@click.version_option(__version__, prog_name="ai-efficiency")
@click.pass_context
def ai_efficiency(context: click.Context) -> None:
    """Show, choose and hold the efficiency mode of ollama-proxyd; the same as `ollama-proxyctl mode`."""
    if context.invoked_subcommand is None:
        context.invoke(mode.commands["get"])


for command in (status, mode, backends, explain, watch, doctor, config, install_service):
    control.add_command(command)
for command in (*mode.commands.values(), status):
    ai_efficiency.add_command(command)
