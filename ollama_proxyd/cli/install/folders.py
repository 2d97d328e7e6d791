"""The folders of an installation."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ollama_proxyd.cli.install.files import InstallError

NAME = "ollama-proxyd"


@dataclass(frozen=True, slots=True)
class Folders:
    """The base folders, and those of the program itself.

    commands: programs on PATH. app: the manifest and environments. environments: one for each run of scripts/install.
    venv: the link to the one in use. is_searched: systemd, D-Bus and the desktop look into `data`.
    """

    data: Path
    config: Path
    state: Path
    commands: Path
    app: Path
    environments: Path
    venv: Path
    is_searched: bool


def of_user(environ: Mapping[str, str], prefix: Path | None = None) -> Folders:
    """The current user's folders; `prefix` replaces those of programs and data."""
    home = Path(environ.get("HOME", ""))
    if not home.is_absolute():
        raise InstallError("HOME does not name a folder; set it to your home folder")
    usual = _base(environ, "XDG_DATA_HOME", home / ".local" / "share")
    data = usual if prefix is None else prefix / "share"
    return Folders(
        data=data,
        config=_base(environ, "XDG_CONFIG_HOME", home / ".config"),
        state=_base(environ, "XDG_STATE_HOME", home / ".local" / "state"),
        commands=(home / ".local" if prefix is None else prefix) / "bin",
        app=data / NAME,
        environments=data / NAME / "environments",
        venv=data / NAME / "venv",
        is_searched=data.resolve() == usual.resolve(),
    )


def of_environment(environ: Mapping[str, str], env: Path) -> Folders:
    """The folders for the environment that runs this: those of its prefix, where scripts/install made it in one."""
    usual = of_user(environ)
    if len(env.parents) < 4:
        return usual
    given = of_user(environ, env.parents[3])
    return given if env.parent == given.environments and not given.is_searched else usual


def _base(environ: Mapping[str, str], name: str, otherwise: Path) -> Path:
    """A folder of the XDG base directories; their specification has relative ones ignored."""
    named = Path(environ.get(name, ""))
    return named if named.is_absolute() else otherwise
