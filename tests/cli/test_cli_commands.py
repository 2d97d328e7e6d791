"""What the commands say and do."""

import json
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendView, Hardware, Model
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import DeviceState, PowerState, Reading, SystemState
from tests.cli.conftest import Ctl, ServedDaemon
from tests.fakes import FakeBackend
from tests.reasons import unavailable


def read(ctl: Ctl, *arguments: str) -> Any:
    result = ctl(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def chosen(daemon: ServedDaemon) -> Mode:
    return daemon.services.governor.setting.value.chosen


@pytest.mark.parametrize("command", [["mode"], ["mode", "get"]])
def test_the_mode_is_shown_with_its_reason(daemon: ServedDaemon, ctl: Ctl, command: list[str]) -> None:
    assert ctl(*command).output == "Balanced: the default, as none was chosen\n"


def test_setting_a_mode_puts_it_in_force(daemon: ServedDaemon, ctl: Ctl) -> None:
    assert ctl("mode", "set", "quiet").output == "Quiet: as chosen\n"
    assert chosen(daemon) is Mode.QUIET
    assert ctl("mode", "balanced").output == "Balanced: as chosen\n"
    assert read(ctl, "mode", "Ultra Efficiency")["mode"] == "UltraEfficiency"
    assert "No such command 'lst'" in ctl("mode", "lst").output
    assert "'balancd' is not an efficiency mode; allowed are" in ctl("mode", "balancd").output
    assert "did you mean Balanced?" in ctl("mode", "balancd").output


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
   mode             value of time  power  heat   fan   requests   for
   Performance      300 W                 90 °C                   The fastest answer, whatever it costs
*  Balanced         7.5 W          60 W   85 °C  80 %             A quick answer at a fair cost
   Efficiency       4.2 W          15 W   75 °C  60 %             Less energy for a slower answer
   Quiet            1.65 W         15 W   70 °C  40 %             Slow fans and a cool lap
   Auto                                   85 °C                   Follows the battery, the heat and the power profile
   UltraEfficiency  0.05 W         10 W   65 °C  30 %  2 at once  Least energy, however slow
"""
    )


def test_every_token_that_is_listed_can_be_set(daemon: ServedDaemon, ctl: Ctl) -> None:
    tokens = [row["mode"] for row in read(ctl, "mode", "list")["modes"]]
    assert [read(ctl, "mode", "set", token)["mode"] for token in tokens] == tokens == [mode.value for mode in Mode]


def test_one_mode_is_shown_with_what_it_asks_for(daemon: ServedDaemon, ctl: Ctl) -> None:
    assert (
        ctl("mode", "info", "UltraEfficiency").output
        == """\
UltraEfficiency: Least energy, however slow
  value of time  0.05 W
  limits         at most 10 W, up to 65 °C, fan up to 30 %, 2 requests at once, waits up to 120 s
"""
    )


def test_the_status_answers_what_a_person_asks(daemon: ServedDaemon, ctl: Ctl) -> None:
    daemon.do(lambda: daemon.services.governor.select(Mode.EFFICIENCY))
    daemon.know(on_battery=True, battery_percent=43.0, power_profile="balanced", hottest_c=61.4, quiet_hours=False)
    assert (
        ctl("status").output
        == """\
mode
  Efficiency: as chosen

backends
  backend  hardware  state                          rated  models
  npu      npu       idle                           3 W    tiny:latest
  igpu     igpu      idle                           12 W   tiny:latest
  nvidia   nvidia    not in this mode: 55 W > 15 W  55 W   tiny:latest
  cpu      cpu       not in this mode: 28 W > 15 W  28 W   tiny:latest
  2 of 4 are within this mode; the others serve only if these cannot

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
    today = read(ctl, "status")["today"]
    assert (today["requests"], today["errors"]) == (1, 0)
    assert "1 request; " in ctl("status").output


def test_a_sleeping_card_is_called_asleep_with_what_the_others_draw(daemon: ServedDaemon, ctl: Ctl) -> None:
    asleep = DeviceState("0000:01:00.0", Hardware.NVIDIA, "RTX", PowerState.ASLEEP, power_w=unavailable("it sleeps"))
    heat = {"temperature_c": Reading(41.5, 0.0), "power_w": Reading(0.4, 0.0)}
    awake = DeviceState("0000:00:0b.0", Hardware.NPU, "NPU", PowerState.AWAKE, **heat)
    daemon.do(lambda: daemon.services.system.set(SystemState(devices=(asleep, awake))))
    assert (
        ctl("backends").output
        == """\
backend  hardware  state   rated  draws  heat     models
npu      npu       idle    3 W    0.4 W  41.5 °C  tiny:latest
igpu     igpu      idle    12 W                   tiny:latest
nvidia   nvidia    asleep  55 W                   tiny:latest
cpu      cpu       idle    28 W                   tiny:latest
"""
    )
    lines = ctl("backends", "show", "nvidia").output.splitlines()
    assert "  draws     unknown: it sleeps" in lines
    assert "  sleep     asleep" in lines


def test_what_nobody_says_of_sleep_is_unknown_and_not_awake(daemon: ServedDaemon, ctl: Ctl) -> None:
    npu = read(ctl, "backends")[0]
    assert npu["asleep"] is npu["too_hot"] is None
    assert npu["unknown"]["asleep"]["reason"] == "no sensor reports its device"


def test_refused_requests_are_counted_and_what_was_saved_is_told(daemon: ServedDaemon, ctl: Ctl) -> None:
    daemon.ask()
    with pytest.raises(ProxyError):
        daemon.ask("nope")
    today = read(ctl, "status")["today"]
    assert (today["requests"], today["errors"], today["compared"]) == (2, 1, 1)
    assert "2 requests, 1 of them failed; " in (text := ctl("status").output)
    assert " saved against Performance, over 1 request\n" in text


def test_every_part_of_a_question_is_asked(daemon: ServedDaemon, ctl: Ctl) -> None:
    question = "explain --model tiny --max-tokens 50 --prompt-tokens 9 --mode Auto --on-battery --battery 15 --fan 20"
    hints = "--latency-critical --power-efficient --max-power-watts 50 --max-latency-ms 2500.5 --target npu"
    result = ctl(*question.split(), *hints.split(), "--no-quiet-hours", "--hottest", "40", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["backend"] == "npu"


def test_an_imagined_battery_changes_the_decision_and_nothing_else(daemon: ServedDaemon, ctl: Ctl) -> None:
    told = read(ctl, "explain", "--mode", "auto", "--on-battery", "--battery", "15")
    assert told["effective_mode"] == "UltraEfficiency"
    assert chosen(daemon) is Mode.BALANCED


def test_a_decision_is_a_table_of_joules(daemon: ServedDaemon, ctl: Ctl) -> None:
    text = ctl("explain", "--max-tokens", "200", "--max-power-watts", "20").output
    assert (
        text.partition("\n\n")[2]
        == """\
mode: Balanced: the default, as none was chosen

in joules, estimated ±50 %; each second until the answer ends counts 7.5 J
backend  begins    ends  prompt  answer  = energy  + waiting  = cost
igpu     0.35 s  9.44 s     4.2     109       113       70.8     184
npu       0.8 s  20.8 s     2.4      60      62.4        156     218

notes:
  igpu: it is unknown whether the model is loaded, so loading is not counted
  npu: it is unknown whether the model is loaded, so loading is not counted

not used:
  nvidia needs 55 W, and the request allows at most 20 W
  cpu needs 28 W, and the request allows at most 20 W
"""
    )


def test_a_refusal_is_one_sentence_and_exit_status_1(daemon: ServedDaemon, ctl: Ctl) -> None:
    result = ctl("backends", "show", "tpu")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "ollama-proxyctl: there is no backend 'tpu'; there are: npu, igpu, nvidia, cpu\n"


def test_a_backend_that_is_down_says_why(serve: Any, ctl: Ctl) -> None:
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


def test_the_alias_alone_shows_the_mode(daemon: ServedDaemon, alias: Ctl) -> None:
    result = alias()
    assert (result.exit_code, result.output) == (0, "Balanced: the default, as none was chosen\n")
    assert json.loads(alias("--json").output)["mode"] == "Balanced"


def test_where_nothing_can_serve_explain_ends_with_3_and_says_each_reason_once(daemon: ServedDaemon, ctl: Ctl) -> None:
    result = ctl("explain", "--max-power-watts", "1")
    assert result.exit_code == 3
    assert result.stdout.startswith("nothing can serve this; raise the request's limit of power, or leave it out\n")
    assert result.stdout.count("npu needs 3 W") == 1
    told = ctl("explain", "--max-power-watts", "1", "--json")
    assert (told.exit_code, json.loads(told.output)["backend"]) == (3, None)


def test_a_model_that_nobody_holds_is_said_in_one_sentence(daemon: ServedDaemon, ctl: Ctl) -> None:
    result = ctl("explain", "--model", "nope")
    assert result.exit_code == 3
    assert (
        result.stdout.splitlines()[0]
        == "no backend holds 'nope'; `ollama-proxyctl backends` shows which models there are"
    )


def test_the_alias_knows_what_the_predecessor_s_command_knew(daemon: ServedDaemon, alias: Ctl) -> None:
    assert alias("get").output == "Balanced: the default, as none was chosen\n"
    assert alias("quiet").output == "Quiet: as chosen\n"
    assert alias("set", "Performance").output == "Performance: as chosen\n"
    assert alias("list").output.splitlines()[1].startswith("*  Performance")
    assert alias("info", "Quiet").output.startswith("Quiet: ")
    assert alias("status").output.startswith("mode\n  Performance: as chosen\n")
    assert json.loads(alias("--json", "get").output)["mode"] == "Performance"


def test_json_may_be_asked_for_before_or_after_the_command(daemon: ServedDaemon, ctl: Ctl) -> None:
    assert ctl("--json", "mode").output == ctl("mode", "--json").output == ctl("mode", "get", "--json").output


HOSTILE = "\x1b]0;pwn\x07\r\n\x9b2J\x7f\u202e\u2066\u200fall\u2028is well"


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("command", [["status"], ["mode"], ["backends"], ["backends", "show", "npu"]])
def test_words_from_outside_command_no_terminal(
    daemon: ServedDaemon, ctl: Ctl, command: list[str], as_json: bool
) -> None:
    for _ in range(2):
        daemon.do(lambda: daemon.services.governor.hold(Mode.QUIET, HOSTILE, HOSTILE, "test"))
    daemon.do(lambda: daemon.services.fleet.views.set(tuple(map(_hostile, daemon.services.fleet.views.value))))
    output = ctl(*command, *(["--json"] if as_json else [])).output
    assert output.replace("\n", "").isprintable()
    assert "is well" in output
    assert not any(line.startswith("is well") for line in output.splitlines())


def _hostile(view: BackendView) -> BackendView:
    return replace(view, spec=replace(view.spec, name=HOSTILE), models=(Model(HOSTILE),))


def test_a_refusal_in_words_from_outside_commands_no_terminal(ctl: Ctl) -> None:
    for command in (("backends", "show", HOSTILE), ("simulate", HOSTILE), (HOSTILE,), (f"--{HOSTILE}",)):
        told = ctl(*command)
        assert told.exit_code
        assert told.stderr.replace("\n", "").isprintable()


def test_no_summary_of_a_command_is_cut(ctl: Ctl) -> None:
    lines = ctl("--help", terminal_width=78).output.splitlines()
    assert not [line for line in lines[lines.index("Commands:") :] if line.endswith("...")]
