"""What is built from the project is whole: the wheel, the sdist, and the wheel made from the sdist."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "ollama_proxyd"
BUILD = "import sys, hatchling.build as build; print(getattr(build, sys.argv[1])(sys.argv[2]))"


def build(what: str, source: Path, folder: Path) -> Path:
    """Build without a network and without isolation, as a distribution's packager does."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, f"build_{what}", str(folder)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


def files_of_the_package(root: Path) -> set[str]:
    found = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(root.parent).as_posix() for path in found}


def files_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if name.startswith("ollama_proxyd/")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", REPOSITORY, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    assert files_in(wheel) == files_of_the_package(PACKAGE)
    names = files_in(wheel)
    assert "ollama_proxyd/py.typed" in names
    assert sum(name.endswith(".xml") for name in names) == 6


def test_a_wheel_from_the_sdist_is_the_same(wheel: Path, tmp_path: Path) -> None:
    sdist = build("sdist", REPOSITORY, tmp_path)
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / sdist.name.removesuffix(".tar.gz")
    assert files_in(build("wheel", unpacked, tmp_path)) == files_in(wheel)
    assert sorted(path.name for path in (unpacked / "dbus" / "interfaces").iterdir()) == sorted(
        path.name for path in (PACKAGE / "edges" / "dbus_api" / "interfaces").iterdir()
    )


def test_what_was_installed_from_the_wheel_knows_the_bus_contract(wheel: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run([*pip, "--disable-pip-version-check", "--target", str(tmp_path), str(wheel)], check=True)
    question = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        "from ollama_proxyd.edges.dbus_api import contract; import ollama_proxyd; "
        "print(ollama_proxyd.__file__, ollama_proxyd.__version__); "
        "print(contract.contract('Efficiency').name)"
    )
    python = [sys.executable, "-P", "-c", question]
    said = subprocess.run(python, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.stdout.startswith(f"{tmp_path}/ollama_proxyd/__init__.py "), said.stderr
    assert said.stdout.endswith("ie.fio.OllamaProxy.Efficiency\n"), said.stderr
