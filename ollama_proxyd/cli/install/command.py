"""What `ollama-proxyctl install-service` does, apart from its command line, so that other commands do not load it."""

import os
import signal
import sys
import sysconfig
from pathlib import Path

from ollama_proxyd.cli.failures import Failed
from ollama_proxyd.cli.install.files import InstallError, load
from ollama_proxyd.cli.install.folders import of_environment
from ollama_proxyd.cli.install.installer import Installer
from ollama_proxyd.cli.install.machine import Machine
from ollama_proxyd.cli.install.parts import Site, site
from ollama_proxyd.cli.install.uninstaller import uninstall

PROGRAM = "ollama-proxyd"


def run(*, away: bool, purge: bool) -> list[str]:
    """Put the service in place or take it away; returns the lines of the report, raises Failed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that files are put back
    try:
        env, machine = Path(sys.prefix), Machine(os.environ)
        folders = of_environment(os.environ, env)
        manifest = load(folders.app)
        if away:
            return uninstall(folders, manifest, machine, purge=purge)
        is_ours = env.parent.resolve() == folders.environments.resolve()
        where = configured_site(folders.venv / "bin" if is_ours else programs())
        return Installer(folders, where, machine, env if is_ours else None).install(manifest)
    except (InstallError, OSError) as error:
        raise Failed(str(error)) from error


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
