"""Where the daemon is looked for, and what is said when it is not there."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import NAME, Ctl, ServedDaemon
from tests.desktop.private_bus import PrivateBus, StartBus

UNAVAILABLE = 69


def test_without_bus_and_daemon_it_says_so_and_how_to_start_it(ctl: Ctl) -> None:
    result = ctl("status")
    assert (result.exit_code, result.stdout) == (UNAVAILABLE, "")
    assert result.stderr == (
        "ollama-proxyctl: there is no session bus, and no daemon answers at http://127.0.0.1:1 (Connection refused); "
        "start it with: ollama-proxyd\n"
    )


def test_the_alias_complains_in_its_own_name(alias: Ctl) -> None:
    assert alias("get").stderr.startswith("ai-efficiency: there is no session bus")


def test_a_bus_without_the_daemon_is_no_obstacle_to_http(
    private_bus: PrivateBus, over_http: ServedDaemon, monkeypatch: pytest.MonkeyPatch, ctl: Ctl
) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", private_bus.address)
    assert ctl("mode").output == "Balanced: as chosen\n"


def test_a_bus_that_does_not_answer_is_no_obstacle_to_http(
    over_http: ServedDaemon, monkeypatch: pytest.MonkeyPatch, ctl: Ctl
) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere/bus")
    assert ctl("mode").exit_code == 0


@pytest.mark.parametrize("address", ["tcp:host=localhost,port=1", "nonsense", "unix:", "unix:path=/a%zz"])
def test_an_address_that_is_not_understood_is_named(monkeypatch: pytest.MonkeyPatch, ctl: Ctl, address: str) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    result = ctl("mode")
    assert result.exit_code == UNAVAILABLE
    assert f"the bus at {address} cannot be reached" in result.stderr


def test_the_bus_is_found_in_the_runtime_folder(
    over_dbus: ServedDaemon, private_bus: PrivateBus, monkeypatch: pytest.MonkeyPatch, ctl: Ctl
) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(private_bus.folder))
    assert '"via": "D-Bus"' in ctl("status", "--json").output


def test_an_address_may_be_escaped_and_be_one_of_several(
    over_dbus: ServedDaemon, private_bus: PrivateBus, monkeypatch: pytest.MonkeyPatch, ctl: Ctl
) -> None:
    path = "%2f".join(str(private_bus.folder).split("/")) + "%2fbus"
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"tcp:host=x;unix:path=/nowhere;unix:guid=12,path={path}")
    assert '"via": "D-Bus"' in ctl("status", "--json").output


def test_asking_never_starts_the_daemon(
    bus_with: StartBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctl: Ctl
) -> None:
    started = tmp_path / "started"
    bus = bus_with({NAME: f"/bin/sh -c 'touch {started}; exit 1'"})
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", bus.address)
    assert f"{NAME} is not on the session bus" in ctl("status").stderr
    assert not started.exists()
    assert ctl("--start", "status").exit_code == UNAVAILABLE
    assert started.exists(), "asked for, it is started"


def test_a_daemon_that_the_bus_does_not_know_cannot_be_started(
    private_bus: PrivateBus, monkeypatch: pytest.MonkeyPatch, ctl: Ctl
) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", private_bus.address)
    result = ctl("--start", "status")
    assert result.exit_code == UNAVAILABLE
    assert "the session bus cannot start the daemon: " in result.stderr


@pytest.mark.parametrize("body", [b"Ollama is running", b'{"version": "0.33.0"}', b"[]", b"\xff"])
def test_another_program_on_the_port_is_not_taken_for_the_daemon(
    stranger: Callable[[bytes], str], ctl: Ctl, body: bytes
) -> None:
    url = stranger(body)
    result = ctl("--url", url, "status")
    assert result.exit_code == UNAVAILABLE
    assert f"what answers at {url} is not ollama-proxyd" in result.stderr


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://localhost", "http://", "http://x:port"])
def test_an_address_that_is_none_is_refused_with_an_example(ctl: Ctl, url: str) -> None:
    result = ctl("--url", url, "status")
    assert result.exit_code == 1
    assert "is not an address such as http://127.0.0.1:8080" in result.stderr


def test_the_token_of_the_environment_is_sent(
    serve: Callable[..., ServedDaemon], monkeypatch: pytest.MonkeyPatch, ctl: Ctl
) -> None:
    url = serve(token="a secret").listen()
    refused = ctl("--url", url, "mode")
    assert refused.exit_code == 1
    assert "OLLAMA_PROXY_TOKEN" in refused.stderr
    monkeypatch.setenv("OLLAMA_PROXY_TOKEN", "a secret")
    assert ctl("--url", url, "mode").output == "Balanced: as chosen\n"
