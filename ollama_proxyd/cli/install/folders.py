"""Where the parts of an installation belong."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ollama_proxyd.cli.install.failures import InstallError

NAME = "ollama-proxyd"


@dataclass(frozen=True, slots=True)
class Folders:
    """The roots; everything else is below them. `commands`: where people's shells find programs."""

    home: Path
    data: Path
    config: Path
    state: Path
    commands: Path
    zsh: str = "zsh/site-functions"

    @property
    def app(self) -> Path:
        """What is the program's own: its environment and the list of what was written."""
        return self.data / NAME

    @property
    def units(self) -> Path:
        """Units of the user's systemd."""
        return self.data / "systemd" / "user"

    @property
    def wanted_sockets(self) -> Path:
        """A link in here has systemd hold a socket from login on."""
        return self.config / "systemd" / "user" / "sockets.target.wants"

    @property
    def activation(self) -> Path:
        """What the bus may start."""
        return self.data / "dbus-1" / "services"

    @property
    def applications(self) -> Path:
        """Entries among the applications."""
        return self.data / "applications"

    @property
    def icons(self) -> Path:
        """Icons of any size."""
        return self.data / "icons" / "hicolor" / "scalable" / "apps"

    @property
    def extensions(self) -> Path:
        """Extensions of GNOME Shell."""
        return self.data / "gnome-shell" / "extensions"

    @property
    def settings(self) -> Path:
        """The configuration's folder."""
        return self.config / NAME

    @property
    def memory(self) -> Path:
        """What the daemon remembers and has learned."""
        return self.state / NAME


def of_user(environ: Mapping[str, str], prefix: Path | None = None) -> Folders:
    """The folders of who runs this; with a prefix, programs and data go below that."""
    home = Path(environ.get("HOME", ""))
    if not home.is_absolute():
        raise InstallError("HOME does not name a folder; set it to your home folder")
    data = _base(environ, "XDG_DATA_HOME", home / ".local" / "share")
    return Folders(
        home=home,
        data=data if prefix is None else prefix / "share",
        config=_base(environ, "XDG_CONFIG_HOME", home / ".config"),
        state=_base(environ, "XDG_STATE_HOME", home / ".local" / "state"),
        commands=(home / ".local" if prefix is None else prefix) / "bin",
    )


def of_system(root: Path) -> Folders:
    """The folders of a package for all users, below `root`."""
    return Folders(
        home=root,
        data=root / "usr" / "share",
        config=root / "etc" / "xdg",
        state=root / "var" / "lib",
        commands=root / "usr" / "bin",
        zsh="zsh/vendor-completions",
    )


def _base(environ: Mapping[str, str], name: str, otherwise: Path) -> Path:
    """A folder of the XDG base directories; a relative one does not count."""
    named = Path(environ.get(name, ""))
    return named if named.is_absolute() else otherwise
