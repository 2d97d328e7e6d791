"""scripts/install in the box: started on demand, replaced while it runs, put back if that fails, gone without trace."""

import http.client
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.box import installation
from tests.box.box import HOME, RUNTIME, Box, Done
from tests.box.engines_in_box import Engines
from tests.box.installation import MODEL, WHEELS
from tests.box.service import BUS_NAME, CONFIG, SOCKET, UNIT, Service
from tests.e2e import tiny_model
from tests.e2e.harness import wait_until
from tests.packaging.checkout import copy
from tests.real_things import installed

pytestmark = pytest.mark.real

CHECKOUT = "/checkout"
ENVIRONMENTS = f"{HOME}/.local/share/ollama-proxyd/environments"
CHAT = {"model": MODEL, "messages": tiny_model.HELLO}
STREAM = {**CHAT, "stream": True, "max_tokens": 1900, "ignore_eos": True}
WHERE_A_USER_MAY_WRITE = (HOME, "/tmp", "/var/tmp", RUNTIME)
NOT_OURS = (f"{RUNTIME}/systemd", f"{RUNTIME}/dbus-1", "/tmp/systemd-private-", "/var/tmp/systemd-private-")
"""What the managers, the bus and other services write there meanwhile."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project that a test may change, as the box sees it in /checkout."""
    return copy(tmp_path_factory.mktemp("project") / "checkout")


@pytest.fixture(scope="module")
def fresh_box(box_root: Path, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A laptop with two engines on which nothing of the project is installed."""
    wheels = Path(installed("install-box-tests").splitlines()[1])
    model = tiny_model.build(tmp_path_factory.mktemp("model") / "tiny.gguf")
    with Box(box_root, installation.shown(wheels, model) | {checkout: CHECKOUT}) as running:
        installation.start_engines(running)
        yield running


@pytest.fixture
def service(fresh_box: Box) -> Iterator[Service]:
    """The service as scripts/install has put it there, with a configuration that names the engines."""
    service = Service(fresh_box)
    service.mark()
    service.configure(installation.config())
    install(fresh_box)
    yield service
    fresh_box.user(f"{CHECKOUT}/scripts/uninstall", "--purge")


def install(box: Box, *, check: bool = True) -> Done:
    return box.user(f"{CHECKOUT}/scripts/install", "--no-index", "--find-links", WHEELS, check=check)


def files(box: Box) -> set[str]:
    """Everything where a user may write, with kind, rights, size and target; of folders no size, which says nothing."""
    form = r"%p %y %m %s %l\n"
    found = box.root("find", *WHERE_A_USER_MAY_WRITE, "-xdev", "-printf", form, check=False).stdout.splitlines()
    ours = (line for line in found if not line.startswith(NOT_OURS))
    return {re.sub(r" d (\d+) \d+ ", r" d \1 ", line) for line in ours}


def version(service: Service) -> str:
    answer = service.ask("GET", "/version").json()
    return str(answer["version"])


def change(checkout: Path, name: str, old: str, new: str) -> str:
    """Change a file of the checkout; returns what it was."""
    path = checkout / "ollama_proxyd" / name
    before = path.read_text()
    assert re.search(old, before)
    path.write_text(re.sub(old, new, before, count=1))
    return before


@contextmanager
def asked_all_the_time(service: Service) -> Iterator[list[str]]:
    """Meanwhile somebody asks again and again; every request that was not answered is on the list."""
    failures: list[str] = []
    statuses: list[int] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.05):
            try:
                statuses.append(service.ask("GET", "/healthz").status)
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield failures
    finally:
        ended.set()
        asking.join()
    assert len(statuses) > 10
    assert set(statuses) == {200}


def test_installed_started_on_demand_used_and_gone_without_trace(fresh_box: Box) -> None:
    before = files(fresh_box)
    service = Service(fresh_box)
    said = install(fresh_box).stdout
    assert "systemd holds the port; the first request starts the daemon" in said
    fresh_box.write(CONFIG, "backends:\n  - {id: fast, type: openai, endpoint: 'http://127.0.0.1:8081'}\n")
    assert service.show("ActiveState") == "inactive"
    answer = service.ask("POST", "/v1/chat/completions", CHAT)
    assert answer.json()["choices"][0]["message"]["content"] == tiny_model.REPLY
    assert service.show("ActiveState") == "active"
    assert BUS_NAME in service.busctl("--acquired", "--no-legend", "list").stdout

    fresh_box.user(f"{CHECKOUT}/scripts/uninstall", "--purge")
    assert service.show("LoadState") == "not-found"
    assert service.show("LoadState", SOCKET) == "not-found"
    assert BUS_NAME not in service.busctl("--no-legend", "list").stdout
    assert files(fresh_box) == before


def test_a_call_on_the_bus_starts_what_was_installed(service: Service) -> None:
    assert service.show("ActiveState") == "inactive"
    assert service.bus_property("Efficiency", "CurrentMode") == '"Auto"'
    assert service.show("ActiveState") == "active"


def test_the_installed_units_are_clean(service: Service) -> None:
    done = service.box.user("systemd-analyze", "--user", "verify", "--man=no", UNIT, SOCKET)
    assert (done.stdout, done.stderr) == ("", "")


def test_an_upgrade_replaces_the_running_daemon_and_a_broken_one_is_taken_back(
    service: Service, checkout: Path
) -> None:
    service.start()
    pid = service.pid()
    assert service.ask("POST", "/efficiency", {"mode": "Quiet"}).status == 200
    good = change(checkout, "__init__.py", r'__version__ = ".*"', '__version__ = "99.0.0"')
    serving = ""
    try:
        with asked_all_the_time(service) as failures:
            assert "the running daemon was replaced, and the new one serves" in install(service.box).stdout
        assert failures == []
        assert service.pid() != pid
        assert version(service) == "99.0.0"
        assert service.bus_property("Efficiency", "CurrentMode") == '"Quiet"'
        (kept,) = service.box.path(ENVIRONMENTS).iterdir()

        serving = change(checkout, "cli/main.py", r"(def _serve\(.*\n)", r"\1    sys.exit(3)\n")
        done = install(service.box, check=False)
        assert done.returncode == 1
        assert "ollama-proxyd.service did not start" in done.stderr
        assert "All files are again as they were before." in done.stderr
        service.until_ready()
        assert version(service) == "99.0.0"
        assert [path.name for path in service.box.path(ENVIRONMENTS).iterdir()] == [kept.name]
    finally:
        (checkout / "ollama_proxyd/__init__.py").write_text(good)
        if serving:
            (checkout / "ollama_proxyd/cli/main.py").write_text(serving)


def test_an_answer_that_is_being_written_is_finished_before_the_new_daemon_takes_over(
    service: Service, checkout: Path
) -> None:
    service.ask("GET", "/healthz")
    pid = service.pid()
    engines = Engines(service.box)
    good = change(checkout, "__init__.py", r'__version__ = ".*"', '__version__ = "98.0.0"')
    try:
        with ThreadPoolExecutor(1) as pool, service.opened("POST", "/v1/chat/completions", STREAM) as response:
            first = response.readline()
            engines.hold()
            installing = pool.submit(install, service.box)
            wait_until(lambda: "under way: 1" in service.show("StatusText"), "the old daemon waits", 60, every_s=0.1)
            status = service.show("StatusText")
            engines.go_on()
            rest = response.read().decode()
            said = installing.result().stdout
    finally:
        engines.go_on()
        (checkout / "ollama_proxyd/__init__.py").write_text(good)
    assert first.startswith(b"data: ")
    assert rest.rstrip().splitlines()[-1] == "data: [DONE]"
    assert status == "stopping; requests under way: 1, which get up to 20 s to finish"
    assert "the running daemon was replaced, and the new one serves" in said
    assert service.pid() != pid
    assert version(service) == "98.0.0"


def test_a_taken_port_is_named_and_the_rest_is_installed(fresh_box: Box) -> None:
    unit = "--unit=somebody-else"
    fresh_box.user("systemd-run", "--user", unit, "--quiet", "--collect", "python3", "-m", "http.server", "8080")
    try:
        service = Service(fresh_box)
        wait_until(lambda: _answers(service), "the other program has the port")
        said = install(fresh_box).stdout
        assert "starting on demand: ollama-proxyd.socket did not start" in said
        assert "ddress already in use" in said
        assert fresh_box.path(f"{HOME}/.local/bin/ollama-proxyctl").is_symlink()
    finally:
        fresh_box.user("systemctl", "--user", "stop", "somebody-else.service")
        fresh_box.user(f"{CHECKOUT}/scripts/uninstall", "--purge")


def _answers(service: Service) -> bool:
    try:
        return service.ask("GET", "/").status == 200
    except OSError:
        return False
