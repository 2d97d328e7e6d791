"""Engines that the proxy runs where there is systemd: units with limits, a journal, and a life of their own."""

import json
from typing import Any

import pytest

from ollama_proxyd.edges.engines.transient import journal_matches
from tests.box import installation
from tests.box.box import RUNTIME, Box
from tests.box.installation import MODEL
from tests.box.service import PATIENCE_S, PORT, Service
from tests.e2e import tiny_model
from tests.e2e.harness import wait_until

pytestmark = pytest.mark.real
CHAT = {"model": MODEL, "messages": tiny_model.HELLO, "max_tokens": 4}
BUDGET_GB = 1.5
SOCKETS = f"{RUNTIME}/ollama-proxyd/engines"
AT_ONCE = 20
URL = f"http://127.0.0.1:{PORT}/v1/chat/completions"


@pytest.fixture
def with_engine(service: Service) -> Service:
    """The service with one engine of its own, which has answered."""
    service.configure(
        installation.config(
            backends=[], engines=[installation.own_engine()], models_dir="/models", memory_budget={"ram_gb": BUDGET_GB}
        )
    )
    service.start()
    ask(service)
    return service


def ask(service: Service) -> None:
    answer = service.ask("POST", "/v1/chat/completions", CHAT)
    assert answer.status == 200, answer.body


def ask_at_once(service: Service) -> list[str]:
    """From within the box, since only one thread of this process can go there."""
    curl = "curl -s -o /dev/null -w '%{http_code}\\n' -H Content-Type:application/json"
    script = f"for _ in $(seq {AT_ONCE}); do {curl} -d '{json.dumps(CHAT)}' {URL} & done; wait"
    return service.box.user("bash", "-c", script).stdout.split()


def units(service: Service) -> list[str]:
    listed = service.systemctl("list-units", "--plain", "--no-legend", "--all", "ollama-proxyd-engine-*").stdout
    return [line.split()[0] for line in listed.splitlines()]


def told(service: Service) -> dict[str, Any]:
    status: dict[str, Any] = service.ask("GET", "/status").json()
    return status


def test_an_engine_is_a_unit_with_limits_and_its_words_are_in_the_journal(with_engine: Service) -> None:
    service = with_engine
    (unit,) = units(service)
    assert told(service)["engine_processes"]["reason_code"] == "engines_as_units"
    assert service.show("Description", unit) == "llama-server of ollama-proxyd: own-tiny"
    assert 1e9 < int(service.show("MemoryMax", unit)) <= BUDGET_GB * 1e9
    assert service.show("OOMPolicy", unit) == "stop"
    (engine,) = told(service)["engines"]
    assert int(service.show("MainPID", unit)) == engine["pid"]
    assert (engine["port"], engine["socket"].rpartition("/")[0]) == (None, SOCKETS)
    assert service.box.user("stat", "-c", "%a", SOCKETS, engine["socket"]).stdout.split() == ["700", "700"]
    service.until_said("listening", unit)
    service.until_said("transient units of this user's systemd")
    service.systemctl("stop", "ollama-proxyd.service")
    wait_until(lambda: not units(service), "the unit has ended with the service", PATIENCE_S)
    assert service.box.user("ls", SOCKETS).stdout == ""


def test_a_unit_outlives_a_daemon_that_is_killed_and_the_next_one_takes_it_over(with_engine: Service) -> None:
    service = with_engine
    before, daemon = (units(service), told(service)["engines"][0]["pid"]), service.pid()
    service.box.user("kill", "-KILL", str(daemon))
    service.until_replaced(daemon)
    service.until_ready()
    assert ask_at_once(service) == ["200"] * AT_ONCE
    assert (units(service), told(service)["engines"][0]["pid"]) == before
    service.until_said("runs since an earlier start, and is taken over")


def test_a_unit_outlives_a_restart_of_the_service_and_no_stop(with_engine: Service) -> None:
    service = with_engine
    before = units(service), told(service)["engines"][0]["pid"]
    service.systemctl("restart", "ollama-proxyd.service")
    service.until_ready()
    assert ask_at_once(service) == ["200"] * AT_ONCE
    assert (units(service), told(service)["engines"][0]["pid"]) == before
    assert told(service)["engine_processes"]["reason_code"] == "engines_as_units"
    written = service.ask("GET", f"/engines/log?backend=own&model={MODEL}&lines=1000")
    assert (written.status, b"listening" in written.body) == (200, True)
    service.systemctl("stop", "ollama-proxyd.service")
    wait_until(lambda: not units(service), "the unit has ended with the service", PATIENCE_S)


def test_how_a_unit_ended_is_told_and_the_next_request_starts_another(with_engine: Service) -> None:
    service = with_engine
    before = units(service)
    service.systemctl("kill", "--signal=KILL", *before)
    service.until_said("its process was ended by SIGKILL")
    ask(service)
    wait_until(lambda: len(units(service)) == 1, "the unit that failed is let go of", PATIENCE_S)
    assert units(service) != before


def test_an_engine_that_cannot_load_is_told_with_its_own_words(with_engine: Service) -> None:
    service = with_engine
    broken = installation.own_engine("--no-such-option")
    service.configure(installation.config(backends=[], engines=[broken], models_dir="/models"))
    service.systemctl("reload", "ollama-proxyd.service")
    wait_until(lambda: not units(service), "the unit of the former command has ended", PATIENCE_S)
    answer = service.ask("POST", "/v1/chat/completions", CHAT)
    assert answer.status == 502
    assert b"invalid argument: --no-such-option" in answer.body


def of_the_unit(service: Service) -> list[int]:
    """The processes in the cgroup of the only unit."""
    (unit,) = units(service)
    listed = service.box.user("cat", f"/sys/fs/cgroup{service.show('ControlGroup', unit)}/cgroup.procs").stdout
    return sorted(map(int, listed.split()))


def test_an_ollama_and_its_runner_are_one_unit_which_outlives_a_restart_and_either_of_them(service: Service) -> None:
    own = installation.own_ollama(service.box)
    service.configure(installation.config(backends=[], engines=[own], memory_budget={"ram_gb": BUDGET_GB}))
    service.start()
    ask(service)
    (engine,) = told(service)["engines"]
    server, runner = of_the_unit(service)
    assert (engine["pid"], engine["model"]) == (server, f"{MODEL}:latest")
    service.systemctl("restart", "ollama-proxyd.service")
    service.until_ready()
    assert ask_at_once(service) == ["200"] * AT_ONCE
    assert of_the_unit(service) == [server, runner]

    service.box.user("kill", "-KILL", str(runner))
    ask(service)
    assert runner not in of_the_unit(service)
    assert server in of_the_unit(service)

    service.box.user("kill", "-KILL", str(server))
    assert ask_at_once(service) == ["200"] * AT_ONCE
    assert server not in of_the_unit(service)
    service.systemctl("stop", "ollama-proxyd.service")
    wait_until(lambda: not units(service), "the unit has ended with the service", PATIENCE_S)


def test_the_words_of_a_process_that_ended_at_once_are_found_though_the_journal_knows_no_unit_of_it(box: Box) -> None:
    """It reads the unit of a line from the process's cgroup, for which it comes late now and then."""
    names = [f"short-{number}.service" for number in range(30)]
    run = "systemd-run --user --quiet --collect --wait --property=SyslogIdentifier=$name --unit=$name echo words"
    box.user("bash", "-c", f"for name in {' '.join(names)}; do {run}; done")
    box.root("journalctl", "--sync")
    asked = ("journalctl", "--user", "--output=cat", "--quiet")
    assert [box.user(*asked, *journal_matches(name)).stdout for name in names] == ["words\n"] * len(names)
