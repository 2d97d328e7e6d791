"""The libraries of the lock, unpacked: what a package for one Python and one kind of machine carries with it."""

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from installation import project
from ollama_proxyd.cli.install.failures import InstallError

LOCK = project.CHECKOUT / "requirements.lock"
OF_NO_USE = {".c", ".h", ".pxd", ".pyi", ".pyx"}
"""Sources of what is there as compiled code."""


def fetch(folder: Path, python: str, links: Sequence[str]) -> None:
    """Fetch them with the hashes of the lock; from `links` alone if there are any."""
    offline = [word for link in links for word in ("--find-links", link)]
    command = [_pip(), "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet", "--no-deps"]
    strict = ["--require-hashes", "--only-binary", ":all:", "--python-version", python, "--dest", str(folder)]
    source = ["--no-index", *offline] if links else []
    done = subprocess.run(
        [*command, *strict, *source, "--requirement", str(LOCK)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise InstallError(f"the wheels of {LOCK.name} could not be fetched:\n{done.stderr.strip()}")


def unpack(wheels: Path, site_packages: Path) -> None:
    """Unpack them, without what only a compiler would read."""
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if Path(name).suffix not in OF_NO_USE and ".data/" not in name:
                    archive.extract(name, site_packages)


def bundled(site_packages: Path) -> list[tuple[str, str, str]]:
    """Name, version and licence of each."""
    found = []
    for metadata in sorted(site_packages.glob("*.dist-info/METADATA")):
        head = metadata.read_text(encoding="utf-8").split("\n\n", 1)[0].splitlines()
        facts = dict(line.split(": ", 1) for line in reversed(head) if ": " in line)
        licence = facts.get("License-Expression") or facts.get("License") or "see its licence file"
        found.append((facts["Name"], facts["Version"], licence.splitlines()[0]))
    return found


def _pip() -> str:
    candidates = (sys.executable, *(str(project.CHECKOUT / name / "bin/python") for name in (".venv", ".venv-run")))
    for python in candidates:
        try:
            if subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
                return python
        except OSError:
            continue
    raise InstallError("no Python with pip was found; on Debian: sudo apt install python3-pip")
