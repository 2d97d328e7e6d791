"""Looks at the machine for the doctor; opens no device, and starts nothing."""

import grp
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbus_fast import BusType

from ollama_proxyd.cli import session_bus
from ollama_proxyd.cli.client import Client, default_url, host_and_port, reach
from ollama_proxyd.cli.doctor.checks import POWER_PROFILES, UPOWER
from ollama_proxyd.cli.doctor.facts import ConfigFacts, Device, DoctorFacts, EngineSocket, HttpFacts
from ollama_proxyd.cli.failures import Failed, Silent, Unreachable
from ollama_proxyd.config.load import find, load
from ollama_proxyd.config.problems import ConfigError
from ollama_proxyd.config.settings import Config
from ollama_proxyd.edges.http_api.settings import client_url
from ollama_proxyd.edges.plumbing.port_owner import port_owner

OLD_NAME = "com.anthropic.OllamaProxy.Efficiency"
OLD_FILES = (
    ".local/share/gnome-shell/extensions/ollamaproxy@anthropic.com",
    ".local/share/gnome-shell/extensions/ai-efficiency@anthropic.com",
    ".config/systemd/user/ie.fio.ollamaproxy.service",
)
COUNTERS = "class/powercap/intel-rapl:[0-9]*/energy_uj"
NODES = ("dri/renderD*", "accel/accel*", "kfd")


@dataclass(frozen=True, slots=True)
class Places:
    """Where to look; tests look elsewhere."""

    environ: Mapping[str, str]
    home: Path
    sysfs: Path = Path("/sys")
    dev: Path = Path("/dev")
    system_bus: BusType | str = BusType.SYSTEM


def gather(places: Places, url: str | None) -> DoctorFacts:
    """Every fact."""
    config, loaded = _config(places)
    no_session_bus, names = session_bus.find(BusType.SESSION, (session_bus.NAME, OLD_NAME))
    no_system_bus, services = session_bus.find(places.system_bus, (UPOWER, *POWER_PROFILES), or_startable=True)
    configured = client_url(loaded.server.host, loaded.server.port) if loaded else default_url()
    http, status, backends, house, told = _daemon(url, configured, loaded.server.token if loaded else None)
    file = None if told.get("path") is None else str(told["path"])
    if file is not None and file != config.path and os.path.lexists(file):  # it may be another machine's
        config, _ = _config(places, Path(file))
    return DoctorFacts(
        session_bus=no_session_bus,
        on_the_bus=names.get(session_bus.NAME, False),
        http=http,
        config=config,
        status=status,
        system_bus=no_system_bus,
        services=services,
        energy_counters={str(path): os.access(path, os.R_OK) for path in _top_level(places.sysfs)},
        devices=tuple(_device(path) for pattern in NODES for path in sorted(places.dev.glob(pattern))),
        leftovers=tuple(str(path) for name in OLD_FILES if (path := places.home / name).exists()),
        old_daemon=names.get(OLD_NAME, False),
        backends=backends,
        house=house,
        left_out=told.get("left_out") or (),
        sockets=tuple(socket_of(each) for each in (status or {}).get("engines") or () if each.get("socket")),
    )


def socket_of(engine: Any) -> EngineSocket:
    """As it is found; one that still loads need not listen."""
    path = Path(engine["socket"])
    return EngineSocket(str(path), engine["backend"], engine["model"], _trouble(path, engine["phase"] == "ready"))


def _trouble(path: Path, should_listen: bool) -> str:
    try:
        folder = path.parent.stat()
        if folder.st_uid != os.getuid() or folder.st_mode & 0o077:
            return f"can be reached by others, who can enter {path.parent}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
            made.settimeout(1)
            made.connect(str(path))
    except ConnectionRefusedError:
        return "is one at which nobody listens" if should_listen else ""
    except OSError as error:
        return f"cannot be used: {error.strerror or error}" if should_listen else ""
    return ""


def _config(places: Places, named: Path | None = None) -> tuple[ConfigFacts, Config | None]:
    found = find(named, places.environ)
    path = None if found is None else str(found)
    try:
        loaded = load(found, places.environ)
    except ConfigError as error:
        return ConfigFacts(path, errors=tuple(map(str, error.problems))), None
    return ConfigFacts(path, warnings=tuple(map(str, loaded.warnings))), loaded


def _daemon(url: str | None, configured: str, token: str | None) -> tuple[HttpFacts, Any, Any, Any, dict[str, Any]]:
    """Where the daemon is, and its status, backends, house and configuration, if it answers."""
    where = url or configured
    try:
        with reach(url, configured, token) as daemon:
            about = daemon.version()
            facts = HttpFacts(about["endpoint"], version=about["version"], grpc_endpoint=about.get("grpc_endpoint"))
            return facts, daemon.get("/status"), daemon.get("/backends"), daemon.get("/house"), _configuration(daemon)
    except Unreachable as error:
        return _absent(where, is_silent=isinstance(error, Silent)), None, (), None, {}
    except Failed as error:
        return HttpFacts(where, refusal=error.message), None, (), None, {}


def _configuration(daemon: Client) -> dict[str, Any]:
    try:
        return dict(daemon.get("/configuration"))
    except Failed:  # of another version, or one that does not tell
        return {}


def _absent(where: str, *, is_silent: bool) -> HttpFacts:
    """What is found in the place of a daemon that does not answer."""
    if not where.startswith("http:"):
        return HttpFacts(where, is_silent=is_silent)
    host, port = host_and_port(where)
    holder = port_owner(port)
    is_ours = holder is None or holder.startswith("ollama-proxyd")
    return HttpFacts(where, holder=holder, port_taken=_listens(host, port), is_silent=is_silent and is_ours)


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _top_level(sysfs: Path) -> list[Path]:
    """The counters of whole packages, which hold those of their parts."""
    return sorted(path for path in sysfs.glob(COUNTERS) if path.parent.name.count(":") == 1)


def _device(path: Path) -> Device:
    group = path.stat().st_gid
    try:
        name = grp.getgrgid(group).gr_name
    except KeyError:
        name = str(group)
    return Device(str(path), name, os.access(path, os.R_OK | os.W_OK))
