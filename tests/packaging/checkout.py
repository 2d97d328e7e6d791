"""A copy of the project that a test may change, installed into homes of the test's own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.real_things import ROOT

PARTS = ("ollama_proxyd", "systemd", "dbus", "scripts", "man", "completions", "gnome-extension", "docs", "config")
FILES = ("pyproject.toml", "requirements.lock", "README.md", "LICENSE", "CHANGELOG.md")
TOOLS = ("sh", "dirname", "basename", "msgfmt", "glib-compile-schemas")
QUICK = {"DPKG_DEB_COMPRESSOR_LEVEL": "0"}
"""Packages that only tests unpack are not squeezed."""
Done = subprocess.CompletedProcess[str]
Picture = dict[str, tuple[int, str | bytes]]


def copy(folder: Path) -> Path:
    """The parts of the checkout that an installation needs."""
    folder.mkdir()
    for part in PARTS:
        ignored = shutil.ignore_patterns("__pycache__", "node_modules")
        shutil.copytree(ROOT / part, folder / part, symlinks=True, ignore=ignored)
    for name in FILES:
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def picture(folder: Path) -> Picture:
    """Everything below a folder: kind, rights and content."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else "",
        )
        for path in folder.rglob("*")
    }


class Person:
    """Somebody with a home, a PATH that holds what the test says, and the wheels of the lock."""

    def __init__(self, folder: Path, checkout: Path, wheels: Path, *programs: str) -> None:
        self.home, self.path = folder / "home", folder / "path"
        self.home.mkdir(parents=True)
        self.path.mkdir()
        self.checkout = checkout
        self._wheels = wheels
        for name in TOOLS:
            found = shutil.which(name)
            if found:
                (self.path / name).symlink_to(found)
        for name in programs:
            (self.path / name).write_text("#!/bin/sh\nexit 1\n")
            (self.path / name).chmod(0o755)

    def run(self, *command: str | Path) -> Done:
        """Run something as this person, without a terminal."""
        environ = {"HOME": str(self.home), "PATH": str(self.path), "PYTHON": sys.executable, "XDG_CONFIG_DIRS": "/none"}
        pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        return subprocess.run(
            command,
            env=pip | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def install(self, *options: str) -> Done:
        offline = ("--no-index", "--find-links", str(self._wheels))
        return self.run(self.checkout / "scripts" / "install", *offline, *options)

    def uninstall(self, *options: str) -> Done:
        return self.run(self.checkout / "scripts" / "uninstall", *options)

    def version(self) -> str:
        """What the installed program says."""
        return self.run(self.home / ".local/bin/ollama-proxyd", "--version").stdout.split()[-1]
