"""Models that are usually wanted at this hour, loaded ahead on the charger by the daemon with real llama-servers."""

import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts import make_tiny_gguf
from tests.desktop.laptop import Laptop
from tests.e2e.harness import Daemon, config_of, wait_until
from tests.real_things import installed

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
MINUTE: int = 10
"""Of the hour, in which the daemon believes to be, so that the hour does not end in the middle."""
DAYS = 6
LATER_S, LOAD_S = 100, 60
"""When the model is wanted, and how long it is said to load: half a minute more before it is loaded, which is soon."""
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
Start = Callable[..., Daemon]


def local_zone() -> str:
    """A time zone (tzset(3)) in which it is that minute now."""
    behind = (time.gmtime().tm_min - MINUTE) % 60
    return f"XXX+00:{behind:02}"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for number in range(2):
        make_tiny_gguf.build(folder / f"m{number}.gguf", make_tiny_gguf.Shape(dim=128, ffn=256, layers=8, seed=number))
    return folder


@pytest.fixture
def start(laptop: Laptop, models: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts daemons on the laptop, in one time zone and with one history."""
    program, zone, started = Path(installed("install-llama-server")), local_zone(), list[Daemon]()
    words = [str(program), "--model", "{model}", "--alias", "{name}", "--host", "{host}", "--port", "{port}"]
    engine: dict[str, Any] = {"id": "llama", "hardware": "cpu", "command": [*words, "-c", "{context}", "-t", "1"]}
    # To load it takes long and to keep it costs little, so that a habit is worth acting on.
    engine["context_tokens"] = 1024
    engine["characteristics"] = {"power_watts": 1, "load_s": LOAD_S, "idle_watts": 0.001}
    buses = {
        "DBUS_SYSTEM_BUS_ADDRESS": laptop.system_bus.address,
        "DBUS_SESSION_BUS_ADDRESS": laptop.session_bus.address,
    }

    def start(**routing: Any) -> Daemon:
        config = config_of(
            engines=[engine],
            models_dir=str(models),
            routing=routing,
            efficiency={"default_mode": "Balanced", "auto": {"dwell_s": 0}},
        )
        started.append(Daemon(tmp_path, config, {**buses, "TZ": zone}))
        return started[-1].ready("m0", "m1")

    yield start
    for each in started:
        each.stop()


def have_habit(folder: Path, model: str) -> None:
    """Have a model be asked for at this minute of each of the last days."""
    (file,) = folder.glob("state/ollama-proxyd/history.db")
    with sqlite3.connect(file) as history:
        (columns,) = history.execute("SELECT group_concat(name) FROM pragma_table_info('requests') WHERE name <> 'id'")
        names = columns[0].split(",")
        values = dict(zip(names, history.execute(f"SELECT {columns[0]} FROM requests LIMIT 1").fetchone(), strict=True))
        for day in range(1, DAYS + 1):
            at_s = time.time() - 86400 * day + LATER_S
            row = {**values, "unix_s": at_s, "model": model, "result": "ok", "program": "editor"}
            row["day"] = time.strftime("%Y-%m-%d", time.gmtime(at_s))
            history.execute(
                f"INSERT INTO requests ({columns[0]}) VALUES ({','.join('?' * len(row))})", list(row.values())
            )
    history.close()


def running(daemon: Daemon) -> list[tuple[str, str]]:
    return [(each["model"], each["phase"]) for each in daemon.get("/status").json()["engines"]]


def on_battery(daemon: Daemon) -> bool:
    return b"\nollama_proxy_on_battery 1" in daemon.get("/metrics").body


def test_a_habit_is_met_on_the_charger_and_outlives_a_mode_a_reload_and_the_battery(
    start: Start, laptop: Laptop, tmp_path: Path
) -> None:
    first = start()
    assert first.post("/v1/chat/completions", {**CHAT, "model": "m0"}).status == 200
    wait_until(lambda: list(tmp_path.glob("state/ollama-proxyd/history.db")), "there is a history")
    first.stop()
    have_habit(tmp_path, "m1")

    laptop.unplug()
    daemon = start(prewarm=True)
    wait_until(lambda: on_battery(daemon), "the daemon knows of the battery")
    assert running(daemon) == []
    laptop.plug_in()
    wait_until(lambda: running(daemon) == [("m1", "ready")], "the model is loaded ahead on the charger")
    assert "m1 is loaded ahead at llama" in daemon.log.read_text()
    (pid,) = [each["pid"] for each in daemon.get("/status").json()["engines"]]

    assert daemon.post("/efficiency", {"mode": "UltraEfficiency"}).status == 200
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: "the configuration was reloaded" in daemon.log.read_text(), "it is reloaded")
    laptop.unplug()
    wait_until(lambda: on_battery(daemon), "the charger is gone")
    assert running(daemon) == [("m1", "ready")]
    assert daemon.post("/v1/chat/completions", {**CHAT, "model": "m1"}).status == 200
    assert [each["pid"] for each in daemon.get("/status").json()["engines"]] == [pid]
    assert daemon.get("/status").json()["loads_total"] == 1
