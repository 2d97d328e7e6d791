"""scripts/install and scripts/uninstall as a person runs them, in a home of their own."""

import re
import shutil
from pathlib import Path

import pytest

from tests.packaging.checkout import Done, Person, copy, picture
from tests.real_things import ROOT

APP = ".local/share/ollama-proxyd"
CONFIG = ".config/ollama-proxyd/config.yaml"
EXTENSION = "gnome-shell/extensions/ollama-proxy@fio.ie"


@pytest.fixture
def person(tmp_path: Path, wheels: Path) -> Person:
    """Somebody at a GNOME laptop; the space is what paths may have."""
    programs = ("systemctl", "dbus-daemon", "xdg-open", "gnome-shell")
    return Person(tmp_path / "a laptop", copy(tmp_path / "checkout"), wheels, *programs)


def succeeded(done: Done) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_installed_used_upgraded_kept_from_a_broken_version_and_uninstalled(person: Person) -> None:
    (person.home / "notes.txt").write_text("mine")
    before = picture(person.home)
    said = succeeded(person.install())
    assert "installed in" in said
    assert "gnome-extensions enable ollama-proxy@fio.ie" in said
    assert re.fullmatch(r"\d+\.\d+\.\d+", person.version())
    for path in (f"{EXTENSION}/schemas/gschemas.compiled", f"{EXTENSION}/locale/de/LC_MESSAGES/ollama-proxy@fio.ie.mo"):
        assert (person.home / ".local/share" / path).exists(), path
    for path in ("man/man1/ollama-proxyctl.1", "bash-completion/completions/ollama-proxyctl"):
        assert (person.home / ".local/share" / path).exists(), path

    first = set((person.home / APP / "environments").iterdir())
    (person.home / APP / "environments" / "of a killed run" / "bin").mkdir(parents=True)
    package = person.checkout / "ollama_proxyd" / "__init__.py"
    package.write_text(re.sub(r'__version__ = ".*"', '__version__ = "99.0.0"', package.read_text()))
    assert "installed" in succeeded(person.install())
    assert person.version() == "99.0.0"
    environments = set((person.home / APP / "environments").iterdir())
    assert len(environments) == 1
    assert environments != first

    upgraded = picture(person.home)
    program = person.checkout / "ollama_proxyd/cli/main.py"
    good = program.read_text()
    program.write_text("raise RuntimeError\n")
    done = person.install()
    assert done.returncode == 1
    assert "does not run" in done.stderr
    assert picture(person.home) == upgraded
    assert person.version() == "99.0.0"

    program.write_text(good)
    succeeded(person.uninstall())
    assert picture(person.home).keys() - before.keys() == {".config", ".config/ollama-proxyd", CONFIG}


def test_with_a_prefix_everything_is_below_it_but_the_configuration(person: Person, tmp_path: Path) -> None:
    prefix = tmp_path / "opt"
    said = succeeded(person.install("--prefix", str(prefix)))
    assert f"add {prefix}/share to XDG_DATA_DIRS" in said
    assert (prefix / "share/systemd/user/ollama-proxyd.service").exists()
    assert (
        f"Exec={prefix}/share/ollama-proxyd/venv/bin/ollama-proxyd\n"
        in (prefix / "share/dbus-1/services/ie.fio.OllamaProxy.service").read_text()
    )
    assert {path.name for path in person.home.rglob("*") if path.is_file()} == {"config.yaml"}
    succeeded(person.uninstall("--prefix", str(prefix), "--purge"))
    assert not prefix.exists()
    assert picture(person.home) == {}


def test_without_the_wheels_nothing_is_left_behind(person: Person, tmp_path: Path) -> None:
    before = picture(person.home)
    done = person.run(person.checkout / "scripts/install", "--no-index", "--find-links", str(tmp_path))
    assert done.returncode == 1
    assert "--find-links DIR" in done.stderr
    assert picture(person.home) == before


def test_the_environment_depends_on_no_checkout_and_removes_itself(person: Person) -> None:
    succeeded(person.install("--no-extension"))
    assert not (person.home / ".local/share/gnome-shell").exists()
    (package,) = (person.home / APP).glob("environments/*/lib/python*/site-packages/ollama_proxyd")
    assert not [path for path in package.rglob("*") if path.is_symlink()]
    templates = package / "cli/install/templates"
    assert (templates / "systemd/ollama-proxyd.service").read_bytes() == (
        ROOT / "systemd/ollama-proxyd.service"
    ).read_bytes()
    shutil.rmtree(person.checkout)
    assert person.version()
    succeeded(person.run(person.home / ".local/bin/ollama-proxyctl", "install-service", "--uninstall", "--purge"))
    assert picture(person.home) == {}
