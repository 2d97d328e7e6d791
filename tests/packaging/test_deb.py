"""The Debian package: the same bytes each time, no error for lintian, everything where Debian expects it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.checkout import QUICK, copy
from tests.real_things import NOT_TRIED

EXPECTED = (
    "usr/bin/ollama-proxyd",
    "usr/bin/ollama-proxyctl",
    "usr/bin/ai-efficiency",
    "usr/lib/ollama-proxyd/ollama_proxyd/cli/install/templates/systemd/ollama-proxyd.service",
    "usr/lib/systemd/user/ollama-proxyd.service",
    "usr/lib/systemd/user/ollama-proxyd.socket",
    "usr/share/dbus-1/services/ie.fio.OllamaProxy.service",
    "usr/share/dbus-1/services/ie.fio.OllamaProxy.Efficiency.service",
    "usr/share/gnome-shell/extensions/ollama-proxy@fio.ie/schemas/gschemas.compiled",
    "usr/share/man/man1/ollama-proxyctl.1.gz",
    "usr/share/man/man8/ollama-proxyd.8.gz",
    "usr/share/zsh/vendor-completions/_ollama-proxyctl",
    "usr/share/doc/ollama-proxyd/copyright",
    "usr/share/doc/ollama-proxyd/changelog.Debian.gz",
)


def built(checkout: Path, out: Path) -> Path:
    """The package that the checkout's script builds."""
    environ = os.environ | QUICK | {"SOURCE_DATE_EPOCH": "1700000000", "PYTHON": sys.executable}
    command = [str(checkout / "scripts/build-deb"), str(out)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "could not be fetched" in done.stderr:
        pytest.skip(f"{NOT_TRIED}pip could not fetch the wheels for the Debian package")
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for tool in ("dpkg-deb", "strip", "glib-compile-schemas", "msgfmt"):
        if shutil.which(tool) is None:
            pytest.skip(f"{NOT_TRIED}{tool} is not installed, which builds the Debian package")
    return copy(tmp_path_factory.mktemp("project") / "checkout")


@pytest.fixture(scope="module")
def package(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(checkout, tmp_path_factory.mktemp("deb"))


def test_the_same_checkout_gives_the_same_bytes(package: Path, checkout: Path, tmp_path: Path) -> None:
    assert built(checkout, tmp_path).read_bytes() == package.read_bytes()


def test_everything_is_where_debian_expects_it(package: Path) -> None:
    lines = subprocess.run(["dpkg-deb", "-c", package], capture_output=True, text=True, check=True).stdout.splitlines()
    names = {line.split()[5].removeprefix("./"): line for line in lines}
    assert [name for name in EXPECTED if name not in names] == []
    assert {line.split()[1] for line in lines} == {"root/root"}
    assert not [name for name in names if name.endswith((".pyc", ".pyx"))]
    assert names["usr/bin/ollama-proxyd"].startswith("-rwxr-xr-x")


def test_units_and_activation_name_the_programs_of_the_package(package: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "-x", package, tmp_path], check=True)
    unit = (tmp_path / "usr/lib/systemd/user/ollama-proxyd.service").read_text()
    assert "ExecStart=/usr/bin/ollama-proxyd\n" in unit
    activation = (tmp_path / "usr/share/dbus-1/services/ie.fio.OllamaProxy.service").read_text()
    assert "Exec=/usr/bin/ollama-proxyd\n" in activation


def test_lintian_finds_no_error(package: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip(f"{NOT_TRIED}lintian is not installed")
    done = subprocess.run(
        ["lintian", "--allow-root", "--profile", "debian", "--fail-on", "error", package],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
