"""Three machines at one switch: network namespaces with a daemon in each, joined by a bridge."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest
import yaml

from ollama_proxyd.cli.client import UnixConnection
from tests.e2e.harness import ROOT, wait_until

PORT = 11484
NETWORKS = {"10.77.0.": 24, "fd77::": 64, "": 0}
"""Networks by what addresses begin with; without any a machine has only what its link knows it by."""


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


class Radio(NamedTuple):
    """How long each frame is under way, and the share of them that is lost."""

    delay_s: float
    loss: float


class Machine:
    """A namespace with an interface at the switch, and what runs in it."""

    def __init__(self, switch: str, name: str, number: int, folder: Path, radio: Radio | None, network: str) -> None:
        self.space, self.name, self.address = f"{switch}-{name}", name, f"{network}{number}"
        self.folder = folder / name
        self._switch, self._cable = switch, f"v{name[:8]}"
        self._process: subprocess.Popen[bytes] | None = None
        for each in (self.folder, self.folder / "run"):
            each.mkdir(mode=0o700)
        run("ip", "netns", "add", self.space)
        self._radio = None if radio is None else self._sends(switch, radio)
        if radio is None:
            ends = ("netns", switch, "type", "veth", "peer", "name", "eth0", "netns", self.space)
            run("ip", "link", "add", self._cable, *ends)
        run("ip", "-n", switch, "link", "set", self._cable, "master", "br0", "up")
        if network:
            run("ip", "-n", self.space, "address", "add", f"{self.address}/{NETWORKS[network]}", "dev", "eth0")
        run("ip", "-n", self.space, "link", "set", "eth0", "up")
        run("ip", "-n", self.space, "link", "set", "lo", "up")

    def _sends(self, switch: str, radio: Radio) -> subprocess.Popen[str]:
        """A radio in place of a cable."""
        words = (sys.executable, str(ROOT / "tests/house/radio.py"), self.space, switch, self._cable)
        process = subprocess.Popen((*words, *map(str, radio)), stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        return process

    def start(self, backends: Sequence[Mapping[str, str]] = (), **house: Any) -> None:
        """Run the daemon with these backends, else with the demo fleet."""
        config = {
            "house": {"enabled": True, "name": self.name, **house},
            "server": {"http_port": 8080},
            "sensors": {"enabled": False},
            "dbus": {"enabled": False},
            "backends": list(backends),
        }
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config))
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "DBUS_", "XDG_"))}
        environ = {
            **kept,
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "PYTHONPATH": str(ROOT),
        }
        asked = ("--config", str(self.folder / "config.yaml"), *(() if backends else ("--demo",)))
        daemon = (sys.executable, "-m", "ollama_proxyd", *asked)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ("ip", "netns", "exec", self.space, *daemon), stdout=log, stderr=log, env=environ, cwd=self.folder
            )
        wait_until(self._is_up, f"{self.name} is up", 60, 0.2)

    @contextmanager
    def runs(self, *script: str) -> Iterator[IO[str]]:
        """A program beside the daemon, and what it prints."""
        command = ("ip", "netns", "exec", self.space, sys.executable, *script)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield process.stdout
            finally:
                process.kill()

    def _is_up(self) -> bool:
        try:
            return bool(self.ask("GET", "/readyz")[0] == 200)
        except OSError:
            assert self._process is not None
            assert self._process.poll() is None, self.log()
            return False

    def log(self) -> str:
        return (self.folder / "log").read_text()

    @contextmanager
    def sent(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to a request over the control socket, which is a file and so in every namespace; not read yet."""
        connection = UnixConnection(str(self.folder / "run" / "ollama-proxyd" / "ollama-proxyd.sock"))
        connection.timeout = 60
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers or {})
            with connection.getresponse() as reply:
                yield reply
        finally:
            connection.close()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        with self.sent(method, path, body) as reply:
            return reply.status, reply.read()

    def house(self) -> Any:
        return json.loads(self.ask("GET", "/house")[1])

    def healthy(self) -> set[str]:
        return {each["id"] for each in json.loads(self.ask("GET", "/backends")[1]) if each["health"] == "up"}

    def execute(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = ("ip", "netns", "exec", self.space, *words)
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)

    def unplug(self) -> None:
        run("ip", "-n", self._switch, "link", "set", self._cable, "down")

    def plug(self) -> None:
        run("ip", "-n", self._switch, "link", "set", self._cable, "up")

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def close(self) -> None:
        self.stop()
        if self._radio is not None:
            self._radio.kill()
            self._radio.communicate()
        subprocess.run(("ip", "netns", "del", self.space), check=False, capture_output=True)


class House:
    """The machines."""

    def __init__(self, folder: Path, radio: Radio | None = None, network: str = "10.77.0.") -> None:
        self._switch = f"hs{os.getpid()}{'' if radio is None else 'r'}"
        run("ip", "netns", "add", self._switch)
        run("ip", "-n", self._switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        run("ip", "-n", self._switch, "link", "set", "br0", "up")
        names = ("desktop", "laptop", "stranger")
        ways = {"laptop": radio}
        self.machines = [
            Machine(self._switch, name, at, folder, ways.get(name), network) for at, name in enumerate(names, 1)
        ]
        self.desktop, self.laptop, self.stranger = self.machines

    def pair(self) -> None:
        """Pair the desktop and the laptop, which find each other."""
        with self.desktop.sent("POST", "/house/pair", {}) as told:
            code = json.loads(told.readline())["code"]
            deadline_s = time.monotonic() + 60
            status, body = 0, b""
            while status != 200:
                assert time.monotonic() < deadline_s, body
                status, body = self.laptop.ask("POST", "/house/pair", {"code": code})
            assert json.loads(told.readline())["name"] == "laptop"
        wait_until(lambda: "desktop/npu" in self.laptop.healthy(), "the laptop has the desktop's backends", 60, 0.2)

    def close(self) -> None:
        for each in self.machines:
            each.close()
        subprocess.run(("ip", "netns", "del", self._switch), check=False, capture_output=True)


@contextmanager
def paired(folder: Path, radio: Radio | None = None, network: str = "10.77.0.") -> Iterator[House]:
    """A house whose desktop and laptop are paired."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    house = House(folder, radio, network)
    try:
        house.desktop.start()
        house.laptop.start()
        house.pair()
        yield house
    finally:
        house.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with paired(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture(scope="module")
def far_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The laptop is in the garden: each frame takes 40 ms there, and one of fifty is lost."""
    with paired(tmp_path_factory.mktemp("far-house"), Radio(0.04, 0.02)) as house:
        yield house
