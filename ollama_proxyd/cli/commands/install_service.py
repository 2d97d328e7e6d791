"""`ollama-proxyctl install-service`: makes an installed package a service of the user."""

import os
import signal
import sys
import sysconfig
from pathlib import Path

import click

from ollama_proxyd.cli.failures import Failed
from ollama_proxyd.cli.install.files import InstallError, load
from ollama_proxyd.cli.install.folders import of_environment
from ollama_proxyd.cli.install.installer import Installer
from ollama_proxyd.cli.install.machine import Machine
from ollama_proxyd.cli.install.parts import Site, site
from ollama_proxyd.cli.install.uninstaller import uninstall

PROGRAM = "ollama-proxyd"


@click.command("install-service")
@click.option("--uninstall", "away", is_flag=True, help="Take it away again.")
@click.option("--purge", is_flag=True, help="With --uninstall: the configuration and what was learned too.")
def install_service(away: bool, purge: bool) -> None:
    """Put the systemd units and the D-Bus activation of this user in place.

    For installations by pipx or pip; scripts/install does it by itself.
    """
    if purge and not away:
        raise click.UsageError("--purge goes with --uninstall")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that files are put back
    try:
        env, machine = Path(sys.prefix), Machine(os.environ)
        folders = of_environment(os.environ, env)
        manifest = load(folders.app)
        if away:
            lines = uninstall(folders, manifest, machine, purge=purge)
        else:
            is_ours = env.parent.resolve() == folders.environments.resolve()
            where = configured_site(folders.venv / "bin" if is_ours else programs())
            lines = Installer(folders, where, machine, env if is_ours else None).install(manifest)
    except (InstallError, OSError) as error:
        raise Failed(str(error)) from error
    click.echo("\n".join(lines))


def programs() -> Path:
    """The folder with the daemon of this very installation."""
    beside = (Path(sysconfig.get_path("scripts")), Path(sys.argv[0]).absolute().parent, Path(sys.executable).parent)
    for folder in beside:
        if os.access(folder / PROGRAM, os.X_OK):
            return folder
    raise InstallError(f"{PROGRAM} is not in {beside[0]}; install the package with pipx or pip first")


def configured_site(folder: Path) -> Site:
    """The site of this user's configuration; the default address where that cannot be read."""
    from ollama_proxyd.config.load import load as load_config  # noqa: PLC0415 - 0.3 s for the configuration
    from ollama_proxyd.config.problems import ConfigError  # noqa: PLC0415 - as above

    try:
        server = load_config(None, os.environ).server
    except ConfigError:
        return Site(folder)
    return site(folder, server.host, server.port)
