"""Every command says and does the same over D-Bus and over HTTP."""

import json
from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.modes import Mode
from tests.cli.conftest import Ctl, ServedDaemon
from tests.fakes import FakeBackend


def read(ctl: Ctl, *arguments: str) -> Any:
    result = ctl(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def chosen(daemon: ServedDaemon) -> Mode:
    return daemon.services.governor.setting.value.chosen


@pytest.mark.parametrize("command", [["mode"], ["mode", "get"]])
def test_the_mode_is_shown_with_its_reason(daemon: ServedDaemon, ctl: Ctl, command: list[str]) -> None:
    assert ctl(*command).output == "Balanced: as chosen\n"


def test_setting_a_mode_puts_it_in_force(daemon: ServedDaemon, ctl: Ctl) -> None:
    assert ctl("mode", "set", "quiet").output == "Quiet: as chosen\n"
    assert chosen(daemon) is Mode.QUIET


def test_ultra_efficiency_is_understood_with_a_space(daemon: ServedDaemon, ctl: Ctl) -> None:
    assert read(ctl, "mode", "set", "Ultra Efficiency")["mode"] == "UltraEfficiency"


def test_a_mode_that_is_none_is_a_usage_error_that_names_the_modes(daemon: ServedDaemon, ctl: Ctl) -> None:
    result = ctl("mode", "set", "Balancd")
    assert result.exit_code == 2
    assert "did you mean Balanced?" in result.stderr
    assert chosen(daemon) is Mode.BALANCED


def test_the_modes_are_listed_with_the_chosen_one_marked(daemon: ServedDaemon, ctl: Ctl) -> None:
    assert (
        ctl("mode", "list").output
        == """\
   mode             a second is worth  power  heat   fan   requests at once
   Performance      100 W
*  Balanced         7 W                60 W   85 °C  80 %
   Efficiency       2 W                15 W   75 °C  60 %
   Quiet            2 W                15 W   70 °C  40 %
   Auto
   UltraEfficiency  0.2 W              10 W   65 °C  30 %  2
"""
    )


def test_every_token_that_is_listed_can_be_set(daemon: ServedDaemon, ctl: Ctl) -> None:
    tokens = [row["mode"] for row in read(ctl, "mode", "list")["modes"]]
    assert [read(ctl, "mode", "set", token)["mode"] for token in tokens] == tokens == [mode.value for mode in Mode]


def test_one_mode_is_shown_with_what_it_asks_for(daemon: ServedDaemon, ctl: Ctl) -> None:
    assert (
        ctl("mode", "info", "UltraEfficiency").output
        == """\
UltraEfficiency: The least energy that gives an answer
  a second of waiting is worth  0.2 W
  limits                        at most 10 W, up to 65 °C, fan up to 30 %, 2 requests at once
"""
    )


def test_the_status_answers_what_a_person_asks(daemon: ServedDaemon, ctl: Ctl) -> None:
    daemon.do(lambda: daemon.services.governor.select(Mode.EFFICIENCY))
    daemon.know(on_battery=True, battery_percent=43.0, power_profile="balanced", hottest_c=61.4, quiet_hours=False)
    assert (
        ctl("status").output.replace("since the daemon started", "today")
        == """\
mode
  Efficiency: as chosen

backends
  backend  hardware  state  rated  models
  npu      npu       idle   3 W    tiny:latest
  igpu     igpu      idle   12 W   tiny:latest
  nvidia   nvidia    idle   55 W   tiny:latest
  cpu      cpu       idle   28 W   tiny:latest

machine
  power        on battery, battery at 43 %
  profile      balanced
  heat         61.4 °C at the hottest device
  fan          unknown: no sensor yet
  quiet hours  not now

today
  no requests
"""
    )


def test_the_status_counts_what_was_answered(daemon: ServedDaemon, ctl: Ctl) -> None:
    daemon.ask()
    served = read(ctl, "status")["served"]
    assert (served["requests"], served["failures"]) == (1, 0)
    assert "1 request; " in ctl("status").output


def test_the_json_of_the_status_is_the_same_over_both(over_dbus: ServedDaemon, ctl: Ctl) -> None:
    over_dbus.know(on_battery=True, battery_percent=43.0, power_profile="balanced", hottest_c=61.5, fan_percent=30.0)
    url = over_dbus.listen()
    by_bus, by_http = read(ctl, "status"), read(ctl, "--url", url, "status")
    assert (by_bus.pop("via"), by_http.pop("via")) == ("D-Bus", url)
    assert (by_bus["served"].pop("since"), by_http["served"].pop("since")) == ("today", "since the daemon started")
    for each in by_bus["backends"]:
        assert each.pop("asleep") is False
    for each in by_http["backends"]:
        assert each.pop("asleep") is None, "HTTP does not tell"
    assert by_bus == by_http


def test_a_decision_is_the_same_over_both(over_dbus: ServedDaemon, ctl: Ctl) -> None:
    question = "explain --model tiny --max-tokens 50 --prompt-tokens 9 --mode Auto --on-battery --battery 15 --fan 20"
    hints = "--latency-critical --max-power-watts 50 --max-latency-ms 2500.5 --target npu --no-quiet-hours"
    arguments = [*question.split(), *hints.split(), "--json"]
    by_bus, by_http = ctl(*arguments), ctl("--url", over_dbus.listen(), *arguments)
    assert by_bus.exit_code == 0
    assert json.loads(by_bus.output) == json.loads(by_http.output)
    assert json.loads(by_bus.output)["backend"] == "npu"


def test_an_imagined_battery_changes_the_decision_and_nothing_else(daemon: ServedDaemon, ctl: Ctl) -> None:
    told = read(ctl, "explain", "--mode", "auto", "--on-battery", "--battery", "15")
    assert told["effective_mode"] == "UltraEfficiency"
    assert chosen(daemon) is Mode.BALANCED


def test_a_decision_is_a_table_of_joules(daemon: ServedDaemon, ctl: Ctl) -> None:
    text = ctl("explain", "--max-tokens", "200", "--max-power-watts", "20").output
    assert (
        text.partition("\n\n")[2]
        == """\
mode: Balanced: as chosen

in joules; each second until the answer ends counts 7 J
backend  begins    ends  prompt  answer  = energy  + waiting  = cost
igpu     0.35 s  9.44 s     4.2     109       113       66.1     179
npu       0.8 s  20.8 s     2.4      60      62.4        146     208

notes:
  igpu: it is unknown whether the model is loaded, so loading is not counted
  npu: it is unknown whether the model is loaded, so loading is not counted

not used:
  nvidia needs 55 W; the request allows at most 20 W
  cpu needs 28 W; the request allows at most 20 W
"""
    )


def test_a_refusal_is_one_sentence_and_exit_status_1(daemon: ServedDaemon, ctl: Ctl) -> None:
    result = ctl("backends", "show", "tpu")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "ollama-proxyctl: there is no backend 'tpu'; there are: npu, igpu, nvidia, cpu\n"


def test_a_backend_that_is_down_says_why(serve: Any, monkeypatch: pytest.MonkeyPatch, ctl: Ctl) -> None:
    broken = FakeBackend("npu")
    broken.down = ProxyError(ErrorKind.UPSTREAM_FAILED, "nothing listens there")
    daemon = serve(broken, FakeBackend("cpu"))
    assert ctl("--url", daemon.listen(), "backends").output.splitlines()[1] == (
        "npu      npu       down: nothing listens there  3 W"
    )


def test_one_backend_is_shown_with_all_that_is_known(daemon: ServedDaemon, ctl: Ctl) -> None:
    daemon.ask()
    lines = ctl("backends", "show", "igpu").output.splitlines()
    assert lines[:3] == ["igpu", "  name      Test igpu", "  hardware  igpu"]
    assert "  rated     12 W while it answers" in lines


def test_the_alias_knows_what_the_predecessor_s_command_knew(daemon: ServedDaemon, alias: Ctl) -> None:
    assert alias("get").output == "Balanced: as chosen\n"
    assert alias("set", "Performance").output == "Performance: as chosen\n"
    assert alias("list").output.splitlines()[1].startswith("*  Performance")
    assert alias("info", "Quiet").output.startswith("Quiet: ")
    assert alias("status").output.startswith("mode\n  Performance: as chosen\n")
    assert json.loads(alias("--json", "get").output)["mode"] == "Performance"


def test_json_may_be_asked_for_before_or_after_the_command(daemon: ServedDaemon, ctl: Ctl) -> None:
    assert ctl("--json", "mode").output == ctl("mode", "--json").output == ctl("mode", "get", "--json").output
