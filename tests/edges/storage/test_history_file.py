"""The history in a real SQLite file, and what can become of one."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from ollama_proxyd.core.history import Row, Values, attempt_row
from ollama_proxyd.edges.storage.history import MOST_WAITING, KeptHistory, NoHistory
from ollama_proxyd.edges.storage.history_file import (
    DELETE_FIRST,
    DELETE_OLD,
    SIDE_FILES,
    VERSION,
    HistoryFile,
    history_path,
    read_only,
)
from ollama_proxyd.edges.storage.history_queries import select
from ollama_proxyd.edges.storage.insertion import ROWS_AT_ONCE, day_of
from ollama_proxyd.edges.storage.settings import HistorySettings
from ollama_proxyd.services.history import mode_row
from tests.core.test_history import ENDED

NOW_S = time.time()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return history_path(tmp_path / "state" / "state.json")


@pytest.fixture
def file(path: Path) -> Iterator[HistoryFile]:
    file = HistoryFile(path, HistorySettings())
    yield file
    file.close()


def rows(count: int, unix_s: float = NOW_S) -> Sequence[Row]:
    return [attempt_row(ENDED, unix_s, "npu")] * count


def kept(file: HistoryFile) -> int:
    return len(found(file, "SELECT id FROM attempts"))


def found(file: HistoryFile, query: str) -> Sequence[Values]:
    return file.read(lambda connection: select(connection, query))


async def test_what_was_added_is_found_after_a_restart(path: Path) -> None:
    first = KeptHistory(HistoryFile(path, HistorySettings()))
    first.add([partial(attempt_row, ENDED, NOW_S, "npu")])
    first.close()
    second = KeptHistory(HistoryFile(path, HistorySettings()))
    (row,) = await second.recent(10)
    assert (row["backend"], row["day"], row["predicted"][0]) == ("npu", day_of(NOW_S), "{")
    assert second.trouble is None
    second.close()


def test_only_its_owner_can_read_it(file: HistoryFile, path: Path) -> None:
    file.add(rows(1))
    modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_others_could_read_is_closed_to_them(file: HistoryFile, path: Path) -> None:
    path.parent.mkdir()
    path.touch(0o666)
    file.add(rows(1))
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "odd",
    [{"nonsense": 1}, {"backend": None}, {"busy_s": 2**70}, {"model": "\udce4"}, {"model": object()}, {"unix_s": ""}],
)
def test_a_row_that_no_file_takes_costs_no_other_row(file: HistoryFile, odd: Values) -> None:
    (row,) = rows(1)
    refused = file.add([row, Row("attempts", {**row.values, **odd}), row])
    assert refused is not None
    assert kept(file) == 2


@pytest.mark.parametrize("odd", [{"backend": None}, {"busy_s": 2**70}, {"unix_s": ""}])
@pytest.mark.parametrize("at", [0, ROWS_AT_ONCE // 2, ROWS_AT_ONCE - 1, ROWS_AT_ONCE, 3 * ROWS_AT_ONCE])
def test_among_many_rows_too_one_that_no_file_takes_costs_no_other(file: HistoryFile, odd: Values, at: int) -> None:
    given = list(rows(3 * ROWS_AT_ONCE + 1))
    given[at] = Row("attempts", {**given[at].values, **odd})
    assert file.add(given) is not None
    assert kept(file) == len(given) - 1


def test_many_rows_keep_their_order_in_each_table_and_few_statements_write_them(file: HistoryFile) -> None:
    said: list[str] = []
    file.read(lambda connection: connection.set_trace_callback(said.append))
    (attempt,), count = rows(1), 4 * ROWS_AT_ONCE
    wide, narrow = attempt.values, {key: each for key, each in attempt.values.items() if key != "predicted"}
    kinds = [narrow if at == ROWS_AT_ONCE + 5 else wide for at in range(count)]
    attempts = [Row("attempts", {**values, "busy_s": float(at)}) for at, values in enumerate(kinds)]
    modes = [mode_row(NOW_S, str(at), str(at)) for at in range(count)]
    assert file.add([row for pair in zip(attempts, modes, strict=True) for row in pair]) is None
    told = [each["busy_s"] for each in found(file, "SELECT busy_s FROM attempts ORDER BY id")]
    assert told == [float(at) for at in range(count)]
    assert [each["mode"] for each in found(file, "SELECT mode FROM modes ORDER BY id")] == list(map(str, range(count)))
    assert {each["day"] for each in found(file, "SELECT day FROM modes")} == {day_of(NOW_S)}
    assert sum(each.startswith("INSERT") for each in said) < count


def test_what_the_disk_refuses_is_tried_again_whole(file: HistoryFile) -> None:
    file.read(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchall())
    with pytest.raises(sqlite3.OperationalError, match="full"):
        file.add(rows(2000))
    file.read(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchall())
    file.add(rows(2))
    assert kept(file) == 2


def test_a_fact_that_no_row_can_be_made_of_costs_no_other_and_is_told(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def odd() -> Row:
        raise ZeroDivisionError

    history = KeptHistory(HistoryFile(path, HistorySettings()))
    good = partial(attempt_row, ENDED, NOW_S, "npu")
    history.add([good, odd, good])
    history.close()
    with read_only(path) as connection:
        assert len(select(connection, "SELECT id FROM attempts")) == 2
    assert caplog.text.count("a row could not be kept (ZeroDivisionError)") == 1


@pytest.mark.parametrize("content", [b"no database at all " * 500, b"SQLite format 3\0" + b"\xff" * 8192])
def test_a_damaged_file_is_set_aside_whole_and_a_new_one_begun(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    history = KeptHistory(HistoryFile(path, HistorySettings()))
    history.add([partial(attempt_row, ENDED, NOW_S, "npu")])
    history.close()
    history = KeptHistory(HistoryFile(path, HistorySettings()))
    history.add([partial(attempt_row, ENDED, NOW_S, "npu")])
    history.close()
    assert path.with_name("history.db.unreadable").read_bytes() == content
    with read_only(path) as connection:
        assert len(select(connection, "SELECT id FROM attempts")) == 2
    assert [each.message.count("set aside") for each in caplog.records] == [1]


def test_damage_in_the_middle_of_the_life_of_a_file_costs_no_new_row(path: Path) -> None:
    file = HistoryFile(path, HistorySettings())
    history = KeptHistory(file)
    history.add([partial(attempt_row, ENDED, NOW_S, "npu")] * 2000)
    history.close()
    with path.open("r+b") as damaged:
        damaged.seek(4096)
        damaged.write(os.urandom(200_000))
    history = KeptHistory(HistoryFile(path, HistorySettings()))
    for _ in range(3):
        history.add([partial(attempt_row, ENDED, NOW_S, "npu")])
    history.close()
    assert path.with_name("history.db.unreadable").exists()
    with read_only(path) as connection:
        assert len(select(connection, "SELECT id FROM attempts")) == 3


def test_a_file_of_a_later_version_is_set_aside_and_told(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as later:
        later.execute("CREATE TABLE attempts (what)")
        later.execute(f"PRAGMA user_version = {VERSION + 1}")
    later.close()
    for number in range(2):
        history = KeptHistory(HistoryFile(path, HistorySettings()))
        history.add([partial(attempt_row, ENDED, NOW_S, "npu")])
        history.close()
        assert (history.trouble is None) is (number == 1)
    assert path.with_name(f"history.db.version-{VERSION + 1}").exists()


def test_what_was_set_aside_is_never_written_over(path: Path) -> None:
    path.parent.mkdir()
    for content in (b"first " * 500, b"second " * 500):
        path.write_bytes(content)
        file = HistoryFile(path, HistorySettings())
        with pytest.raises(sqlite3.Error):
            file.add(rows(1))
    names = {each.name: each.read_bytes()[:5] for each in path.parent.iterdir()}
    assert names == {"history.db.unreadable": b"first", "history.db.unreadable-2": b"secon"}


def test_a_database_of_another_program_is_left_as_it_is(path: Path, file: HistoryFile) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE attempts (theirs)")
    other.close()
    file.add(rows(1))
    assert file.set_aside == ("history.db.version-0", "another program wrote it")


def test_old_rows_go(file: HistoryFile) -> None:
    year_s = 367 * 86_400
    file.add([*rows(5, NOW_S - year_s), *rows(2)])
    assert kept(file) == 2


@pytest.mark.parametrize("delete", [*DELETE_OLD, *DELETE_FIRST])
def test_rows_that_go_are_found_without_a_look_at_those_that_stay(file: HistoryFile, delete: str) -> None:
    """A year of rows was read anew with each batch."""
    values = [NOW_S] * delete.count("?")
    plan = [str(row["detail"]) for row in file.read(lambda it: select(it, f"EXPLAIN QUERY PLAN {delete}", values))]
    assert not [step for step in plan if step.startswith("SCAN") and delete in DELETE_OLD], plan
    assert not [step for step in plan if "TEMP B-TREE" in step], plan


def test_what_devices_drew_goes_with_the_rows_of_its_time(file: HistoryFile) -> None:
    values = {"device": "package", "account": "base", "source": "measured", "joules": 1.0}
    days = [day_of(NOW_S - 400 * 86_400), day_of(NOW_S)]
    file.add([Row("devices", {"day": day, **values}) for day in days])
    assert found(file, "SELECT day FROM devices") == [{"day": days[1]}]


def test_a_full_file_loses_its_oldest_rows_and_gives_the_space_back(path: Path) -> None:
    file = HistoryFile(path, HistorySettings(max_megabytes=1))
    for batch in range(40):
        file.add(rows(200, NOW_S + batch))
    (row,) = found(file, "SELECT min(unix_s) AS oldest_s, max(unix_s) AS newest_s, count(*) AS count FROM attempts")
    assert (row["oldest_s"] > NOW_S, row["newest_s"], row["count"] > 200) == (True, NOW_S + 39, True)
    file.close()
    assert path.stat().st_size < 2_500_000


def test_a_clock_that_goes_back_loses_nothing_and_rows_have_the_days_that_it_told(file: HistoryFile) -> None:
    day_s = 86_400
    for unix_s in (NOW_S, NOW_S - 3 * day_s, NOW_S + day_s, NOW_S):
        file.add(rows(1, unix_s))
    days = [each["day"] for each in found(file, "SELECT day FROM attempts ORDER BY id")]
    assert days == [day_of(NOW_S + offset * day_s) for offset in (0, -3, 1, 0)]


LOCK = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN EXCLUSIVE")
print(flush=True)
input()
"""


def lock(path: Path) -> "subprocess.Popen[bytes]":
    """Another program that has the file locked until it is told something."""
    holder = subprocess.Popen([sys.executable, "-c", LOCK, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    return holder


async def test_rows_wait_while_another_program_has_the_file_locked(path: Path) -> None:
    history = KeptHistory(HistoryFile(path, HistorySettings()))
    history.add([partial(attempt_row, ENDED, NOW_S, "npu")])
    assert len(await history.recent(MOST_WAITING)) == 1
    holder = lock(path)
    history.add([partial(attempt_row, ENDED, NOW_S, "npu")])
    assert len(await history.recent(MOST_WAITING)) == 1
    assert history.trouble is not None
    assert "locked" in str(history.trouble)
    holder.communicate(b"\n")
    assert len(await history.recent(MOST_WAITING)) == 2
    assert history.trouble is None
    history.close()


async def test_a_folder_that_cannot_be_made_is_told_once_and_what_waits_is_bounded(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.write_text("a file where a folder should be")
    history = KeptHistory(HistoryFile(path, HistorySettings()))
    for _ in range(3):
        history.add([partial(attempt_row, ENDED, NOW_S, "npu")] * (MOST_WAITING // 2))
        assert await history.recent(MOST_WAITING) == ()
    assert history.trouble is not None
    assert history.trouble.code == "history_failed"
    assert caplog.text.count("answers go on") == 1
    path.parent.unlink()
    assert len(await history.recent(MOST_WAITING)) == MOST_WAITING
    history.close()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("elsewhere")])
def test_what_is_not_a_plain_file_is_not_touched(path: Path, make: Callable[[Path], None]) -> None:
    path.parent.mkdir()
    make(path)
    history = KeptHistory(HistoryFile(path, HistorySettings()))
    history.add([partial(attempt_row, ENDED, NOW_S, "npu")])
    history.close()
    assert history.trouble is not None
    assert [each.name for each in path.parent.iterdir()] == ["history.db"]


def limit_pages(file: HistoryFile, pages: int) -> None:
    """Have SQLite fail as on a full disk."""
    file.read(lambda connection: select(connection, f"PRAGMA max_page_count = {pages}"))


async def test_a_full_disk_costs_nothing_that_was_written_and_what_waits_is_written_when_there_is_room(
    path: Path,
) -> None:
    file = HistoryFile(path, HistorySettings())
    history = KeptHistory(file)
    history.add([partial(attempt_row, ENDED, NOW_S, "npu")] * 10)
    assert len(await history.recent(MOST_WAITING)) == 10
    limit_pages(file, 20)
    history.add([partial(attempt_row, ENDED, NOW_S, "npu")] * 500)
    assert len(await history.recent(MOST_WAITING)) == 10
    assert "full" in str(history.trouble)
    limit_pages(file, 100_000)
    assert len(await history.recent(MOST_WAITING)) == 510
    assert history.trouble is None
    history.close()


def test_another_program_reads_it_while_it_is_written(file: HistoryFile, path: Path) -> None:
    file.add(rows(3))
    with read_only(path) as connection:
        assert len(select(connection, "SELECT id FROM attempts")) == 3
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM attempts")


def test_reading_makes_no_file(path: Path) -> None:
    with pytest.raises(FileNotFoundError), read_only(path):
        pass
    assert not path.exists()


async def test_where_none_is_wanted_none_is_kept() -> None:
    history = NoHistory()
    history.add([partial(attempt_row, ENDED, NOW_S, "npu")])
    assert (await history.recent(1), history.trouble and history.trouble.code) == ((), "history_off")
    history.close()


def test_a_file_that_was_deleted_is_begun_anew(path: Path, file: HistoryFile) -> None:
    file.add(rows(2))
    for side in SIDE_FILES:
        Path(f"{path}{side}").unlink(missing_ok=True)
    file.add(rows(1))
    assert kept(file) == 1
    file.close()
    assert path.exists()
