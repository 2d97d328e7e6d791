"""Which files an installation has on this machine, and what is left out because it would be of no use."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ollama_proxyd.cli.install import surroundings, templates
from ollama_proxyd.cli.install.folders import Folders
from ollama_proxyd.cli.install.part import Part
from ollama_proxyd.cli.install.templates import SERVICE, SOCKET, Site

APPLICATION = "ie.fio.OllamaProxy"
SHARED = {
    "man/man1": "man/man1",
    "man/man8": "man/man8",
    "bash-completion/completions": "bash-completion/completions",
    "fish/vendor_completions.d": "fish/vendor_completions.d",
}
"""Folders of `share`, the same in a wheel and where they are installed; zsh's has another name in packages."""


@dataclass(slots=True)
class Chosen:
    """The parts, and what was left out with its reason."""

    parts: list[Part] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, what: str, missing: str | None, parts: list[Part]) -> None:
        """Take these parts, unless something that they need is missing."""
        if missing is None:
            self.parts += parts
        else:
            self.left_out.append(f"{what}: {missing}")


def service(folders: Folders, where: Site, environ: Mapping[str, str]) -> Chosen:
    """Units, activation and the entry among the applications."""
    chosen = Chosen()
    no_systemd = surroundings.why_no_systemd(environ)
    chosen.add("the systemd unit", no_systemd, units(folders, where, SERVICE))
    held = (
        None
        if where.address
        else f"{where.url} is no address that systemd can hold, so the daemon does not start on demand"
    )
    chosen.add("the systemd socket", no_systemd or held, units(folders, where, SOCKET))
    chosen.add("D-Bus activation", surroundings.why_no_dbus(environ), activation(folders, where))
    chosen.add("the entry among the applications", surroundings.why_no_desktop(environ), application(folders, where))
    return chosen


def units(folders: Folders, where: Site, *names: str) -> list[Part]:
    """Units of the user's systemd."""
    return [Part(folders.units / name, templates.unit(name, where).encode()) for name in names]


def activation(folders: Folders, where: Site) -> list[Part]:
    """A file for each name on the bus."""
    return [
        Part(folders.activation / name, templates.activation(name, where).encode()) for name in templates.names("dbus")
    ]


def application(folders: Folders, where: Site) -> list[Part]:
    """What opens the dashboard, with its icon."""
    entry = templates.read(f"desktop/{APPLICATION}.desktop").replace("@url@", where.url)
    icon = templates.read(f"desktop/{APPLICATION}.svg")
    return [
        Part(folders.applications / f"{APPLICATION}.desktop", entry.encode()),
        Part(folders.icons / f"{APPLICATION}.svg", icon.encode()),
    ]


def shared(folders: Folders, share: Path) -> list[Part]:
    """Man pages and completions, from the `share` of an environment that has them."""
    places = SHARED | {"zsh/site-functions": folders.zsh}
    return [
        Part(folders.data / target / path.name, path.read_bytes())
        for source, target in places.items()
        for path in sorted((share / source).glob("*ollama-prox*")) + sorted((share / source).glob("*ai-efficiency*"))
    ]


def commands(folders: Folders, programs: Path, names: list[str]) -> list[Part]:
    """Links to the programs where shells look for them."""
    return [Part(folders.commands / name, link_to=str(programs / name)) for name in names]
