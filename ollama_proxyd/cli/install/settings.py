"""The configuration that a first installation writes; none is ever written over."""

from collections.abc import Mapping
from pathlib import Path

from ollama_proxyd.cli.install import templates
from ollama_proxyd.cli.install.folders import Folders
from ollama_proxyd.cli.install.manifest import Manifest
from ollama_proxyd.cli.install.part import Part, write
from ollama_proxyd.cli.install.report import Report

FILE = "config.yaml"


def write_once(folders: Folders, manifest: Manifest, environ: Mapping[str, str], report: Report) -> None:
    """Write a configuration that changes nothing and says how to change it, where there is none."""
    path = folders.settings / FILE
    there = next((each for each in (path, *_of_all_users(environ)) if each.is_symlink() or each.exists()), None)
    if there is not None:
        report.done.append(f"the configuration {report.shown(there)} stays as it is")
        return
    manifest.make_folder(path.parent)
    write(Part(path, templates.read(FILE).encode(), mode=0o600))
    report.done.append(f"wrote a configuration to begin with: {report.shown(path)}")


def _of_all_users(environ: Mapping[str, str]) -> list[Path]:
    """Where the daemon looks next; a file of the user's own would hide it."""
    folders = environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    return [Path(folder, "ollama-proxyd", FILE) for folder in folders.split(":") if Path(folder).is_absolute()]
