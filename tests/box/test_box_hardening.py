"""The sandbox of the unit: what it says is refused is refused, what the daemon needs works, on a real user manager."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.box.box import HOME, USER_ID, Box
from tests.box.installation import ENGINE_PORTS, rendered
from tests.box.laptop_in_box import LaptopInBox
from tests.box.service import SOCKET, STATE, UNIT, UNITS, Service
from tests.e2e.harness import wait_until

pytestmark = pytest.mark.real

PROBE_UNIT = "ollama-proxyd-probe.service"
PRINTED = f"{HOME}/probe.json"
SECRETS = (f"{HOME}/.ssh/id_ed25519", f"{HOME}/.local/share/keyrings/login.keyring", "/tmp/of-another-program")
DEVICES = ("/dev/snd/pcmC0D0c", "/dev/input/event0", "/dev/video0", "/dev/nvidiactl")
MOST_EXPOSED = 20
"""In tenths, as systemd-analyze counts."""
KNOWS_NOTIFY_RELOAD = 253
NOT_KNOWN_YET = "Failed to parse service type, ignoring: notify-reload"
"""What an older systemd says of the second Type=, as the unit means it to."""
Outcomes = dict[str, dict[str, str]]


def in_the_sandbox() -> str:
    """The very unit, but for the program and for when it counts as started."""
    command = f"/usr/bin/python3 /src/probe.py {ENGINE_PORTS['fast']}"
    text = re.sub(r"(?m)^ExecStart=.*$", f"ExecStart={command}", rendered(UNIT))
    text = re.sub(r"(?m)^(Type|WatchdogSec|Restart|RestartPreventExitStatus)=.*\n", "", text)
    return text.replace("[Service]\n", f"[Service]\nType=oneshot\nStandardOutput=truncate:{PRINTED}\n")


def printed(text: str) -> Outcomes:
    outcomes: Outcomes = json.loads(text)
    return outcomes


@pytest.fixture
def tempting(box: Box, service: Service) -> Iterator[None]:
    """Secrets and devices that a person at a laptop has, readable by that person."""
    box.user("mkdir", "-p", STATE)
    service.mark()
    for path in (*SECRETS, *DEVICES):
        box.root("mkdir", "-p", path.rpartition("/")[0])
        box.path(path).write_text("secret")
        box.root("chown", "-R", f"{USER_ID}:{USER_ID}", path)
    for folder in (f"{HOME}/.ssh", f"{HOME}/.local/share/keyrings"):
        box.root("chown", str(USER_ID), folder)
    yield
    box.root("rm", "-rf", *DEVICES, *SECRETS, PRINTED)


@pytest.fixture
def sandboxed(box: Box, service: Service, tempting: None) -> Outcomes:
    """How the attempts went with every directive of the unit."""
    box.write(f"{UNITS}/{PROBE_UNIT}", in_the_sandbox())
    service.systemctl("daemon-reload")
    service.systemctl("start", PROBE_UNIT)
    return printed(box.path(PRINTED).read_text(encoding="utf-8"))


def test_what_the_sandbox_forbids_is_refused_and_only_by_the_sandbox(
    box: Box, service: Service, sandboxed: Outcomes
) -> None:
    box.user("mkdir", "-p", "/run/user/1000/ollama-proxyd")
    probe = ["python3", "/src/probe.py", str(ENGINE_PORTS["fast"])]
    free = printed(box.user("systemd-run", "--user", "--wait", "--pipe", "--quiet", "--", *probe).stdout)
    assert {name: why for name, why in free["refused"].items() if why} == {}
    assert [name for name, why in sandboxed["refused"].items() if not why] == []


def test_what_the_daemon_needs_works_in_the_sandbox(sandboxed: Outcomes) -> None:
    assert {name: why for name, why in sandboxed["needed"].items() if why} == {}


def test_the_manager_ignores_nothing_of_what_the_unit_asks_for(service: Service) -> None:
    service.start()
    assert [line for line in service.said().splitlines() if "ignoring" in line.lower()] == []


def test_the_daemon_has_no_rights_that_it_could_lose(service: Service, box: Box) -> None:
    service.start()
    status = box.path(f"/proc/{service.pid()}/status").read_text(encoding="utf-8")
    facts = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    assert {int(facts[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert (facts["NoNewPrivs"].strip(), facts["Seccomp"].strip()) == ("1", "2")


def test_the_state_is_a_folder_of_its_own_and_not_the_configurations(service: Service, box: Box) -> None:
    service.start()
    assert service.ask("POST", "/efficiency", {"mode": "Quiet"}).status == 200
    folder = box.path(STATE)
    assert not folder.is_symlink()
    wait_until(
        lambda: {path.stem for path in folder.iterdir()} == {"state", "history"}, "the daemon's own files are in it"
    )
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_sandboxed_daemon_reads_battery_profile_and_sensors(service: Service, laptop: LaptopInBox) -> None:
    service.start()

    def machine() -> dict[str, object]:
        answer: dict[str, object] = service.ask("GET", "/thermal").json()
        return answer

    seen = wait_until(lambda: (m := machine()) and "BAT" and m, "the machine is read")
    assert "battery" in json.dumps(seen)
    wait_until(lambda: service.bus_property("SystemState", "BatteryPercent") == "90", "the battery is known")
    assert service.bus_property("SystemState", "OnBattery") == "false"
    assert service.bus_property("SystemState", "PowerProfile") == '"balanced"'
    assert "seen late" not in service.said()


def test_systemd_counts_the_service_as_little_exposed(box: Box) -> None:
    limit = f"--threshold={MOST_EXPOSED}"
    unit = f"{UNITS}/{UNIT}"
    done = box.user("systemd-analyze", "--user", "security", "--offline=yes", "--no-pager", limit, unit, check=False)
    assert done.returncode == 0, done.stdout


def test_systemd_finds_nothing_wrong_with_the_units(box: Box) -> None:
    units = [f"{UNITS}/{unit}" for unit in (UNIT, SOCKET)]
    done = box.user("systemd-analyze", "--user", "verify", "--man=no", *units)
    said = [line for line in (done.stdout + done.stderr).splitlines() if not line.endswith(NOT_KNOWN_YET)]
    assert said == []
    if systemd_version(box) >= KNOWS_NOTIFY_RELOAD:
        assert NOT_KNOWN_YET not in done.stderr


def systemd_version(box: Box) -> int:
    return int(box.root("systemctl", "--version").stdout.split()[1])
