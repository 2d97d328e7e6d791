"""The files that are shipped, with what only this machine knows filled in."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"
SERVICE, SOCKET = "ollama-proxyd.service", "ollama-proxyd.socket"
USUAL_ADDRESS = "127.0.0.1:8080"
BUS_EXEC = "/usr/bin/env ollama-proxyd"
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where it listens, written as where it is asked


@dataclass(frozen=True, slots=True)
class Site:
    """Where the programs are, and where the daemon listens; `address` is None where no socket unit can hold that."""

    programs: Path
    address: str | None = USUAL_ADDRESS
    url: str = f"http://{USUAL_ADDRESS}"


def site(programs: Path, host: str, port: int) -> Site:
    """For a configured host and port."""
    named = "127.0.0.1" if host == "localhost" else host
    try:
        ip = ipaddress.ip_address(named)
    except ValueError:
        return Site(programs, None, f"http://{host}:{port}")
    shown = _bracketed(ANYWHERE.get(str(ip), str(ip)))
    return Site(programs, f"{_bracketed(str(ip))}:{port}" if port else None, f"http://{shown}:{port}")


def read(name: str) -> str:
    """A file as it is shipped."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def names(kind: str) -> list[str]:
    """The files of one kind."""
    return sorted(path.name for path in (TEMPLATES / kind).iterdir())


def unit(name: str, where: Site) -> str:
    """A unit of systemd."""
    program = f"{where.programs}/ollama-proxyd"
    listens = where.address or USUAL_ADDRESS
    return (
        read(f"systemd/{name}").replace("@bindir@/ollama-proxyd", for_systemd(program)).replace(USUAL_ADDRESS, listens)
    )


def activation(name: str, where: Site) -> str:
    """A file that lets a call on the bus start the daemon, also where systemd does not."""
    return read(f"dbus/{name}").replace(BUS_EXEC, for_bus(f"{where.programs}/ollama-proxyd"))


def for_systemd(path: str) -> str:
    """A path as a command line of systemd has it."""
    plain = path.replace("%", "%%").replace("$", "$$")
    if not set(" \t\"'\\;") & set(path):
        return plain
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def for_bus(path: str) -> str:
    """A path as a command line of D-Bus has it."""
    return path if set(path).isdisjoint(" \t\"'\\$`") else "'" + path.replace("'", "'\\''") + "'"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
