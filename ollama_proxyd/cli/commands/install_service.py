"""`ollama-proxyctl install-service`: makes what a wheel brought to this machine a service of the user's."""

import os
import sys
import sysconfig
from pathlib import Path

import click

from ollama_proxyd.cli.failures import Failed
from ollama_proxyd.cli.install.failures import InstallError
from ollama_proxyd.cli.install.folders import Folders, of_user
from ollama_proxyd.cli.install.installer import Wanted, install
from ollama_proxyd.cli.install.manifest import Manifest, load
from ollama_proxyd.cli.install.report import Report
from ollama_proxyd.cli.install.templates import Site, site
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
    try:
        folders = of_user(os.environ)
        manifest = load(folders.app)
        report = uninstall(folders, manifest, os.environ, purge=purge) if away else _install(folders, manifest)
    except (InstallError, OSError) as error:
        raise Failed(str(error)) from error
    click.echo(report.text())


def _install(folders: Folders, manifest: Manifest) -> Report:
    if manifest.trees:
        raise InstallError("scripts/install has put the service in place already; to renew it, run that again")
    return install(Wanted(folders, configured_site(programs()), os.environ), manifest)


def programs() -> Path:
    """The folder with the daemon of this very installation."""
    beside = (Path(sysconfig.get_path("scripts")), Path(sys.argv[0]).absolute().parent, Path(sys.executable).parent)
    for folder in beside:
        if os.access(folder / PROGRAM, os.X_OK):
            return folder
    raise InstallError(f"{PROGRAM} is not in {beside[0]}; install the package with pipx or pip first")


def configured_site(folder: Path) -> Site:
    """Where the daemon listens with the configuration of this user; the usual address where that cannot be read."""
    from ollama_proxyd.config.load import load as load_config  # noqa: PLC0415 - 0.3 s for the configuration
    from ollama_proxyd.config.problems import ConfigError  # noqa: PLC0415 - as above

    try:
        server = load_config(None, os.environ).server
    except ConfigError:
        return Site(folder)
    return site(folder, server.host, server.port)
