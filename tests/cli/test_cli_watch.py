"""`watch`: each change once, in words, and nothing else."""

import json
import signal
from typing import Any

import pytest

from ollama_proxyd.cli.commands.watch import Difference, differences, settled
from ollama_proxyd.core.modes import Mode
from tests.cli.conftest import ServedDaemon
from tests.cli.program import Start

NPU: dict[str, Any] = {
    "id": "npu",
    "name": "NPU",
    "hardware": "npu",
    "health": "up",
    "reason": None,
    "reason_code": None,
    "models": ["tiny"],
    "in_flight": 0,
    "slots": 2,
    "slots_from": "inferred",
    "rated_power_watts": 3.0,
    "power_watts": None,
    "tokens_per_second": None,
    "temperature_celsius": None,
    "asleep": False,
    "too_hot": False,
    "outside_mode": None,
    "enabled": True,
    "unknown": {},
}
MACHINE: dict[str, Any] = {
    "on_battery": True,
    "battery_percent": 43.0,
    "power_profile": "balanced",
    "performance_degraded": "",
    "hottest_celsius": 60.0,
    "fan_percent": 30.0,
    "quiet_hours": False,
    "games": 0,
    "unknown": {},
}
NPU |= {"unit": None, "off": False, "machine": None}
NO_LIMIT: Any = {"limit_watt_hours": None, "spent_watt_hours": 1.2, "reason": None, "incomplete": None}
DAY: Any = {
    "requests": 0,
    "errors": 0,
    "energy_joules": 0.0,
    "energy_source": "estimated",
    "energy_error_joules": 0.0,
    "idle_tail_joules": 0.0,
    "idle_tail_source": "estimated",
    "idle_tail_error_joules": 0.0,
    "money_spent": {},
}
NOW: dict[str, Any] = {
    "mode": "Auto",
    "effective_mode": "Efficiency",
    "reason": "on battery at 43 %, below 50 %",
    "reason_code": "battery_low",
    "holds": [],
    "backends": [NPU],
    "system": MACHINE,
    "queue": {"waiting": 0, "by_priority": {}, "oldest_wait_seconds": None, "deferred": 0},
    "today": DAY,
    "budget": NO_LIMIT,
    "power_saver": {"held": False, "answers": 0, "saved_joules": 0.0},
    "unloading": {"models": 0, "saved_joules": 0.0},
    "frontends": [],
    "model_sync": [],
    "engines": [],
    "engines_ended": [],
    "models_unusable": [],
    "memory": [],
    "history": {"reason": None, "reason_code": None, "reason_details": {}},
}


def with_machine(**changes: Any) -> Any:
    return {**NOW, "system": {**MACHINE, **changes}}


def with_backend(**changes: Any) -> Any:
    return {**NOW, "backends": [{**NPU, **changes}]}


def test_at_first_everything_is_new() -> None:
    told = [(line.what, line.name) for line in differences(None, NOW)]
    machine = [("machine", name) for name in ("power", "profile", "heat", "fan", "quiet hours")]
    assert told == [("mode", ""), ("backend", "npu"), *machine]


def test_the_same_is_no_news() -> None:
    assert differences(NOW, NOW) == []


def test_what_was_answered_is_no_news() -> None:
    assert differences(NOW, {**NOW, "today": {**NOW["today"], "requests": 5, "energy_joules": 9.0}}) == []


def test_another_mode_is_told_with_its_reason() -> None:
    low = {**NOW, "effective_mode": "UltraEfficiency", "reason": "on battery at 19 %, below 20 %"}
    assert differences(NOW, low) == [Difference("mode", "", "Auto → UltraEfficiency: on battery at 19 %, below 20 %")]


def test_only_other_numbers_in_the_reason_are_no_news() -> None:
    assert differences(NOW, {**NOW, "reason": "on battery at 42 %, below 50 %"}) == []


def test_another_reason_for_the_same_mode_is_news() -> None:
    hot = {**NOW, "reason": "the hottest device is at 80 °C, above 75 °C", "reason_code": "device_hot"}
    assert len(differences(NOW, hot)) == 1


def test_several_holds_are_told_on_one_line() -> None:
    film = {"mode": "Quiet", "reason": "a film", "application_id": "player"}
    other = {"mode": "Performance", "reason": "", "application_id": ""}
    (line,) = differences(NOW, {**NOW, "holds": [film, other]})
    assert line.says.endswith("; held: Quiet by player, a film; held: Performance by a program")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"health": "down", "reason": "it refuses connections"}, "down: it refuses connections"),
        ({"in_flight": 2}, "serving 2, 1 model"),
        ({"asleep": True}, "asleep, 1 model"),
        ({"too_hot": True}, "too hot, 1 model"),
        ({"enabled": False, "health": "disabled", "reason": "switched off by hand"}, "switched off by hand"),
        ({"models": ["a", "b"]}, "idle, 2 models"),
    ],
)
def test_a_backend_that_does_something_else_is_told(changes: dict[str, Any], says: str) -> None:
    assert differences(NOW, with_backend(**changes)) == [Difference("backend", "npu", says)]


def test_a_backend_s_needles_are_no_news() -> None:
    assert differences(NOW, with_backend(power_watts=2.9, temperature_celsius=50.0, tokens_per_second=9.0)) == []


def test_backends_that_come_and_go_are_told() -> None:
    assert differences(NOW, {**NOW, "backends": []}) == [Difference("backend", "npu", "was removed")]
    assert differences({**NOW, "backends": []}, NOW) == [Difference("backend", "npu", "idle, 1 model")]


def test_the_charger_is_news() -> None:
    assert differences(NOW, with_machine(on_battery=False)) == [
        Difference("machine", "power", "on mains power, battery at 43 %")
    ]


def test_a_sensor_that_dies_is_told_with_the_reason() -> None:
    dead = with_machine(hottest_celsius=None, unknown={"hottest_celsius": {"reason": "silent for 95 s"}})
    assert differences(NOW, dead) == [Difference("machine", "heat", "unknown: silent for 95 s")]


def test_games_are_told_when_they_begin_and_end() -> None:
    playing = with_machine(games=1)
    assert differences(NOW, playing) == [Difference("machine", "games", "1 running")]
    assert differences(playing, NOW) == [Difference("machine", "games", "none")]


def test_a_needle_is_told_when_it_has_moved_far_however_slowly() -> None:
    told, at_c = NOW, []
    for hottest_c in (61.0, 62.0, 63.0, 64.0, 65.0, 66.0):
        now = settled(told, with_machine(hottest_celsius=hottest_c))
        at_c += [line.says for line in differences(told, now)]
        told = now
    assert at_c == ["65 °C at the hottest device"]


def test_each_change_is_printed_as_it_comes_and_ctrl_c_ends_it_cleanly(daemon: ServedDaemon, start: Start) -> None:
    program = start("watch", "--json")
    first = [json.loads(program.line()) for _ in range(10)]
    assert [line["what"] for line in first] == ["mode", *["backend"] * 4, *["machine"] * 5]
    said = {"unix_seconds", "what", "name", "says"}
    assert set(first[0]) == said | {"mode", "effective_mode", "reason", "reason_code"}
    assert (set(first[1]), set(first[-1])) == (said | {"health", "reason", "reason_code"}, said)

    daemon.do(lambda: daemon.services.governor.select(Mode.QUIET))
    assert json.loads(program.line())["says"] == "Quiet: as chosen"
    daemon.know(on_battery=True, battery_percent=80.0)
    assert json.loads(program.line())["says"] == "on battery, battery at 80 %"

    program.process.send_signal(signal.SIGINT)
    assert program.finish() == (0, "", "")


def test_a_request_is_told_with_the_way_it_went(daemon: ServedDaemon, start: Start) -> None:
    program = start("watch")
    for _ in range(10):
        program.line()
    daemon.ask()
    while " request " not in (line := program.line()):
        assert line, "the request was never told"
    assert "  request  igpu: Balanced: igpu needs " in line


def test_when_the_daemon_ends_watching_ends_with_69(daemon: ServedDaemon, start: Start) -> None:
    program = start("watch")
    program.line()
    daemon.leave()
    status, _, error = program.finish()
    assert status == 69
    assert error.endswith(" has ended; start it with: ollama-proxyd\n")


def test_an_engine_is_told_at_each_step_and_why_it_ended() -> None:
    step = {"backend": "llama", "model": "tiny", "phase": "loading", "loaded_percent": 40}
    (line,) = differences(NOW, {**NOW, "engines": [step]})
    assert (line.what, line.name, line.says) == ("engine", "llama tiny", "loading, about 40 %")
    ended = {"backend": "llama", "model": "tiny", "reason": "its process ended with status 1", "times": 2}
    (line,) = differences({**NOW, "engines": [step]}, {**NOW, "engines_ended": [ended]})
    assert line.says == "its process ended with status 1, 2 times in a row"
    (line,) = differences({**NOW, "engines": [step]}, NOW)
    assert line.says == "has ended"
