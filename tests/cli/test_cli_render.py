"""Texts read as a tired person would read them; the page about the command shows them as they are."""

import time
from typing import Any

import pytest

from ollama_proxyd.cli import render
from ollama_proxyd.cli.amounts import number
from ollama_proxyd.cli.render_today import served
from tests.cli.test_cli_watch import DAY, MACHINE, NO_LIMIT, NOW, NPU
from tests.real_things import ROOT


def backend(name: str, state: str, watts: tuple[float, float | None], speed: float, heat: float | None) -> Any:
    models = {"npu": ["qwen2.5:0.5b"], "igpu": ["qwen2.5:0.5b", "qwen2.5:7b"], "nvidia": ["qwen2.5:7b", "llama3.1:8b"]}
    return {
        **NPU,
        "id": name,
        "hardware": name,
        "models": models[name],
        "asleep": state == "asleep",
        "rated_power_watts": watts[0],
        "power_watts": watts[1],
        "tokens_per_second": speed,
        "temperature_celsius": heat,
    }


def today(requests: int, errors: int, energy_j: float, saved_j: float | None, compared: int) -> Any:
    saved = {"saved_joules": saved_j, "compared": compared} if compared else {}
    return {
        **DAY,
        "requests": requests,
        "errors": errors,
        "energy_joules": energy_j,
        "energy_error_joules": energy_j / 2,
        **saved,
    }


LAPTOP = {
    **NOW,
    "backends": [
        backend("npu", "idle", (3.0, 0.4), 9.71, 46.0),
        backend("igpu", "idle", (12.0, 5.1), 21.8, 52.0),
        backend("nvidia", "asleep", (55.0, None), 64.0, None),
    ],
    "queue": {"waiting": 0, "by_priority": {}, "oldest_wait_seconds": None, "deferred": 0},
    "system": {
        **MACHINE,
        "hottest_celsius": 52.0,
        "fan_percent": None,
        "unknown": {"fan_percent": {"reason": "no fan was found"}},
    },
    "today": today(14, 0, 4320.0, 1440.0, 14),
}


def test_the_page_shows_the_status_as_it_is() -> None:
    page = (ROOT / "docs/ollama-proxyctl.md").read_text()
    assert f"$ ollama-proxyctl status\n{render.status(LAPTOP)}\n```" in page


def test_requests_that_wait_are_shown_by_priority() -> None:
    depth = {"best-effort": 0, "normal": 3, "high": 0, "critical": 1}
    queue = {"waiting": 4, "by_priority": depth, "oldest_wait_seconds": 12.3, "deferred": 0}
    assert "\nqueue\n  3 normal, 1 critical; the oldest for 12 s\n" in render.status({**LAPTOP, "queue": queue})
    deferred = {**LAPTOP["queue"], "deferred": 2}
    assert "\nqueue\n  2 until the charger comes\n" in render.status({**LAPTOP, "queue": deferred})


@pytest.mark.parametrize(
    ("saved_j", "compared", "says"),
    [
        (None, 0, ""),
        (36.0, 3, "; 0.01 Wh saved against Performance"),
        (5040.0, 3, "; 1.4 Wh saved against Performance"),
        (-36.0, 3, "; 0.01 Wh more than under Performance"),
        (0.0, 3, "; nothing saved against Performance"),
        (36.0, 2, "; 0.01 Wh saved against Performance, over 2 requests"),
    ],
)
def test_what_was_saved_is_told_as_it_is(saved_j: float | None, compared: int, says: str) -> None:
    told = served(today(3, 0, 72.0, saved_j, compared))
    assert told == f"3 requests; 0.02 Wh, estimated ±50 %{says}"


@pytest.mark.parametrize(
    ("source", "tail_j", "says"),
    [
        ("measured", 0.0, "0.02 Wh, measured ±50 %"),
        ("attributed", 0.0, "0.02 Wh, attributed ±50 %"),
        (
            "estimated",
            2700.0,
            "0.02 Wh, estimated ±50 %; 0.75 Wh for models kept in memory, estimated ±20 %",
        ),
    ],
)
def test_energy_is_told_with_its_source_and_what_models_in_memory_took(source: str, tail_j: float, says: str) -> None:
    day = {
        **today(3, 0, 72.0, None, 0),
        "energy_source": source,
        "idle_tail_joules": tail_j,
        "idle_tail_error_joules": tail_j / 5,
    }
    assert served(day) == f"3 requests; {says}"


def test_failures_are_counted_among_the_requests() -> None:
    told = served(today(3, 1, 3600.0, None, 0))
    assert told == "3 requests, 1 of them failed; 1 Wh, estimated ±50 %"


def test_one_backend_is_shown_with_the_reason_for_every_gap() -> None:
    unknown = {
        "power_watts": {"reason": "it sleeps"},
        "temperature_celsius": {"reason": "no thermometer"},
        "asleep": {"reason": "it does not say"},
        "tokens_per_second": {"reason": "no request has shown it yet"},
    }
    lines = render.backend({**NPU, "asleep": None, "too_hot": None, "unknown": unknown}).splitlines()
    assert lines[5:9] == [
        "  draws     unknown: it sleeps",
        "  speed     unknown: no request has shown it yet",
        "  heat      unknown: no thermometer",
        "  sleep     unknown: it does not say",
    ]


@pytest.mark.parametrize(("in_flight", "doing"), [(0, ""), (2, "serving 2, ")])
def test_a_backend_that_its_rate_limit_keeps_from_requests_is_not_called_idle(in_flight: int, doing: str) -> None:
    until = time.strftime("%H:%M:%S", time.localtime(1_800_000_000))
    resting = {**NPU, "in_flight": in_flight, "resting_until_unix_seconds": 1_800_000_000.0}
    assert render.state(resting) == f"{doing}resting until {until}"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"reason": "on the CPU"}, "degraded: on the CPU, not in this mode: 55 W > 15 W"),
        ({"off": True}, "off until asked, not in this mode: 55 W > 15 W"),
        ({"in_flight": 2}, "serving 2, not in this mode: 55 W > 15 W"),
        ({"too_hot": True}, "not in this mode: 55 W > 15 W"),
        ({}, "not in this mode: 55 W > 15 W"),
    ],
)
def test_the_list_hides_no_trouble_of_a_backend_behind_the_mode(changed: dict[str, Any], told: str) -> None:
    outside = {"outside_mode": {"reason": "not in this mode: 55 W > 15 W"}}
    assert told in render.backends([{**NPU, **outside, **changed}])


def test_a_device_that_is_too_hot_for_the_mode_is_called_so() -> None:
    hot = {**NPU, "too_hot": True, "temperature_celsius": 88.0}
    assert render.state(hot) == "too hot"
    assert "  heat      88 °C, too hot for this mode" in render.backend(hot).splitlines()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (6.4e-6, "0.0000064"),
        (0.0123, "0.0123"),
        (9.717, "9.72"),
        (66.07, "66.1"),
        (178.9, "179"),
        (1.2e6, "1200000"),
    ],
)
def test_numbers_have_three_digits_that_mean_something(value: float, text: str) -> None:
    assert number(value) == text


def test_without_a_backend_the_list_says_so() -> None:
    assert render.backends(()) == "no backend is configured, and none was found on this machine"


def test_many_models_are_counted_rather_than_listed() -> None:
    line = render.backends([{**NPU, "models": list("abcde")}]).splitlines()[1]
    assert line.endswith("a, b, c and 2 more")


@pytest.mark.parametrize(
    ("changes", "name", "says"),
    [
        ({"on_battery": False, "battery_percent": None}, "power", "on mains power"),
        ({"performance_degraded": "lap-detected"}, "profile", "balanced, held back: lap-detected"),
        ({"games": 2}, "games", "2 running"),
        ({"quiet_hours": True}, "quiet hours", "now"),
        (
            {"on_battery": None, "unknown": {"on_battery": {"reason": "UPower is not there"}}},
            "power",
            "unknown: UPower is not there",
        ),
    ],
)
def test_the_machine_is_told_in_words(changes: dict[str, object], name: str, says: str) -> None:
    assert render.machine_lines({**MACHINE, **changes})[name] == says


def test_no_line_about_games_where_none_runs() -> None:
    assert "games" not in render.machine_lines(MACHINE)


def test_one_hold_is_told_by_the_reason_alone() -> None:
    hold = {"mode": "Quiet", "reason": "a film", "application_id": "player"}
    held = {"mode": "Balanced", "effective_mode": "Quiet", "reason": "held by player: a film", "holds": [hold]}
    assert render.mode(held) == "Balanced → Quiet: held by player: a film"


def test_the_mode_is_told_before_anything_else() -> None:
    assert render.status(NOW).startswith("mode\n  Auto → Efficiency: on battery at 43 %, below 50 %\n\nbackends\n")


def test_a_backend_that_lost_its_gpu_is_called_degraded_with_the_reason_and_not_idle() -> None:
    lost = {**NPU, "reason": "the engine fell back to the CPU"}
    assert render.state(lost) == "degraded: the engine fell back to the CPU"


def test_a_backend_that_is_not_in_the_mode_says_so_and_is_not_counted_among_the_first() -> None:
    outside = {**NPU, "id": "nvidia", "outside_mode": {"reason": "not in this mode: 55 W > 15 W"}}
    lines = render.backends([NPU, outside]).splitlines()
    assert "not in this mode: 55 W > 15 W" in lines[2]
    assert lines[-1] == "1 of 2 are within this mode; the others serve only if these cannot"
    assert "  mode      not in this mode: 55 W > 15 W" in render.backend(outside).splitlines()
    assert "within this mode" not in render.backends([NPU])


def test_guessed_watts_are_called_a_guess() -> None:
    why = {"rated_power_watts": {"reason": "", "reason_details": {"power_watts": 15.0}}}
    guessed = {**NPU, "rated_power_watts": None, "unknown": why}
    assert "about 15 W, guessed" in render.backends([guessed])
    assert "  rated     about 15 W while it answers, guessed" in render.backend(guessed).splitlines()


def test_the_slots_of_a_backend_are_shown_with_how_they_are_known() -> None:
    assert "  slots     2, inferred" in render.backend(NPU).splitlines()


def test_the_budget_of_the_day_is_shown_beside_what_was_done_where_there_is_one() -> None:
    why = "today's 20 Wh are spent; Ultra Efficiency until midnight"
    spent = {**NO_LIMIT, "limit_watt_hours": 20.0, "spent_watt_hours": 20.13, "reason": why}
    assert "budget" not in render.status(NOW)
    assert render.status({**NOW, "budget": spent}).endswith(f"20.1 of 20 Wh of the day's budget; {why}")


def test_a_budget_that_counts_a_part_of_the_day_says_so() -> None:
    why = "counted since the daemon started: history.enabled is false in the configuration"
    partly = {**NO_LIMIT, "limit_watt_hours": 20.0, "incomplete": {"reason": why}}
    assert render.status({**NOW, "budget": partly}).endswith(f"1.2 of 20 Wh of the day's budget; {why}")


def test_answers_that_were_given_again_are_told_with_what_they_spared() -> None:
    day = {**today(3, 0, 72.0, None, 0), "cached_answers": 2, "cache_saved_joules": 36.0}
    assert served(day) == "3 requests; 0.02 Wh, estimated ±50 %; 2 given again spared 0.01 Wh"


@pytest.mark.parametrize(
    ("reason", "cell"),
    [
        ("http://127.0.0.1:9 cannot be reached: Connection refused", "down: Connection refused"),
        (
            "https://a.example:8443 has a certificate that is not trusted (self-signed); name it in ca_file",
            "down: has a certificate that is not trusted",
        ),
        ("backend npu at http://127.0.0.1:9 broke off its answer", "down: backend npu broke off its answer"),
        ("http://[::1]:1 answered 500 (internal) " + "x" * 400, "down: answered 500 " + "x" * 40 + "…"),
    ],
)
def test_a_state_in_the_table_is_brief_and_whole_where_one_backend_is_shown(reason: str, cell: str) -> None:
    down = {**backend("npu", "down", (3.0, None), 0.0, None), "health": "down", "reason": reason}
    assert f"npu      npu       {cell}  3 W" in render.backends([down])
    assert reason in render.backend({**down, "name": "NPU", "slots": 1, "slots_from": "configured"})


@pytest.mark.parametrize(
    ("held", "answers", "saved_j", "says"),
    [
        (True, 0, 0.0, "power-saver: held now"),
        (True, 2, 36.0, "power-saver: held now; 0.01 Wh saved by 2 answers since the start, measured"),
        (False, 1, -36.0, "power-saver: 0.01 Wh more than under balanced by 1 answer since the start, measured"),
    ],
)
def test_what_power_saver_brought_is_told_where_it_was_held(
    held: bool, answers: int, saved_j: float, says: str
) -> None:
    saver = {"held": held, "answers": answers, "saved_joules": saved_j}
    assert render.status({**NOW, "power_saver": saver}).endswith(f"\n  {says}")
    assert "power-saver" not in render.status(NOW)


def test_money_is_told_beside_the_energy() -> None:
    day = {**today(3, 0, 72.0, None, 0), "money_spent": {"EUR": 0.0213}}
    assert served(day) == "3 requests; 0.02 Wh, estimated ±50 %; 0.0213 EUR"


def test_what_unloading_brought_is_told_once_something_was_unloaded() -> None:
    told = render.status({**NOW, "unloading": {"models": 3, "saved_joules": 7200.0}})
    assert told.endswith("\n  unloading: 2 Wh saved by 3 models since the start, estimated")


def test_an_engine_that_is_off_until_it_is_asked_is_called_so() -> None:
    assert render.state({**NPU, "off": True}) == "off until asked"


def test_front_ends_are_shown_where_there_are_any() -> None:
    frontend = {
        "name": "kiosk",
        "hosts": ["kiosk.test"],
        "port": 8090,
        "unix_socket": None,
        "balancing": "sticky",
        "allowed_models": [],
        "requests": 7,
        "errors": 3,
        "refused": 2,
    }
    told = render.status({**NOW, "frontends": [frontend, {**frontend, "requests": 1, "errors": 0, "refused": 0}]})
    assert "kiosk      kiosk.test, port 8090  sticky      all models  7 requests       3 failed, 2 refused" in told
    assert "all models  1 request\n" in told
    assert "front end" not in render.status(NOW)


def test_models_to_pull_are_shown_with_how_far_they_are_and_what_keeps_them() -> None:
    pull = {
        "backend": "gpu",
        "model": "qwen3:8b",
        "state": "pulling",
        "completed_bytes": 2 * 10**9,
        "total_bytes": 5 * 10**9,
        "retry_seconds": None,
        "reason": None,
    }
    failed = {**pull, "state": "failed", "total_bytes": None, "retry_seconds": 20.0, "reason": "no such model"}
    told = render.status({**NOW, "model_sync": [pull, failed]})
    assert "qwen3:8b to gpu: pulling, 40 % of 5.0 GB" in told
    assert "qwen3:8b to gpu: failed, no such model, again in 20 s" in told
    assert "pull" not in render.status(NOW)
