"""Looks at the machine for the doctor; opens no device, and starts nothing."""

import grp
import os
import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ollama_proxyd.cli.bus import BUS, Bus, Target
from ollama_proxyd.cli.doctor.checks import POWER_PROFILES, UPOWER
from ollama_proxyd.cli.doctor.facts import ConfigFacts, Device, Facts, HttpFacts
from ollama_proxyd.cli.failures import Failed, Unreachable
from ollama_proxyd.cli.over_dbus import NAME, PROPERTIES, ROOT
from ollama_proxyd.cli.over_http import HttpDaemon, host_and_port
from ollama_proxyd.cli.pictures import Status
from ollama_proxyd.cli.reach import bus_address, default_url, token
from ollama_proxyd.config.load import find, load
from ollama_proxyd.config.problems import ConfigError
from ollama_proxyd.config.settings import Config
from ollama_proxyd.edges.http_api.port_owner import port_owner

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
    system_bus: str = "unix:path=/run/dbus/system_bus_socket"


def gather(places: Places, url: str | None, status: Status | None) -> Facts:
    """Every fact; `status` is what the daemon said, if one answered."""
    config, loaded = _config(places)
    session = _session_bus()
    system_bus, services = _system_bus(places)
    return Facts(
        session_bus=session.why_none,
        on_the_bus=session.on_the_bus,
        http=_http(url or session.endpoint or _url(loaded), token() or (loaded.server.token if loaded else None)),
        config=config,
        status=status,
        system_bus=system_bus,
        services=services,
        energy_counters={str(path): os.access(path, os.R_OK) for path in _top_level(places.sysfs)},
        devices=tuple(_device(path) for pattern in NODES for path in sorted(places.dev.glob(pattern))),
        leftovers=tuple(str(path) for name in OLD_FILES if (path := places.home / name).exists()),
        old_daemon=session.old_daemon,
    )


def _config(places: Places) -> tuple[ConfigFacts, Config | None]:
    found = find(None, places.environ)
    path = None if found is None else str(found)
    try:
        loaded = load(None, places.environ)
    except ConfigError as error:
        return ConfigFacts(path, errors=tuple(map(str, error.problems))), None
    return ConfigFacts(path, warnings=tuple(map(str, loaded.warnings))), loaded


def _url(config: Config | None) -> str:
    """Where the daemon listens if it was started with this configuration."""
    if config is None:
        return default_url()
    host = config.server.host
    shown = "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host  # noqa: S104 - asked, not bound
    return f"http://[{shown}]:{config.server.port}" if ":" in shown else f"http://{shown}:{config.server.port}"


def _http(url: str, secret: str | None) -> HttpFacts:
    try:
        with HttpDaemon(url, secret) as daemon:
            return HttpFacts(url, version=daemon.version())
    except Unreachable as error:
        host, port = host_and_port(url)
        return HttpFacts(url, trouble=error.message, holder=port_owner(port), port_taken=_listens(host, port))
    except Failed as error:
        return HttpFacts(url, refusal=error.message)


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


class _Session(NamedTuple):
    """Why there is no session bus, whether the daemon is on it and where that listens, and whether an old one is."""

    why_none: str | None
    on_the_bus: bool = False
    endpoint: str | None = None
    old_daemon: bool = False


def _session_bus() -> _Session:
    address = bus_address()
    if address is None:
        return _Session("DBUS_SESSION_BUS_ADDRESS is not set")
    try:
        with closing(Bus(address)) as bus:
            owner, old = bus.owner_of(NAME), bus.owner_of(OLD_NAME)
            return _Session(None, owner is not None, owner and _endpoint(bus, owner), old is not None)
    except Failed as error:
        return _Session(error.message)


def _endpoint(bus: Bus, owner: str) -> str | None:
    """Where the daemon says that it listens; an older one does not say."""
    try:
        endpoint = bus.call(Target(owner, f"{ROOT}/Routing", PROPERTIES), "Get", "ss", f"{NAME}.Routing", "Endpoint")
    except Failed:
        return None
    return str(endpoint) or None


def _system_bus(places: Places) -> tuple[str | None, Mapping[str, bool]]:
    """Why there is no system bus, and which services are on it or can be started."""
    try:
        with closing(Bus(places.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or places.system_bus)) as bus:
            startable = bus.call(BUS, "ListActivatableNames")
            return None, {
                name: name in startable or bus.owner_of(name) is not None for name in (UPOWER, *POWER_PROFILES)
            }
    except Failed as error:
        return error.message, {}


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
