"""The daemon's command line."""

import asyncio
import logging
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from ollama_proxyd import __version__
from ollama_proxyd.app import collector, startup_error
from ollama_proxyd.app import logging as daemon_logging
from ollama_proxyd.app.daemon import Daemon, run
from ollama_proxyd.app.launch_options import LaunchOptions
from ollama_proxyd.app.loop import Loop
from ollama_proxyd.app.sources import Demo
from ollama_proxyd.cli.banner import banner
from ollama_proxyd.cli.commands.config import report_good
from ollama_proxyd.cli.failures import Program, let_go_of_output
from ollama_proxyd.config.load import Overrides
from ollama_proxyd.config.problems import ConfigError
from ollama_proxyd.config.settings import Auth, Config
from ollama_proxyd.core.errors import ProxyError

log = logging.getLogger(__name__)

SWITCH_S = 0.0005
"""For so long a thread keeps the loop waiting for Python's lock; ten times as long, by default, is felt in streams."""


@click.group(cls=Program, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), help="The configuration file, instead of the first found.")
@click.option("--host", help="The address to listen on.")
@click.option(
    "--http-port", "--port", "http_port", type=click.IntRange(0, 65535), help="The TCP port; 0 lets the system choose."
)
@click.option("--log-level", help="debug, info, warning or error.")
@click.option("--demo", "demo", flag_value=Demo.ALWAYS, type=Demo, help="Use the built-in demo fleet.")
@click.option("--demo-if-none", "demo", flag_value=Demo.IF_NONE, type=Demo, help="Use it if no backend is found.")
@click.option("--check-config", is_flag=True, help="Say whether the configuration is good, and end.")
@click.version_option(__version__, prog_name="ollama-proxyd")
def daemon(
    config: Path | None,
    host: str | None,
    http_port: int | None,
    log_level: str | None,
    demo: Demo | None,
    check_config: bool,
) -> None:
    """Serve one endpoint and route each request to the backend that answers it for the least energy."""
    overrides = Overrides(host=host, http_port=http_port, log_level=log_level)
    options = LaunchOptions(os.environ, config, overrides, demo or Demo.NEVER)
    context = click.get_current_context()
    context.obj = options, check_config
    if context.invoked_subcommand is None:
        _start(options, check_config=check_config)


@daemon.command()
@click.pass_obj
def picker(given: tuple[LaunchOptions, bool]) -> None:
    """Pick endpoints for a gateway that asks by Envoy's external processing.

    The options stand before the word: ollama-proxyd --config FILE picker.
    """
    options, check_config = given
    _start(replace(options, is_picker=True), check_config=check_config)


def _start(options: LaunchOptions, *, check_config: bool) -> None:
    try:
        loaded = options.load()
    except ConfigError as error:
        startup_error.say(str(error), os.environ)
        sys.exit(startup_error.CONFIG)
    if check_config:
        report_good(loaded.path, loaded.warnings)
    else:
        _serve(options, loaded)


def _serve(options: LaunchOptions, config: Config) -> None:
    daemon_logging.configure(config.log.level, options.environ)
    for warning in config.warnings:
        log.warning("%s", warning)
    try:
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(run(options, config, partial(_announce, config.auth)))
    except ProxyError as error:
        startup_error.say(f"ollama-proxyd: {error.message}", options.environ)
        sys.exit(startup_error.exit_status(error))


def _announce(auth: Auth, running: Daemon) -> None:
    if daemon_logging.reads_journal(os.environ):
        log.info("ollama-proxyd %s listens on %s", __version__, running.url)
    else:
        try:
            click.echo(banner(running.url, running.source, running.services, auth))
        except OSError:  # its reader has left, or its disk is full: no reason to answer nobody
            let_go_of_output()
    sys.set_asyncgen_hooks(firstiter=None)  # who opens a generator closes it; the loop's list of them only costs
    collector.leave_out_what_is()
    sys.setswitchinterval(SWITCH_S)
