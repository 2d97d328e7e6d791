"""The Debian package in the box: installed by dpkg, the daemon runs as a user's service, removed it is gone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box import installation
from tests.box.box import Box
from tests.box.installation import MODEL
from tests.box.service import BUS_NAME, SOCKET, UNIT, Service
from tests.e2e import tiny_model
from tests.packaging.checkout import QUICK, copy
from tests.real_things import installed

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def debian_box(box_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A laptop with the package installed and two engines."""
    wheels = Path(installed("install-box-tests").splitlines()[1])
    out = tmp_path_factory.mktemp("deb")
    script = copy(tmp_path_factory.mktemp("project") / "checkout") / "scripts/build-deb"
    command = [str(script), "--find-links", str(wheels), str(out)]
    environ = os.environ | QUICK | {"PYTHON": sys.executable}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    package = Path(done.stdout.strip())
    model = tiny_model.build(tmp_path_factory.mktemp("model") / "tiny.gguf")
    with Box(box_root, installation.shown(wheels, model) | {package: "/ollama-proxyd.deb"}) as running:
        running.root("dpkg", "-i", "/ollama-proxyd.deb")
        running.user("systemctl", "--user", "daemon-reload")
        installation.start_engines(running)
        yield running


@pytest.fixture
def service(debian_box: Box) -> Iterator[Service]:
    """The packaged service with a configuration that names the engines."""
    service = Service(debian_box)
    service.mark()
    service.configure(installation.config())
    yield service
    service.systemctl("stop", SOCKET, UNIT)


def test_the_packaged_daemon_serves_as_a_service_of_the_user(service: Service) -> None:
    assert service.show("FragmentPath") == "/usr/lib/systemd/user/ollama-proxyd.service"
    service.start()
    answer = service.ask("POST", "/v1/chat/completions", {"model": MODEL, "messages": tiny_model.HELLO})
    assert answer.json()["choices"][0]["message"]["content"] == tiny_model.REPLY
    assert BUS_NAME in service.busctl("--acquired", "--no-legend", "list").stdout


def test_a_call_on_the_bus_starts_the_packaged_daemon(service: Service) -> None:
    assert service.show("ActiveState") == "inactive"
    assert service.bus_property("Efficiency", "CurrentMode") == '"Auto"'


def test_the_packaged_socket_starts_it_on_demand(service: Service) -> None:
    service.start()
    service.systemctl("stop", UNIT)
    service.systemctl("start", SOCKET)
    assert service.ask("GET", "/healthz").status == 200
    assert service.show("ActiveState") == "active"


def test_the_packaged_program_tells_its_version_and_finds_the_daemon(service: Service) -> None:
    service.start()
    assert service.box.user("ollama-proxyctl", "status").stdout.startswith("mode\n")


def test_its_code_is_compiled_once_and_removed_with_it(service: Service) -> None:
    box = service.box
    assert box.path("/usr/lib/ollama-proxyd/ollama_proxyd/__pycache__").is_dir()
    service.systemctl("stop", SOCKET, UNIT)
    box.root("dpkg", "-r", "ollama-proxyd")
    try:
        assert not box.path("/usr/lib/ollama-proxyd").exists()
        assert not box.path("/usr/bin/ollama-proxyd").exists()
    finally:
        box.root("dpkg", "-i", "/ollama-proxyd.deb")
        box.user("systemctl", "--user", "daemon-reload")
