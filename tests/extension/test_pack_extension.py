"""The zip of the extension: what is in it, and that it is the same each time."""

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.real_things import ROOT, installed

EXTENSION = ROOT / "gnome-extension"


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    installed("install-extension-checks")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXTENSION, tmp_path / "extension", ignore=shutil.ignore_patterns("node_modules")))


def pack(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts/pack-extension"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def packed(source: Path, out: Path) -> Path:
    done = pack("--source", source, out)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def test_the_zip_holds_the_code_the_icons_the_schema_the_licence_and_every_translation_and_nothing_else(
    tmp_path: Path,
) -> None:
    code = {path.name for path in EXTENSION.glob("*.js")} - {"eslint.config.js"}
    folders = {
        str(path.relative_to(EXTENSION))
        for pattern in ("prefs/*.js", "shared/*.js", "icons/*.svg", "schemas/*.gschema.xml")
        for path in EXTENSION.glob(pattern)
    }
    languages = {path.stem for path in EXTENSION.glob("po/*.po")}
    assert {"de", "fr"} <= languages
    spoken = {f"locale/{language}/LC_MESSAGES/ollama-proxy@fio.ie.mo" for language in languages}
    with zipfile.ZipFile(packed(EXTENSION, tmp_path)) as archive:
        assert set(archive.namelist()) == code | folders | spoken | {"metadata.json", "stylesheet.css", "LICENSE"}
        assert archive.testzip() is None


def test_the_zip_has_the_name_that_gnome_expects(tmp_path: Path) -> None:
    assert packed(EXTENSION, tmp_path) == tmp_path / "ollama-proxy@fio.ie.shell-extension.zip"


def test_the_same_extension_gives_the_same_zip_whatever_the_time_of_its_files(copy: Path, tmp_path: Path) -> None:
    first = packed(EXTENSION, tmp_path / "first")
    for path in copy.rglob("*"):
        path.touch()
    assert packed(copy, tmp_path / "second").read_bytes() == first.read_bytes()


@pytest.mark.parametrize(
    "stray",
    ["notes.txt", "schemas/gschemas.compiled", "prefs/deep/module.js", "icons/picture.png", "po/de.mo", ".directory"],
)
def test_a_stray_file_is_refused_by_its_name(copy: Path, tmp_path: Path, stray: str) -> None:
    (copy / stray).parent.mkdir(exist_ok=True)
    (copy / stray).write_text("")
    done = pack("--source", copy, tmp_path / "out")
    assert done.returncode == 1
    assert str(copy / stray) in done.stderr
    assert "remove it" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("needed", ["metadata.json", "extension.js"])
def test_an_extension_that_lacks_a_file_is_not_packed(copy: Path, tmp_path: Path, needed: str) -> None:
    (copy / needed).unlink()
    done = pack("--source", copy, tmp_path / "out")
    assert done.returncode == 1
    assert f"{copy / needed}: it is missing" in done.stderr


def test_the_list_names_what_the_zip_would_hold(tmp_path: Path) -> None:
    listed = pack("--list").stdout.split()
    with zipfile.ZipFile(packed(EXTENSION, tmp_path)) as archive:
        assert archive.namelist() == listed
