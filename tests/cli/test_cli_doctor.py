"""`doctor`: every trouble is found, and each finding says what to do."""

import asyncio
import json
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ollama_proxyd import __version__
from ollama_proxyd.cli.doctor.checks import CHECKS, examine, worst
from ollama_proxyd.cli.doctor.facts import ConfigFacts, Device, DoctorFacts, EngineSocket, HttpFacts
from ollama_proxyd.cli.doctor.findings import Finding, Level
from ollama_proxyd.cli.doctor.gather import Places, gather
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.edges.plumbing.dbus import BUS, connect
from tests.cli.conftest import Ctl, ServedDaemon
from tests.cli.test_cli_watch import NOW, NPU
from tests.desktop.private_bus import PrivateBus, StartBus

URL = "http://127.0.0.1:8080"
HEALTHY = DoctorFacts(
    session_bus=None,
    on_the_bus=True,
    http=HttpFacts(URL, version=__version__),
    config=ConfigFacts("/home/me/.config/ollama-proxyd/config.yaml"),
    status={
        **NOW,
        "engines": [{"phase": "ready"}],
        "engine_addresses": {"reason_code": "engines_behind_sockets", "reason": "they are behind sockets"},
        "saved_prompts": {"files": 2, "reason": None},
    },
    system_bus=None,
    services={"org.freedesktop.UPower": True, "net.hadess.PowerProfiles": True},
    energy_counters={"/sys/class/powercap/intel-rapl:0/energy_uj": True},
    devices=(Device("/dev/accel/accel0", "render", True),),
    leftovers=(),
    old_daemon=False,
    backends=[{"id": "npu", "digests": {"tiny:latest": "a1"}}],
    house={"enabled": True, "trouble": None, "peers": [{"name": "desktop", "reason": None}]},
)
HANGING = replace(
    HEALTHY, status=None, backends=(), house=None, http=HttpFacts(URL, holder="ollama-proxyd, pid 7", is_silent=True)
)
STOPPED = replace(HEALTHY, on_the_bus=False, status=None, backends=(), house=None, http=HttpFacts(URL))


def with_backends(*states: tuple[str, str | None]) -> Any:
    backends = [{**NPU, "id": f"b{at}", "health": state, "reason": why} for at, (state, why) in enumerate(states)]
    return {**NOW, "backends": backends}


def with_digests(**digests: str) -> DoctorFacts:
    backends = [{"id": backend_id, "digests": {"tiny:latest": digest}} for backend_id, digest in digests.items()]
    return replace(HEALTHY, backends=backends)


def with_house(trouble: str | None = None, **peers: str | None) -> DoctorFacts:
    told = [{"name": name, "reason": why} for name, why in peers.items()]
    return replace(HEALTHY, house={"enabled": True, "trouble": trouble, "peers": told})


def test_where_grpc_is_served_is_told_beside_the_daemon_s_own_address() -> None:
    served = replace(HEALTHY, http=HttpFacts(URL, version=__version__, grpc_endpoint="127.0.0.1:50051"))
    told = [finding.says for finding in examine(served)]
    assert f"the daemon answers at {URL}, and gRPC at 127.0.0.1:50051" in told


TROUBLES: list[tuple[str, DoctorFacts, Level, str, str]] = [
    ("daemon", STOPPED, Level.ERROR, "it does not run", "start it with: ollama-proxyd"),
    ("daemon", HANGING, Level.ERROR, "it runs and does not answer", "systemctl --user restart ollama-proxyd"),
    ("port", HANGING, Level.ERROR, f"ollama-proxyd, pid 7 listens at {URL} and does not answer", "restart it"),
    (
        "daemon",
        replace(HEALTHY, http=HttpFacts(URL, version="0.0.9")),
        Level.WARNING,
        "version 0.0.9 runs",
        "start it again",
    ),
    (
        "models",
        with_digests(npu="a1", igpu="b2", cpu="a1"),
        Level.WARNING,
        "one name and different files: tiny:latest on npu+cpu and igpu",
        "ollama cp",
    ),
    (
        "engines",
        replace(
            HEALTHY,
            status={
                **NOW,
                "engines_ended": [
                    {"backend": "llama", "model": "tiny", "times": 2, "reason": "its process ended with status 1"}
                ],
            },
        ),
        Level.WARNING,
        "its process ended with status 1, 2 times in a row",
        "ollama-proxyctl engines log llama tiny",
    ),
    (
        "engines",
        replace(
            HEALTHY,
            status={
                **NOW,
                "models_unusable": [
                    {
                        "backend": "llama",
                        "reason": "/m/torn.gguf is no model that can be used: it is cut short",
                        "reason_code": "model_unusable",
                        "reason_details": {"path": "/m/torn.gguf"},
                    }
                ],
            },
        ),
        Level.WARNING,
        "/m/torn.gguf is no model that can be used: it is cut short",
        "replace or remove: /m/torn.gguf",
    ),
    (
        "engines",
        replace(
            HEALTHY,
            status={
                **NOW,
                "engines_ended": [{"backend": "llama", "model": "tiny", "times": 1, "reason": "its process ended"}],
                "models_unusable": [
                    {
                        "backend": "llama",
                        "reason": "no model in /m is known, for the folder cannot be read: No such file or directory",
                        "reason_code": "models_folder_unreadable",
                        "reason_details": {"path": "/m"},
                    }
                ],
            },
        ),
        Level.WARNING,
        "its process ended; no model in /m is known",
        "engines log llama tiny; let this user read /m, or name another folder in models_dir",
    ),
    (
        "engines",
        replace(
            HEALTHY,
            status={
                **NOW,
                "models_unusable": [
                    {
                        "backend": "ollama",
                        "reason": "no model in /usr/share/ollama/.ollama/models is known: Permission denied",
                        "reason_code": "models_folder_unreadable",
                        "reason_details": {"path": "/usr/share/ollama/.ollama/models"},
                    }
                ],
            },
        ),
        Level.WARNING,
        "no model in /usr/share/ollama/.ollama/models is known",
        "log in again: sudo usermod --append --groups ollama $USER",
    ),
    (
        "engines",
        replace(
            HEALTHY,
            status={
                **NOW,
                "models_unusable": [
                    {
                        "backend": "ollama",
                        "reason": "/home/a/.ollama/models has no model; those of Ollama's system service are in /x",
                        "reason_code": "models_elsewhere",
                        "reason_details": {"path": "/home/a/.ollama/models", "service": "/x"},
                    }
                ],
            },
        ),
        Level.WARNING,
        "/home/a/.ollama/models has no model; those of Ollama's system service are in /x",
        "name that folder as the engine's models_dir, or pull into /home/a/.ollama/models",
    ),
    (
        "engines",
        replace(
            HEALTHY,
            status={
                **NOW,
                "models_unusable": [
                    {
                        "backend": "llama",
                        "reason": "'big' needs 40 GB of ram on llama, and engines may have 12 GB",
                        "reason_code": "never_fits",
                        "reason_details": {"model": "big"},
                    }
                ],
            },
        ),
        Level.WARNING,
        "'big' needs 40 GB of ram on llama, and engines may have 12 GB",
        "allow more in memory_budget",
    ),
    (
        "engine sockets",
        replace(
            HEALTHY,
            status={**NOW, "engine_addresses": {"reason_code": "engines_at_ports", "reason": "at ports; mend it"}},
        ),
        Level.WARNING,
        "at ports",
        "mend it",
    ),
    (
        "engine sockets",
        replace(HEALTHY, sockets=(EngineSocket("/run/x.sock", "llama", "tiny", "is one at which nobody listens"),)),
        Level.WARNING,
        "the socket of tiny, /run/x.sock, is one at which nobody listens",
        "ollama-proxyctl engines stop llama tiny",
    ),
    (
        "saved prompts",
        replace(HEALTHY, status={**NOW, "saved_prompts": {"files": 0, "reason": "the disk is full"}}),
        Level.WARNING,
        "the disk is full",
        "make room on the disk",
    ),
    ("house", with_house(), Level.WARNING, "no machine is paired", "ollama-proxyctl pair"),
    ("house", with_house(trouble="no network"), Level.WARNING, "no network", "house.peers"),
    ("house", with_house(desktop="off"), Level.WARNING, "no paired machine can be used: desktop (off)", "same network"),
    ("daemon", replace(HEALTHY, on_the_bus=False), Level.WARNING, "not on this session bus", "user service"),
    (
        "port",
        replace(STOPPED, http=HttpFacts(URL, holder="nginx, pid 12", port_taken=True)),
        Level.ERROR,
        f"another program (nginx, pid 12) answers at {URL}",
        "server.http_port",
    ),
    ("port", replace(STOPPED, http=HttpFacts(URL, port_taken=True)), Level.ERROR, "another program", "end"),
    (
        "port",
        replace(HEALTHY, http=HttpFacts(URL, refusal="a token is needed")),
        Level.WARNING,
        "a token is needed",
        "",
    ),
    ("configuration", replace(HEALTHY, config=ConfigFacts("/c", ("/c:2: bad",))), Level.ERROR, "/c:2: bad", "edit"),
    (
        "configuration",
        replace(HEALTHY, config=ConfigFacts("/c", (), ("/c:3: odd",))),
        Level.WARNING,
        "/c:3: odd",
        "config edit",
    ),
    (
        "configuration",
        replace(HEALTHY, left_out=({"kind": "backends", "name": "new", "why": "npu is at this address"},)),
        Level.WARNING,
        "backends new of the admin API is left out: npu is at this address",
        "ollama-proxyctl admin delete backends new",
    ),
    ("backends", replace(HEALTHY, status=with_backends()), Level.ERROR, "there is none", "start Ollama"),
    (
        "backends",
        replace(HEALTHY, status=with_backends(("up", None), ("down", "refused"))),
        Level.WARNING,
        "b1 is down (refused)",
        "backends disable",
    ),
    ("backends", replace(HEALTHY, status=with_backends(("unknown", None))), Level.ERROR, "b0 is unknown", "start"),
    (
        "backends",
        replace(HEALTHY, status=with_backends(("up", None), ("up", "it fell back to the CPU"))),
        Level.WARNING,
        "b1 answers, but worse than it should (it fell back to the CPU)",
        "restart the engine that answers worse",
    ),
    (
        "history",
        replace(HEALTHY, status={**NOW, "history": {"reason": "no room", "reason_code": "history_failed"}}),
        Level.WARNING,
        "no room",
        "make room on the disk",
    ),
    (
        "history",
        replace(HEALTHY, status={**NOW, "history": {"reason": "it is locked", "reason_code": "history_failed"}}),
        Level.WARNING,
        "locked",
        "end what reads or copies history.db",
    ),
    (
        "session bus",
        replace(HEALTHY, session_bus="it is not set"),
        Level.WARNING,
        "it is not set, so the desktop",
        "login session",
    ),
    ("battery", replace(HEALTHY, services={}), Level.WARNING, "Auto cannot follow the battery", "upower"),
    (
        "battery",
        replace(HEALTHY, system_bus="no socket"),
        Level.WARNING,
        "no socket, so Auto cannot follow the battery",
        "",
    ),
    ("power profiles", replace(HEALTHY, services={}), Level.WARNING, "power profile", "power-profiles-daemon"),
    (
        "energy counters",
        replace(HEALTHY, energy_counters={"/sys/a": False}),
        Level.WARNING,
        "/sys/a is for root alone",
        "sudo chmod o+r /sys/a",
    ),
    (
        "devices",
        replace(HEALTHY, devices=(Device("/dev/dri/renderD128", "render", False),)),
        Level.WARNING,
        "/dev/dri/renderD128",
        "sudo usermod -aG render $USER",
    ),
    ("leftovers", replace(HEALTHY, leftovers=("/old",)), Level.WARNING, "/old", "rm -r /old"),
    ("leftovers", replace(HEALTHY, old_daemon=True), Level.WARNING, "the daemon of an earlier", "disable --now"),
]


def found(facts: DoctorFacts, subject: str) -> Finding:
    return next(finding for finding in examine(facts) if finding.subject == subject)


@pytest.mark.parametrize(("subject", "facts", "level", "says", "do"), TROUBLES)
def test_each_trouble_is_found_with_what_to_do(
    subject: str, facts: DoctorFacts, level: Level, says: str, do: str
) -> None:
    finding = found(facts, subject)
    assert finding.level is level
    assert says in finding.says
    assert do in finding.do


def test_every_check_has_a_trouble_above() -> None:
    assert {subject for subject, *_ in TROUBLES} == {finding.subject for finding in examine(HEALTHY)}
    assert len(examine(HEALTHY)) == len(CHECKS)


def test_a_healthy_machine_has_nothing_to_do() -> None:
    findings = examine(HEALTHY)
    assert worst(findings) is Level.OK
    assert not any(finding.do for finding in findings)


def test_a_backend_that_was_switched_off_is_no_trouble() -> None:
    off = {**NPU, "health": "disabled", "enabled": False}
    facts = replace(HEALTHY, status={**NOW, "backends": [NPU, off]})
    assert found(facts, "backends").level is Level.OK


def test_another_machine_that_is_away_is_a_trouble_only_where_nothing_else_can_answer() -> None:
    away = {**NPU, "id": "desktop/gpu", "machine": "desktop", "health": "down", "reason": "desktop is away"}
    for others, level in (([NPU], Level.OK), ([], Level.ERROR)):
        facts = replace(HEALTHY, status={**NOW, "backends": [away, *others]})
        assert found(facts, "backends").level is level


def test_a_backend_that_is_down_and_one_that_lost_its_gpu_are_both_named_each_with_what_to_do() -> None:
    facts = replace(HEALTHY, status=with_backends(("down", "refused"), ("up", "it fell back to the CPU")))
    finding = found(facts, "backends")
    assert finding.level is Level.WARNING
    assert "b0 is down (refused); b1 answers, but worse" in finding.says
    assert "backends disable" in finding.do
    assert "restart the engine" in finding.do


START = "start or restart these engines, or take them out: ollama-proxyctl backends disable ID"
UNTRUSTED = "https://b has a certificate that is not trusted (self-signed certificate); name its authority in ca_file"


@pytest.mark.parametrize(
    ("others", "do"),
    [
        ([], "b0: name its authority in ca_file"),
        (
            [("down", "refused")],
            "b0: name its authority in ca_file; " + START,
        ),
        ([("up", "it lost its GPU; free some memory")], "b0: name its authority in ca_file; b1: free some memory"),
    ],
)
def test_a_reason_that_gives_advice_gets_no_second_one(others: list[tuple[str, str]], do: str) -> None:
    finding = found(replace(HEALTHY, status=with_backends(("down", UNTRUSTED), *others)), "backends")
    assert finding.do == do
    assert "ca_file" not in finding.says


def test_when_a_failing_backend_is_tried_again_is_no_advice() -> None:
    (failing,) = with_backends(("up", "its key is rejected; check its api_key_file; tried again in 30 s"))["backends"]
    why = {"reason": "its key is rejected; check its api_key_file", "reason_code": "fails_key_rejected"}
    told = {**failing, "reason_code": "failing", "reason_details": {"reason": why, "left_seconds": 30.0}}
    finding = found(replace(HEALTHY, status={**NOW, "backends": [told]}), "backends")
    assert finding.do == "b0: check its api_key_file"


def test_a_free_port_of_a_stopped_daemon_is_no_trouble_of_its_own() -> None:
    assert found(STOPPED, "port").level is Level.OK


@pytest.fixture
def places(tmp_path: Path) -> Places:
    for name in ("home", "sys", "dev"):
        (tmp_path / name).mkdir()
    return Places(
        {"HOME": str(tmp_path / "home")}, tmp_path / "home", tmp_path / "sys", tmp_path / "dev", "unix:path=/nowhere"
    )


def test_the_old_extensions_are_found(places: Places) -> None:
    old = places.home / ".local/share/gnome-shell/extensions/ollamaproxy@anthropic.com"
    old.mkdir(parents=True)
    assert gather(places, None).leftovers == (str(old),)


def test_only_the_counters_of_whole_packages_are_looked_at(places: Places) -> None:
    for zone in ("intel-rapl:0", "intel-rapl:0:0", "intel-rapl-mmio:0"):
        counter = places.sysfs / "class/powercap" / zone / "energy_uj"
        counter.parent.mkdir(parents=True)
        counter.touch()
    found = gather(places, None).energy_counters
    assert found == {str(places.sysfs / "class/powercap/intel-rapl:0/energy_uj"): True}


def test_a_device_is_judged_without_being_opened(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    node = places.dev / "accel" / "accel0"
    node.parent.mkdir()
    os.mkfifo(node)  # opening it would wait for ever
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    (device,) = gather(places, None).devices
    assert (device.path, device.open_to_us) == (str(node), False)


def test_a_program_on_the_port_is_named(places: Places, stranger: Callable[[bytes], str]) -> None:
    http = gather(places, stranger(b"Ollama is running")).http
    assert http.version is None
    assert http.port_taken
    assert f"pid {os.getpid()}" in str(http.holder)


def test_the_configured_port_is_looked_at(places: Places) -> None:
    file = places.home / ".config/ollama-proxyd/config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("server: {http_port: 2}\n")
    facts = gather(places, None)
    assert (facts.http.url, facts.config.path) == ("http://127.0.0.1:2", str(file))


def test_the_problems_of_the_configuration_come_with_their_lines(places: Places) -> None:
    file = places.home / "bad.yaml"
    file.write_text("server:\n  prt: 2\n")
    facts = gather(replace(places, environ={"OLLAMA_PROXY_CONFIG": str(file)}), None)
    assert facts.config.errors[0].startswith(f"{file}:2: server.prt: unknown key")


def test_services_that_the_system_bus_can_start_are_there(places: Places, bus_with: StartBus) -> None:
    bus = bus_with({"org.freedesktop.UPower": "/bin/false"})
    facts = gather(replace(places, system_bus=bus.address), None)
    assert facts.system_bus is None
    assert [name for name, there in facts.services.items() if there] == ["org.freedesktop.UPower"]


def test_a_machine_without_anything_gets_errors_and_exit_status_2(ctl: Ctl) -> None:
    result = ctl("doctor")
    assert result.exit_code == 2
    assert result.output.startswith(
        "error    daemon           it does not run\n                          → start it with: ollama-proxyd\n"
    )


def examined(ctl: Ctl, *arguments: str) -> dict[str, Any]:
    return {each["subject"]: each for each in json.loads(ctl(*arguments, "doctor", "--json").output)}


def test_a_daemon_on_any_port_is_found_by_its_socket(
    serve: Callable[..., ServedDaemon], control_socket: socket.socket, ctl: Ctl
) -> None:
    url = serve(token="a secret").listen(control_socket)
    findings = examined(ctl)
    assert findings["daemon"] == {"level": "ok", "subject": "daemon", "says": "it runs", "do": None}
    assert findings["port"]["says"] == f"the daemon answers at {url}"
    assert findings["backends"]["says"] == "all can serve: npu, igpu, nvidia, cpu"


def test_backends_that_the_mode_uses_last_are_not_said_to_be_like_the_others(daemon: ServedDaemon, ctl: Ctl) -> None:
    daemon.do(lambda: daemon.services.governor.select(Mode.EFFICIENCY))
    assert examined(ctl)["backends"]["says"] == (
        "all can serve: npu, igpu; only if these cannot: nvidia (not in this mode: 55 W > 15 W), "
        "cpu (not in this mode: 28 W > 15 W)"
    )


def test_the_exit_status_is_that_of_the_worst_finding(daemon: ServedDaemon, ctl: Ctl) -> None:
    result = ctl("doctor", "--json")
    levels = [each["level"] for each in json.loads(result.output)]
    assert result.exit_code == max(map(("ok", "warning", "error").index, levels))


def test_without_a_socket_it_is_found_at_the_configured_port(
    serve: Callable[..., ServedDaemon], monkeypatch: pytest.MonkeyPatch, ctl: Ctl, tmp_path: Path
) -> None:
    monkeypatch.delenv("OLLAMA_PROXY_HTTP_PORT")
    port = serve().listen().rpartition(":")[2]
    file = tmp_path / ".config/ollama-proxyd/config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(f"server: {{http_port: {port}}}\n")
    assert examined(ctl)["backends"]["says"] == "all can serve: npu, igpu, nvidia, cpu"


@pytest.mark.parametrize(
    ("name", "on_the_bus", "old_daemon"),
    [("ie.fio.OllamaProxy", True, False), ("com.anthropic.OllamaProxy.Efficiency", False, True)],
)
async def test_a_daemon_on_the_bus_is_told_from_an_old_one(
    private_bus: PrivateBus,
    monkeypatch: pytest.MonkeyPatch,
    places: Places,
    name: str,
    on_the_bus: bool,
    old_daemon: bool,
) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", private_bus.address)
    bus = await connect(private_bus.address)
    await bus.call(BUS, "RequestName", "su", [name, 0])
    facts = await asyncio.to_thread(gather, places, None)
    await bus.close()
    assert (facts.session_bus, facts.on_the_bus, facts.old_daemon) == (None, on_the_bus, old_daemon)


def test_looking_starts_nothing(
    bus_with: StartBus, tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "started"
    command = f"/bin/sh -c 'touch {started}; exit 1'"
    bus = bus_with({"ie.fio.OllamaProxy": command, "org.freedesktop.UPower": command})
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", bus.address)
    gather(replace(places, system_bus=bus.address), None)
    assert not started.exists()


def test_a_token_that_is_asked_for_is_no_stranger(places: Places, serve: Callable[..., ServedDaemon]) -> None:
    facts = gather(places, serve(token="a secret").listen())
    assert "OLLAMA_PROXY_TOKEN" in facts.http.refusal
    assert not facts.http.port_taken


def test_the_house_is_well_while_one_machine_is_there_and_unsaid_where_it_is_not_used() -> None:
    (found,) = [each for each in examine(with_house(desktop=None, tower="off")) if each.subject == "house"]
    assert (found.level, found.says) == (Level.OK, "used: desktop; not now: tower (off)")
    assert not [each for each in examine(replace(HEALTHY, house=None)) if each.subject == "house"]
