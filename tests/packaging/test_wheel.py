"""What is built from the project is whole: the wheel, a wheel made from the sdist, and the service it becomes."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packaging.checkout import Person, copy, picture
from tests.real_things import ROOT

BUILD = "import sys, hatchling.build as build; print(getattr(build, sys.argv[1])(sys.argv[2]))"


def build(what: str, source: Path, folder: Path) -> Path:
    """Build without a network and without isolation, as a distribution's packager does."""
    command = [sys.executable, "-c", BUILD, f"build_{what}", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


def files_in(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name.startswith("ollama_proxyd/")}


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """The names alone: both sides together are two megabytes of source."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, since the builder leaves out without a word what it cannot list while other tests write there."""
    return copy(tmp_path_factory.mktemp("project") / "checkout")


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", checkout, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_has_every_file_of_the_package_and_the_repository_s_very_units(wheel: Path) -> None:
    found = (path for path in (ROOT / "ollama_proxyd").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    packed = files_in(wheel)
    assert not differing(packed, {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in found})
    templates = "ollama_proxyd/cli/install/templates"
    for path in (path for folder in ("systemd", "dbus") for path in (ROOT / folder).iterdir() if path.is_file()):
        assert packed[f"{templates}/{path.parent.name}/{path.name}"] == path.read_bytes()
    assert "ollama_proxyd/py.typed" in packed
    assert sum(name.endswith(".xml") for name in packed) == 7


def test_a_wheel_from_the_sdist_is_the_same(checkout: Path, wheel: Path, tmp_path: Path) -> None:
    sdist = build("sdist", checkout, tmp_path)
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / sdist.name.removesuffix(".tar.gz")
    assert not differing(files_in(build("wheel", unpacked, tmp_path)), files_in(wheel))
    assert sorted(path.name for path in (unpacked / "dbus" / "interfaces").iterdir()) == sorted(
        path.name for path in (checkout / "ollama_proxyd" / "edges" / "dbus_api" / "interfaces").iterdir()
    )


def test_a_wheel_alone_becomes_a_service_and_goes_without_trace(wheel: Path, wheels: Path, tmp_path: Path) -> None:
    """What pipx does with a wheel, and then the one command that makes it a service."""
    programs = tmp_path / "pipx" / "ollama-proxyd" / "bin"
    subprocess.run([sys.executable, "-m", "venv", programs.parent], check=True)
    pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(wheels)]
    subprocess.run([*pip, "--disable-pip-version-check", str(wheel)], check=True)
    person = Person(tmp_path / "a laptop", tmp_path, wheels, "systemctl", "dbus-daemon", "xdg-open")
    before = picture(person.home)
    assert "wrote a configuration" in person.run(programs / "ollama-proxyctl", "install-service").stdout
    unit = (person.home / ".local/share/systemd/user/ollama-proxyd.service").read_text()
    assert f"ExecStart={programs}/ollama-proxyd\n" in unit
    question = "from ollama_proxyd.edges.dbus_api import contract; print(contract.contract('Efficiency').name)"
    assert person.run(programs / "python", "-P", "-c", question).stdout == "ie.fio.OllamaProxy.Efficiency\n"
    assert "good" in person.run(programs / "ollama-proxyd", "--check-config").stdout
    done = person.run(programs / "ollama-proxyctl", "install-service", "--uninstall", "--purge")
    assert done.returncode == 0, done.stderr
    assert picture(person.home) == before
