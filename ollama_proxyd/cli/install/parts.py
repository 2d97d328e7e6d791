"""The parts of an installation: shipped files with the values of this machine filled in."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from ollama_proxyd.cli.install.files import Part
from ollama_proxyd.cli.install.folders import Folders

TEMPLATES = Path(__file__).parent / "templates"
UNITS = "systemd/user"
DEFAULT_ADDRESS = "127.0.0.1:8080"
APPLICATION = "ie.fio.OllamaProxy"
OURS = ("ollama-prox", "ai-efficiency")
"""Names of files in `share`; libraries may have others there."""


@dataclass(frozen=True, slots=True)
class Site:
    """The programs' folder, and where the daemon listens; `address` is None where no socket unit can hold that."""

    programs: Path
    address: str | None = DEFAULT_ADDRESS
    url: str = f"http://{DEFAULT_ADDRESS}"


def template(name: str, *values: tuple[str, str]) -> bytes:
    """A file as it is shipped, with the values of this machine."""
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    for shipped, here in values:
        text = text.replace(shipped, here)
    return text.encode()


def units(data: Path, where: Site, *names: str) -> list[Part]:
    """Units of the user's systemd."""
    program = ("@bindir@/ollama-proxyd", for_systemd(f"{where.programs}/ollama-proxyd"))
    address = (DEFAULT_ADDRESS, where.address or DEFAULT_ADDRESS)
    return [Part(data / UNITS / name, template(f"systemd/{name}", program, address)) for name in names]


def activation(data: Path, where: Site) -> list[Part]:
    """A file for each name on the bus; it starts the daemon also where systemd does not."""
    program = ("/usr/bin/env ollama-proxyd", shlex.quote(f"{where.programs}/ollama-proxyd"))
    names = sorted(path.name for path in (TEMPLATES / "dbus").iterdir())
    return [Part(data / "dbus-1/services" / name, template(f"dbus/{name}", program)) for name in names]


def application(data: Path, where: Site) -> list[Part]:
    """The desktop entry, which opens the dashboard, with its icon."""
    entry, icon = f"{APPLICATION}.desktop", f"{APPLICATION}.svg"
    return [
        Part(data / "applications" / entry, template(f"desktop/{entry}", ("@url@", where.url))),
        Part(data / "icons/hicolor/scalable/apps" / icon, template(f"desktop/{icon}")),
    ]


def environment(folders: Folders, env: Path) -> list[Part]:
    """What an environment of scripts/install brings besides: the link to it, commands, and all of its `share`."""
    programs = sorted(path.name for path in (env / "bin").iterdir() if path.name.startswith(OURS))
    share = env / "share"
    shared = (path.relative_to(share) for path in sorted(share.rglob("*")) if path.is_file())
    return [
        Part(folders.venv, link_to=f"{env.parent.name}/{env.name}"),
        *(Part(folders.commands / name, link_to=str(folders.venv / "bin" / name)) for name in programs),
        *(
            Part(folders.data / path, (share / path).read_bytes())
            for path in shared
            if any(name in str(path) for name in OURS)
        ),
    ]


def for_systemd(path: str) -> str:
    """A path as a command line of systemd has it."""
    plain = path.replace("%", "%%").replace("$", "$$")
    if not set(" \t\"'\\;") & set(path):
        return plain
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
