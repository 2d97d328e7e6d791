"""The machine wakes up and an engine does not find its GPU any more: that is shown, and requests go elsewhere."""

from collections.abc import Iterator

import pytest

from tests.box import installation
from tests.box.box import Box
from tests.box.desktop_in_box import picture
from tests.box.installation import BIN, MODEL, SOURCE, engine
from tests.box.laptop_in_box import LaptopInBox
from tests.box.service import BUS_NAME, PATIENCE_S, Service
from tests.desktop.gnome.desktop import MENU, TITLE
from tests.desktop.gnome.driver import Shell
from tests.e2e import tiny_model
from tests.e2e.harness import wait_until

pytestmark = pytest.mark.real

PORTS = {"gpu": 8083, "npu": 8084}
TPS = {"gpu": 60, "npu": 30}
LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
BACKEND = ("/ie/fio/OllamaProxy/Backends/gpu", f"{BUS_NAME}.Backend")
FELL_BACK = "the engine fell back to the CPU"


class Ollama:
    """An engine of the user's own."""

    def __init__(self, box: Box, name: str) -> None:
        self._box = box
        self._unit = f"ollama-{name}"
        self._vram = f"/tmp/vram-of-{name}"
        self.keep(100)
        program = ["python3", f"{SOURCE}/ollama_in_box.py", str(PORTS[name]), self._vram, str(TPS[name])]
        box.user("systemd-run", "--user", f"--unit={self._unit}", "--quiet", "--collect", "--", *program)
        url = f"http://127.0.0.1:{PORTS[name]}/api/version"
        wait_until(lambda: not box.user("curl", "--silent", "--fail", url, check=False).returncode, "it serves")

    def keep(self, percent: int) -> None:
        """Have so much of its model in the GPU's memory."""
        self._box.write(self._vram, str(percent))

    def close(self) -> None:
        self._box.user("systemctl", "--user", "stop", self._unit)


@pytest.fixture
def gpu(box: Box, service: Service, laptop: LaptopInBox) -> Iterator[Ollama]:
    """An Ollama with a GPU, which the running service prefers to the other one."""
    engines = {name: Ollama(box, name) for name in PORTS}
    backends = [engine("gpu", "nvidia", 55, 65, PORTS["gpu"]), engine("npu", "npu", 3, 30, PORTS["npu"])]
    service.configure(
        installation.config(
            backends=[{**each, "type": "ollama", "flavor": "ollama"} for each in backends],
            efficiency={"default_mode": "Performance"},
            monitoring={"health_interval_s": 1, "health_timeout_s": 20},
        )
    )
    service.start()
    yield engines["gpu"]
    for each in engines.values():
        each.close()


def used(service: Service) -> str:
    answer = service.ask("POST", "/v1/chat/completions", {"model": MODEL, "messages": tiny_model.HELLO})
    assert answer.status == 200, answer.body
    return answer.headers["x-backend-used"]


def sleep_and_wake(service: Service) -> None:
    wait_until(lambda: "ollama-proxyd" in service.box.user("systemd-inhibit", "--list").stdout, "logind knows of it")
    before = service.said().count("has woken up")
    service.box.user("busctl", "--system", "call", *LOGIND, "Suspend", "b", "false")
    wait_until(lambda: service.said().count("has woken up") > before, "it has woken up", PATIENCE_S)


def reason(service: Service) -> str:
    """What the bus says is wrong with the backend."""
    return service.busctl("get-property", BUS_NAME, *BACKEND, "Reason").stdout


def test_an_engine_that_lost_its_gpu_is_degraded_until_it_has_it_again(service: Service, gpu: Ollama) -> None:
    assert used(service) == "gpu"
    sleep_and_wake(service)
    gpu.keep(0)
    wait_until(lambda: FELL_BACK in reason(service), "the bus says what is wrong", PATIENCE_S)
    assert used(service) == "npu"
    status = service.box.user(f"{BIN}/ollama-proxyctl", "backends").stdout
    assert FELL_BACK in status
    advice = service.box.user(f"{BIN}/ollama-proxyctl", "doctor", check=False).stdout
    assert "gpu answers, but worse than it should" in advice
    assert "gpu: restart it" in advice
    assert [FELL_BACK in (row["reason"] or "") for row in service.ask("GET", "/status").json()["backends"]] == [
        True,
        False,
    ]
    assert "degraded" in service.show("StatusText")
    gpu.keep(100)
    wait_until(lambda: FELL_BACK not in reason(service), "the bus says that all is well", PATIENCE_S)
    assert used(service) == "gpu"
    assert "degraded" not in service.show("StatusText")


def test_an_engine_that_shares_its_gpu_after_the_sleep_is_used_as_before(service: Service, gpu: Ollama) -> None:
    assert used(service) == "gpu"
    sleep_and_wake(service)
    gpu.keep(40)
    assert used(service) == "gpu"
    assert reason(service).strip() == 's ""'


def test_the_desktop_says_what_an_engine_lost(service: Service, gpu: Ollama, shell: Shell) -> None:
    assert used(service) == "gpu"
    shell.eval(f"driver.openMenuOf({TITLE!r})")
    sleep_and_wake(service)
    gpu.keep(0)
    shell.until(f"driver.texts({MENU}.actor).some(text => /^Degraded.*{FELL_BACK}/.test(text))")
    picture(shell, service.box, "degraded")
    gpu.keep(100)
    shell.until(f"!driver.texts({MENU}.actor).some(text => text.includes('Degraded'))")
