"""`ollama-proxyctl energy`: from the daemon, or from what it has kept."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ollama_proxyd.cli.amounts import energy
from ollama_proxyd.cli.render_energy import books as rendered
from ollama_proxyd.core.energy_books import Asked, Books, By, Cost, DeviceCost, books_fields
from ollama_proxyd.core.readings import Reading, Unavailable
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.edges.storage.history_file import HistoryFile, history_path
from ollama_proxyd.edges.storage.settings import HistorySettings
from ollama_proxyd.edges.storage.state_file import state_path
from tests.cli.conftest import Ctl, ServedDaemon
from tests.core.test_history import ENDED
from tests.edges.storage.test_history_queries import attempt

ROWS = (
    Cost(
        "org.gnome.Chat",
        31,
        33,
        4000,
        9000,
        4464.0,
        4464.0,
        error_j=446.4,
        saved_j=9000.0,
        compared=30,
        known_by="flatpak",
    ),
    Cost("aider", 2, 2, 900, 300, 20.0, estimated_j=20.0, error_j=10.0, spent={"EUR": 0.021}, known_by="guess"),
    Cost("", 1, 1, 10, 10, 0.0, error_j=0.0, known_by="unknown"),
)
TAIL = DeviceCost("0000:01:00.0", "idle_tail", "estimated", 1440.0, 720.0)
WEEK = Asked("2027-01-09", "2027-01-15")


def shown(books: Books, battery_wh: float | None = 57.0, trouble: Reason | None = None) -> str:
    full_wh: Any = Unavailable.because("no_battery") if battery_wh is None else Reading(battery_wh, 0.0)
    return rendered(books_fields(books, full_wh, trouble))


def test_the_table_reads_from_the_costliest_down_to_the_sum_of_the_days() -> None:
    assert (
        shown(Books(WEEK, ROWS, (TAIL,)))
        == """\
energy of 2027-01-09 to 2027-01-15, by app

app                      energy  battery      money  answers  tokens            known
org.gnome.Chat          1.24 Wh    2.2 %                  31   13000   measured ±10 %
aider, by its own word  5.6 mWh   <0.1 %  0.021 EUR        2    1200  estimated ±50 %
not known                  0 Wh    0.0 %                   1      20
idle, models in memory   0.4 Wh    0.7 %                              estimated ±50 %
together                1.65 Wh    2.9 %  0.021 EUR       34   14220  estimated ±20 %

2.5 Wh saved against Performance, over 30 requests, estimated"""
    )


def test_what_was_saved_is_told_with_its_sign() -> None:
    more = Cost("npu", 1, 1, energy_j=7200.0, saved_j=-3600.0, compared=1)
    assert "1 Wh more than under Performance, over 1 request, estimated" in shown(Books(WEEK, (more,)))
    assert "2.5 Wh saved against Performance, over 30 requests" in shown(Books(WEEK, ROWS))


def test_without_a_battery_there_is_no_column_and_the_reason_is_told() -> None:
    text = shown(Books(WEEK, ROWS), None)
    assert "battery  " not in text
    assert "percent of the battery: unknown: this machine has no battery" in text


def test_a_time_without_answers_says_so() -> None:
    assert "no answer was given in this time" in shown(Books(WEEK))


def test_trouble_is_told_below() -> None:
    assert shown(Books(WEEK), trouble=Reason("history_failed", detail="disk full")).endswith(
        "cannot be kept: disk full"
    )


def test_many_rows_are_cut() -> None:
    many = tuple(Cost(f"m{at}", 1, 1, energy_j=3600.0) for at in range(25))
    assert "5 more" in shown(Books(WEEK, many))


@pytest.mark.parametrize(
    ("joules", "text"),
    [(0.0, "0 Wh"), (1.0, "0.28 mWh"), (36.0, "0.01 Wh"), (7200.0, "2 Wh"), (-7200.0, "-2 Wh"), (0.001, "<0.01 mWh")],
)
def test_an_amount_has_digits_that_mean_something(joules: float, text: str) -> None:
    assert energy(joules) == text


def test_the_daemon_is_asked_for_the_days_and_the_rows(daemon: ServedDaemon, ctl: Ctl) -> None:
    told = json.loads(ctl("energy", "--week", "--by", "model", "--json").stdout)
    assert (told["since"], told["until"], told["by"]) == ("2027-01-09", "2027-01-15", "model")


def test_a_week_and_days_contradict(daemon: ServedDaemon, ctl: Ctl) -> None:
    assert ctl("energy", "--week", "--days", "3").exit_code == 2


def test_without_a_daemon_its_file_is_read_and_that_is_said(
    ctl: Ctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    missing = ctl("energy")
    assert missing.exit_code != 0
    assert missing.stderr.startswith("the daemon does not run, so what it has kept is read\n")
    assert "there is no history at" in missing.stderr
    file = HistoryFile(history_path(state_path({"XDG_STATE_HOME": str(tmp_path)})), HistorySettings())
    file.add([attempt(time.time())])
    file.close()
    found = ctl("energy")
    assert found.stderr == "the daemon does not run, so what it has kept is read\n"
    assert ENDED.program.name in found.stdout
    assert By.APP.value in found.stdout


def test_answers_that_were_given_again_are_told_below_the_table() -> None:
    books = Books(WEEK, ROWS, cached=12, cache_saved_j=360.0)
    assert shown(books).endswith("saved by 12 answers from the cache: 0.1 Wh, as they had cost")
