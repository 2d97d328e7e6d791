"""`ollama-proxyctl replay`: from the file that the daemon keeps."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from ollama_proxyd.core.history import Row, attempt_row
from ollama_proxyd.edges.storage.history_file import HistoryFile, history_path
from ollama_proxyd.edges.storage.settings import HistorySettings
from ollama_proxyd.edges.storage.state_file import state_path
from tests.cli.conftest import Ctl
from tests.core.test_history import ENDED

REQUEST = {
    "backend": "npu",
    "model": ENDED.model,
    "operation": "chat",
    "program": "",
    "program_known_by": "unknown",
    "effective_mode": "Performance",
    "attempts": 1,
    "queue_wait_s": 0.0,
    "total_s": 2.0,
    "prompt_tokens": 20,
    "completion_tokens": 30,
    "energy_j": 5.0,
    "result": "ok",
}


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def keep(home: Path, *rows: Row) -> None:
    file = HistoryFile(history_path(state_path({"XDG_STATE_HOME": str(home)})), HistorySettings())
    file.add(rows)
    file.close()


def test_the_last_days_are_told_in_a_sentence_for_each_mode(home: Path, ctl: Ctl) -> None:
    now_s = time.time()
    request = Row("requests", {**REQUEST, "unix_s": now_s})
    keep(home, request, attempt_row(ENDED, now_s, "npu"))
    told = ctl("replay", "--week", "--mode", "balanced")
    assert told.exit_code == 0
    assert "simulated from 1 of 1 request;" in told.stdout
    assert "the last 7 days in Balanced would have cost" in told.stdout
    assert "not known:" in told.stdout
    found = json.loads(ctl("replay", "--days", "1", "--mode", "balanced", "--json").stdout)
    assert [row["name"] for row in found["rows"]] == ["Balanced"]
    assert found["requests"] == 1


def test_without_a_history_it_says_so_and_fails(home: Path, ctl: Ctl) -> None:
    assert not list(home.iterdir())
    told = ctl("replay")
    assert told.exit_code == 1
    assert "begun by the first answer" in told.stderr


def test_of_a_history_that_cannot_be_read_it_says_why_and_what_to_do(home: Path, ctl: Ctl) -> None:
    keep(home)
    path = history_path(state_path({"XDG_STATE_HOME": str(home)}))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert "its schema is 99" in (told := ctl("replay").stderr)
    assert "the daemon's version" in told
    for side in path.parent.iterdir():
        side.unlink()
    path.write_bytes(b"no database at all, but long enough to be one" * 100)
    assert "not a database; the daemon sets a damaged one aside" in (told := ctl("replay").stderr)
    assert "begun by" not in told


def test_an_empty_history_is_no_week_of_nothing(home: Path, ctl: Ctl) -> None:
    keep(home, Row("requests", {**REQUEST, "unix_s": time.time(), "result": "upstream_failed"}))
    told = ctl("replay")
    assert told.exit_code == 1
    assert "no request that can be played again" in told.stderr


def test_a_week_and_days_contradict_each_other(ctl: Ctl) -> None:
    assert ctl("replay", "--week", "--days", "3").exit_code == 2
