"""The project put into a box for its user, and the real engine beside it."""

from pathlib import Path
from typing import Any

from tests.box.box import HOME, Box
from tests.box.service import BUS_NAME, SOCKET, UNIT, UNITS
from tests.e2e.harness import ROOT, wait_until
from tests.real_things import installed

VENV = f"{HOME}/.local/share/ollama-proxyd/venv"
BIN = f"{VENV}/bin"
SOURCE = "/src"
PARTS = (
    *("ollama_proxyd", "scripts/make-env", "pyproject.toml", "requirements.lock", "requirements-grpc.lock"),
    *("container/config.yaml", "LICENSE"),
)
INSIDE = ("box/probe.py", "box/ollama_in_box.py", "edges/host/logind_contract.py")
"""Programs of the tests' own that are run in the box."""
OLLAMA = "tests/upstreams/ollama_program.py"
WHEELS = "/wheels"
ENGINE_PORTS = {"fast": 8081, "thrifty": 8082}
MODEL = "tiny"


def shown(wheels: Path, model: Path) -> dict[Path, str]:
    """What of this machine the box has to show for it."""
    parts = {ROOT / part: f"{SOURCE}/{part}" for part in PARTS}
    parts |= {ROOT / "tests" / part: f"{SOURCE}/{Path(part).name}" for part in INSIDE}
    parts |= {ROOT / part: f"{SOURCE}/{part}" for part in ("tests/upstreams", "tests/free_ports.py")}
    return parts | {wheels: WHEELS, _engine_folder(): str(_engine_folder()), model: f"/models/{MODEL}.gguf"}


def _program() -> Path:
    return Path(installed("install-llama-server")).resolve()


def _engine_folder() -> Path:
    """What came with the engine: it knows its own libraries by their whole path."""
    return Path(installed("install-llama-server")).parent.resolve()


def rendered(name: str) -> str:
    """A unit as it is installed."""
    return (ROOT / "systemd" / name).read_text(encoding="utf-8").replace("@bindir@", BIN)


def install(box: Box) -> None:
    """Make the environment from the lock, without a network, and put units and activation where they belong."""
    offline = ("PIP_NO_INDEX=1", f"PIP_FIND_LINKS={WHEELS}")
    box.user("env", *offline, f"{SOURCE}/scripts/make-env", VENV, f"{SOURCE}/requirements.lock")
    for unit in (UNIT, SOCKET):
        box.write(f"{UNITS}/{unit}", rendered(unit))
    activation = (ROOT / "dbus" / f"{BUS_NAME}.service").read_text(encoding="utf-8")
    box.write(f"{HOME}/.local/share/dbus-1/services/{BUS_NAME}.service", activation)
    box.user("systemctl", "--user", "daemon-reload")
    bus = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
    box.user("busctl", "--user", "call", *bus, "ReloadConfig")


def start_engines(box: Box) -> None:
    """A llama-server with the tiny model for each device, as services of the user's own."""
    program = str(_program())
    for name, port in ENGINE_PORTS.items():
        command = [program, "-m", f"/models/{MODEL}.gguf", "-a", MODEL, "-t", "1", "-np", "4", "-c", "8192"]
        address = ["--host", "127.0.0.1", "--port", str(port), "--reasoning", "off"]
        box.user("systemd-run", "--user", f"--unit=engine-{name}", "--quiet", "--collect", "--", *command, *address)
    wait_until(lambda: _are_up(box), "the engines in the box serve", 30)


def _are_up(box: Box) -> bool:
    urls = [f"http://127.0.0.1:{port}/health" for port in ENGINE_PORTS.values()]
    return all(box.user("curl", "--silent", "--fail", url, check=False).returncode == 0 for url in urls)


def engine(name: str, hardware: str, watts: float, tokens_per_second: float, port: int = 0) -> dict[str, Any]:
    """An engine as it would be on some device, as the configuration names it."""
    speed = {"power_watts": watts, "avg_latency_ms": 200, "max_tokens_per_second": tokens_per_second}
    return {
        "id": name,
        "type": "openai",
        "flavor": "llamacpp",
        "endpoint": f"http://127.0.0.1:{port or ENGINE_PORTS[name]}",
        "hardware": hardware,
        "characteristics": speed | {"wake_s": 0, "wake_joules": 0},
    }


def own_engine(*flags: str) -> dict[str, Any]:
    """A llama-server that the proxy runs."""
    words = [str(_program()), "--model", "{model}", "--alias", "{name}", "--host", "{host}", "--port", "{port}"]
    return {"id": "own", "hardware": "cpu", "command": [*words, "-np", "{slots}", "-c", "{context}", "-t", "1", *flags]}


def own_ollama(box: Box) -> dict[str, Any]:
    """A program like `ollama serve` that the proxy runs, with the tiny model in its store."""
    store, program = f"{HOME}/.ollama/models", f"{HOME}/bin/ollama"
    add = f"ollama_store.add(Path('{store}'), '{MODEL}', Path('/models/{MODEL}.gguf').read_bytes())"
    script = f"from pathlib import Path; from tests.upstreams import ollama_store; {add}"
    box.user("env", f"PYTHONPATH={SOURCE}", f"{BIN}/python", "-c", script)
    box.write(program, f"export OLLAMA_FAKE_RUNNER={_program()}\nexec {BIN}/python {SOURCE}/{OLLAMA}\n")
    return {"id": "own", "engine": "ollama", "hardware": "cpu", "command": ["/bin/sh", program, "serve"]}


def config(**sections: Any) -> dict[str, Any]:
    """A fast device and a thrifty one, and Auto that follows at once."""
    return {
        "backends": [engine("fast", "nvidia", 55, 65), engine("thrifty", "npu", 3, 10)],
        "efficiency": {"default_mode": "Auto", "auto": {"dwell_s": 0}, "quiet_hours": {"enabled": False}},
        "sensors": {"idle_interval_s": 0.5, "busy_interval_s": 0.5},
        **sections,
    }
