"""What pipx does with a wheel, and then the one command that makes it a service: all of it goes again."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.checkout import Person, picture
from tests.packaging.test_install import succeeded
from tests.packaging.test_wheel import REPOSITORY, build


@pytest.fixture
def programs(tmp_path: Path, wheels: Path) -> Path:
    """The programs of an environment that has the wheel and what it needs, and nothing of the checkout."""
    environment = tmp_path / "pipx" / "ollama-proxyd"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-index", "--find-links", wheels]
    wheel = build("wheel", REPOSITORY, tmp_path / "dist")
    subprocess.run([*pip, "--disable-pip-version-check", wheel], check=True)
    return environment / "bin"


def test_a_wheel_alone_becomes_a_service_and_goes_without_trace(programs: Path, tmp_path: Path, wheels: Path) -> None:
    person = Person(tmp_path / "a laptop", tmp_path, wheels, "systemctl", "dbus-daemon", "xdg-open")
    before = picture(person.home)
    ctl = programs / "ollama-proxyctl"
    said = succeeded(person.run(ctl, "install-service"))
    assert "wrote a configuration" in said
    unit = (person.home / ".local/share/systemd/user/ollama-proxyd.service").read_text()
    assert f"ExecStart={programs}/ollama-proxyd\n" in unit
    activation = (person.home / ".local/share/dbus-1/services/ie.fio.OllamaProxy.service").read_text()
    assert f"Exec={programs}/ollama-proxyd\n" in activation
    assert "good" in succeeded(person.run(programs / "ollama-proxyd", "--check-config"))
    succeeded(person.run(ctl, "install-service", "--uninstall", "--purge"))
    assert picture(person.home) == before
