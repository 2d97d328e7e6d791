"""The project's own files as they are installed: the package, its programs, man pages, completions, the extension."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "scripts")]

import pack_extension  # noqa: E402 - the path comes first

LOCK = CHECKOUT / "requirements.lock"
FACTS = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
STRICT = ["--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", str(LOCK)]
"""pip's options: the libraries of the lock, and their very bytes."""


def put_package(site_packages: Path) -> None:
    """The package itself; links to files outside of it become files."""
    shutil.copytree(
        CHECKOUT / "ollama_proxyd", site_packages / "ollama_proxyd", ignore=shutil.ignore_patterns("__pycache__")
    )


def put_shared(root: Path) -> None:
    """Man pages and completions, below `root`/share."""
    for source, target in FACTS["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"].items():
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CHECKOUT / source, root / target)


def put_programs(folder: Path, start: str, before: str = "") -> None:
    """A file for each program. start: its first lines; before: Python that has to run first."""
    for name, target in FACTS["project"]["scripts"].items():
        module, function = target.split(":")
        path = folder / name
        path.write_text(f"{start}\n{before}from {module} import {function}\n\n{function}()\n", encoding="utf-8")
        path.chmod(0o755)


def put_extension(share: Path) -> None:
    """The GNOME extension with compiled settings, and with translations where msgfmt can compile them."""
    if shutil.which("msgfmt"):
        content = pack_extension.content(pack_extension.SOURCE)
    else:
        paths = pack_extension.shipped(pack_extension.SOURCE)
        content = {str(path): (pack_extension.SOURCE / path).read_bytes() for path in paths}
    folder = share / "gnome-shell/extensions" / json.loads(content["metadata.json"])["uuid"]
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    subprocess.run(["glib-compile-schemas", "--strict", str(folder / "schemas")], check=True)
