"""The program's own environment: made beside the one that is in use, and never changed once it is whole."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from installation import project
from ollama_proxyd.cli.install.failures import InstallError

LOCK = project.CHECKOUT / "requirements.lock"
STAMP = "whole"
SHEBANG_BYTES = 120
"""Linux cuts a longer first line."""


def name() -> str:
    """Tells environments apart: the same name means the same content."""
    said = hashlib.sha256(f"{sys.executable} {sys.version}".encode())
    for path in (LOCK, *project.files()):
        said.update(f"{path.relative_to(project.CHECKOUT)} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return said.hexdigest()[:16]


def is_whole(folder: Path) -> bool:
    """Whether it was finished, and its Python still runs."""
    return (folder / STAMP).exists() and _runs([str(folder / "bin" / "ollama-proxyd"), "--version"])


def make(folder: Path, pip_options: Sequence[str]) -> None:
    """Make it; raises InstallError and leaves nothing behind where that cannot be done."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        _run([sys.executable, "-m", "venv", str(folder)], "on Debian and Ubuntu: sudo apt install python3-venv")
        _install_lock(folder, pip_options)
        _install_project(folder)
        if not _runs([str(folder / "bin" / "ollama-proxyd"), "--version"]):
            raise InstallError(f"the daemon that was installed in {folder} does not run")
        (folder / STAMP).touch()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _install_lock(folder: Path, pip_options: Sequence[str]) -> None:
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    strict = ["--quiet", "--no-cache-dir", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    advice = "without a network: --no-index --find-links DIR, with the wheels in DIR"
    _run([*pip, *strict, *pip_options, "--requirement", str(LOCK)], advice)


def _install_project(folder: Path) -> None:
    python = folder / "bin" / "python"
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site_packages = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    project.put_package(site_packages)
    project.put_shared(folder)
    project.put_programs(folder / "bin", _start(python))
    # the service may not write here, so this is the only time
    _run([str(python), "-m", "compileall", "-q", str(site_packages / project.PACKAGE)], "")


def _start(python: Path) -> str:
    """The first line of a program; where Linux cannot take the path there, a shell has to."""
    line = f"#!{python} -P"
    if " " not in str(python) and len(line.encode()) <= SHEBANG_BYTES:
        return line
    quoted = "'" + str(python).replace("'", "'\"'\"'") + "'"
    return f"#!/bin/sh\n'''exec' {quoted} -P \"$0\" \"$@\"\n' '''"


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _run(command: list[str], advice: str) -> None:
    plain = os.environ | {"PATH": "/usr/bin:/bin"}  # pip looks for a Rust compiler, which may leave files in HOME
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=plain)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise InstallError(f"{' '.join(command)}\n{said}" + (f"\n{advice}" if advice else ""))
