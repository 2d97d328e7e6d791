"""A wheel brings what `install-service` puts in place: the very units and activation files of the repository."""

import tarfile
import zipfile
from pathlib import Path

from tests.packaging.test_wheel import REPOSITORY, build

TEMPLATES = "ollama_proxyd/cli/install/templates"


def shipped(wheel: Path) -> dict[str, bytes]:
    """The units and activation files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith(TEMPLATES)]
        content = {name.removeprefix(f"{TEMPLATES}/"): archive.read(name) for name in names}
    return {name: data for name, data in content.items() if name.startswith(("systemd/", "dbus/"))}


def in_repository() -> dict[str, bytes]:
    files = [path for folder in ("systemd", "dbus") for path in (REPOSITORY / folder).iterdir() if path.is_file()]
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in files}


def test_a_wheel_has_every_unit_and_activation_file_as_it_is_in_the_repository(tmp_path: Path) -> None:
    assert shipped(build("wheel", REPOSITORY, tmp_path)) == in_repository()


def test_so_has_a_wheel_made_from_the_sdist(tmp_path: Path) -> None:
    sdist = build("sdist", REPOSITORY, tmp_path)
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / sdist.name.removesuffix(".tar.gz")
    assert shipped(build("wheel", unpacked, tmp_path)) == in_repository()
