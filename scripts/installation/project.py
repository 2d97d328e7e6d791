"""The project's own files as they are installed: the package, its programs, man pages and completions."""

import shutil
import tomllib
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGE = "ollama_proxyd"


def facts() -> dict[str, Any]:
    """What pyproject.toml says."""
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))


def programs() -> dict[str, tuple[str, str]]:
    """Each program with its module and its function."""
    found = facts()["project"]["scripts"]
    return {name: tuple(target.split(":")) for name, target in found.items()}


def version() -> str:
    """The version of this checkout."""
    return str(facts()["project"]["version"])


def files() -> list[Path]:
    """Everything that decides what is installed, in order."""
    package = (path for path in (CHECKOUT / PACKAGE).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted([*package, *(CHECKOUT / name for name in shared()), CHECKOUT / "pyproject.toml", *own_code()])


def own_code() -> list[Path]:
    """The code that makes installations."""
    return sorted(Path(__file__).parent.glob("*.py"))


def shared() -> dict[str, str]:
    """Man pages and completions, each with its place in an environment."""
    return dict(facts()["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"])


def put_package(site_packages: Path) -> None:
    """The package itself; links to files outside of it become files."""
    shutil.copytree(CHECKOUT / PACKAGE, site_packages / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))


def put_shared(root: Path) -> None:
    """Man pages and completions, below `root`/share."""
    for source, target in shared().items():
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CHECKOUT / source, root / target)


def put_programs(folder: Path, start: str, before: str = "") -> None:
    """A file for each program. start: its first lines; before: Python that has to run first."""
    for name, (module, function) in programs().items():
        path = folder / name
        path.write_text(f"{start}\n{before}from {module} import {function}\n\n{function}()\n", encoding="utf-8")
        path.chmod(0o755)
