"""Takes an installation away: what it wrote, no more; with `purge` the configuration and the memory too."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ollama_proxyd.cli.install import surroundings
from ollama_proxyd.cli.install.failures import InstallError
from ollama_proxyd.cli.install.folders import Folders, of_user
from ollama_proxyd.cli.install.manager import UserManager
from ollama_proxyd.cli.install.manifest import Manifest
from ollama_proxyd.cli.install.removing import remove, remove_empty
from ollama_proxyd.cli.install.report import Report

EXTENSION = "ollama-proxy@fio.ie"
EXTENSION_SETTINGS = "/org/gnome/shell/extensions/ollama-proxy/"


def uninstall(folders: Folders, manifest: Manifest, environ: Mapping[str, str], *, purge: bool) -> Report:
    """Do it; what is not there needs no removing."""
    report = Report(folders.home)
    if manifest.path.exists():
        _remove(folders, manifest, environ, report)
    else:
        report.done.append(f"nothing of ollama-proxyd is installed in {report.shown(folders.data)}")
    ours = (folders.settings, folders.memory)
    if purge:
        for folder in ours:
            _purge(folder, report)
        remove_empty(manifest.folders)
        _tell_desktop(environ, "dconf", "reset", "-f", EXTENSION_SETTINGS)
    else:
        report.done += [f"{report.shown(folder)} stays (--purge removes it too)" for folder in ours if folder.exists()]
    return report


def _remove(folders: Folders, manifest: Manifest, environ: Mapping[str, str], report: Report) -> None:
    manager = UserManager(environ)
    files = [Path(name) for name in manifest.files]
    is_usual = folders.data == of_user(environ).data  # with a prefix, what runs may be another installation
    if is_usual and any(path.parent == folders.extensions / EXTENSION for path in files):
        _tell_desktop(environ, "gnome-extensions", "disable", EXTENSION)
    if any(is_usual or manager.uses(path) for path in files if path.parent == folders.units):
        manager.stop()
    count = len(manifest.files)
    stay = remove(manifest)
    manager.reload()
    remove_empty([str(Path(environ["XDG_RUNTIME_DIR"], "ollama-proxyd"))] if environ.get("XDG_RUNTIME_DIR") else [])
    report.done.append(f"removed {count - len(stay)} files in {report.shown(folders.data)} and elsewhere")
    report.left_out += [f"{report.shown(path)}: somebody has changed it, so it stays" for path in stay]


def _purge(folder: Path, report: Report) -> None:
    if not folder.exists():
        return
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise InstallError(f"{folder} could not be removed: {error}") from None
    report.done.append(f"removed {report.shown(folder)}")


def _tell_desktop(environ: Mapping[str, str], program: str, *arguments: str) -> None:
    """Tell GNOME, where it is; nothing depends on the answer."""
    if environ.get("DBUS_SESSION_BUS_ADDRESS") and surroundings.has(environ, program):
        subprocess.run(  # noqa: S603 - our own words
            [program, *arguments],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=20,
        )
