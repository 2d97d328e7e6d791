"""What `ollama-proxyctl install-service` does, apart from its command line, so that other commands do not load it."""

import ipaddress
import os
import signal
import sys
import sysconfig
from pathlib import Path

from ollama_proxyd.cli.failures import Failed
from ollama_proxyd.cli.install.files import InstallError, load
from ollama_proxyd.cli.install.folders import NAME, of_environment
from ollama_proxyd.cli.install.installer import Installer, uninstall
from ollama_proxyd.cli.install.machine import Machine
from ollama_proxyd.cli.install.parts import Site


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
        if os.access(folder / NAME, os.X_OK):
            return folder
    raise InstallError(f"{NAME} is not in {beside[0]}; install the package with pipx or pip first")


def configured_site(folder: Path) -> Site:
    """The site of this user's configuration; the default address where that cannot be read."""
    from ollama_proxyd.config.load import load as load_config  # noqa: PLC0415 - 0.3 s for the configuration
    from ollama_proxyd.config.problems import ConfigError  # noqa: PLC0415 - as above
    from ollama_proxyd.edges.http_api.settings import client_url  # noqa: PLC0415 - as above

    try:
        server = load_config(None, os.environ).server
    except ConfigError:
        return Site(folder)
    return Site(folder, _address(server.host, server.port), client_url(server.host, server.port))


def _address(host: str, port: int) -> str | None:
    """An address for a socket unit; None for a name, and for a port that is not fixed."""
    try:
        ip = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return None
    return f"{f'[{ip}]' if ip.version == 6 else ip}:{port}" if port else None
