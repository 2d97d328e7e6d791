"""Uninstalls: removes what the installation wrote, no more; `purge` removes the configuration and the memory too."""

import shutil
from pathlib import Path

from ollama_proxyd.cli.install.files import Manifest, remove_empty
from ollama_proxyd.cli.install.folders import NAME, Folders
from ollama_proxyd.cli.install.installer import EXTENSION
from ollama_proxyd.cli.install.machine import Machine
from ollama_proxyd.cli.install.parts import UNITS

EXTENSION_SETTINGS = "/org/gnome/shell/extensions/ollama-proxy/"


def uninstall(folders: Folders, manifest: Manifest, machine: Machine, *, purge: bool) -> list[str]:
    """Uninstall, and return the report; what is not there needs no removing."""
    if manifest.path.exists():
        lines = _remove(folders, manifest, machine)
    else:
        lines = [f"nothing of ollama-proxyd is installed in {folders.data}"]
    for folder in (folders.config / NAME, folders.state / NAME):
        if not folder.exists():
            continue
        lines.append(f"removed {folder}" if purge else f"{folder} stays (--purge removes it too)")
        if purge:
            shutil.rmtree(folder)
    if purge:
        remove_empty(manifest.folders)
        machine.tell_session("dconf", "reset", "-f", EXTENSION_SETTINGS)
    return lines


def _remove(folders: Folders, manifest: Manifest, machine: Machine) -> list[str]:
    paths = [Path(name) for name in manifest.files]
    # With a prefix, another installation may be the one that runs.
    if folders.is_searched and any(path.parent.name == EXTENSION for path in paths):
        machine.tell_session("gnome-extensions", "disable", EXTENSION)
    if any(folders.is_searched or machine.uses(path) for path in paths if path.parent == folders.data / UNITS):
        machine.stop()
    shutil.rmtree(folders.environments, ignore_errors=True)
    stay = manifest.remove()
    machine.reload()
    if machine.environ.get("XDG_RUNTIME_DIR"):
        remove_empty([str(Path(machine.environ["XDG_RUNTIME_DIR"], NAME))])
    changed = [f"left out: {path}: somebody has changed it, so it stays" for path in stay]
    return [f"removed {len(paths) - len(stay)} files in {folders.data} and elsewhere", *changed]
