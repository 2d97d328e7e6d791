"""What the history answers: whose energy it was, day by day."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ollama_proxyd.core.energy import Account, Energy, Source
from ollama_proxyd.core.energy_books import MOST_ROWS, OTHERS, Asked, By, Cost, DeviceCost
from ollama_proxyd.core.energy_hours import ModeChange, first_hour, hours_fields
from ollama_proxyd.core.energy_series import MOST_PARTS, series_fields
from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.events import Usage
from ollama_proxyd.core.history import Row, attempt_row
from ollama_proxyd.core.programs import KnownBy, Program
from ollama_proxyd.core.readings import Unavailable
from ollama_proxyd.edges.storage.history_file import HistoryFile
from ollama_proxyd.edges.storage.history_queries import books, habits, hours, series
from ollama_proxyd.edges.storage.insertion import day_of
from ollama_proxyd.edges.storage.settings import HistorySettings
from ollama_proxyd.services.history import mode_row
from tests.core.test_history import ENDED
from tests.edges.storage.test_history_file import NOW_S

DAY_S = 86_400
TODAY = day_of(NOW_S)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[HistoryFile]:
    file = HistoryFile(tmp_path / "history.db", HistorySettings())
    yield file
    file.close()


def attempt(unix_s: float = NOW_S, **changes: Any) -> Row:
    plain = replace(ENDED, energy=Energy(1.0, 2.0, 1.0, Source.ESTIMATED, 0.25), usage=Usage(10, 20))
    return attempt_row(replace(plain, **changes), unix_s, "npu")


def request(program: str, saved_j: float | None) -> Row:
    values = {"operation": "chat", "program_known_by": "unit", "attempts": 1, "queue_wait_s": 0, "total_s": 1}
    return Row(
        "requests",
        {**values, "unix_s": NOW_S, "backend": "npu", "program": program, "saved_j": saved_j, "result": "ok"},
    )


def ask(file: HistoryFile, by: By = By.APP, since: str = TODAY, until: str = TODAY) -> list[Cost]:
    return list(file.read(lambda connection: books(connection, Asked(since, until, by))).rows)


def test_failures_and_answers_that_were_left_cost_too_and_are_no_answers(file: HistoryFile) -> None:
    file.add([attempt(), attempt(error=ErrorKind.UPSTREAM_FAILED), attempt(cancelled=True)])
    (row,) = ask(file)
    assert (row.answers, row.attempts, row.energy_j, row.error_j) == (1, 3, 12.0, 3.0)
    assert (row.prompt_tokens, row.completion_tokens) == (30, 60)


def test_each_program_has_its_row_with_how_it_is_known_and_the_costliest_is_first(file: HistoryFile) -> None:
    little, much = Program("little", KnownBy.UNIT), Program("much", KnownBy.GUESS)
    file.add([attempt(program=little), attempt(program=much), attempt(program=much), attempt(program=Program())])
    assert [(row.key, row.known_by, row.energy_j) for row in ask(file)] == [
        ("much", "guess", 8.0),
        ("", "unknown", 4.0),
        ("little", "unit", 4.0),
    ]


@pytest.mark.parametrize(
    ("by", "changes", "keys"),
    [
        (By.MODEL, {"model": "big"}, {"big", "tiny:latest"}),
        (By.BACKEND, {"backend_id": "cpu"}, {"cpu", "npu"}),
        (By.MODE, {"decision": None}, {"", "Balanced"}),
        (By.DAY, {}, {TODAY}),
    ],
)
def test_rows_may_stand_for_other_things(file: HistoryFile, by: By, changes: dict[str, Any], keys: set[str]) -> None:
    file.add([attempt(), attempt(**changes)])
    assert {row.key for row in ask(file, by)} == keys


def test_only_the_days_that_are_asked_for_count_and_days_come_in_their_order(file: HistoryFile) -> None:
    days = [day_of(NOW_S - ago * DAY_S) for ago in (0, 1, 2)]
    file.add([attempt(NOW_S - DAY_S), attempt(NOW_S - DAY_S), attempt(), attempt(NOW_S - 2 * DAY_S)])
    assert [row.key for row in ask(file, By.DAY, days[1], days[0])] == [days[1], days[0]]
    assert ask(file)[0].energy_j == 4.0


def test_each_source_has_its_joules_and_the_errors_are_added_up(file: HistoryFile) -> None:
    measured = Energy(3.0, 0.0, 0.0, Source.MEASURED, 0.1)
    file.add([attempt(energy=measured), attempt(energy=replace(measured, source=Source.ATTRIBUTED))])
    (row,) = ask(file)
    assert (row.measured_j, row.attributed_j, row.estimated_j) == (3.0, 3.0, 0.0)
    assert row.error_j == pytest.approx(0.6)


def test_what_was_paid_stands_in_each_row_by_its_currency(file: HistoryFile) -> None:
    file.add(
        [attempt(spent=0.25, currency="EUR"), attempt(spent=0.5, currency="EUR"), attempt(spent=1.0, currency="USD")]
    )
    file.add([attempt(model="other", spent=0.0, currency="EUR")])
    rows = {row.key: row.spent for row in ask(file, By.MODEL)}
    assert rows == {ENDED.model: {"EUR": 0.75, "USD": 1.0}, "other": {}}
    found = file.read(lambda connection: books(connection, Asked(TODAY, TODAY)))
    assert found.total.spent == {"EUR": 0.75, "USD": 1.0}


def test_what_was_saved_has_its_sign_and_says_over_how_many_requests(file: HistoryFile) -> None:
    file.add([attempt(program=Program("app", KnownBy.UNIT))])
    file.add([request("app", 5.0), request("app", -8.0), request("app", None)])
    (row,) = ask(file)
    assert (row.saved_j, row.compared) == (-3.0, 2)


def test_many_rows_are_told_as_the_costliest_and_the_others(file: HistoryFile) -> None:
    file.add([attempt(model=f"m{at}") for at in range(MOST_ROWS + 5)])
    rows = ask(file, By.MODEL)
    assert (len(rows), rows[-1].key, rows[-1].energy_j) == (MOST_ROWS + 1, OTHERS, 20.0)


def test_of_a_year_each_day_is_told_and_not_the_first_ones_alone(file: HistoryFile) -> None:
    days = [NOW_S - ago * DAY_S for ago in range(366)]
    file.add([attempt(each) for each in days])
    assert [row.key for row in ask(file, By.DAY, since=day_of(days[-1]))] == [day_of(each) for each in reversed(days)]


def test_what_devices_draw_is_added_up_day_by_day(file: HistoryFile) -> None:
    row = Row(
        "devices",
        {"day": TODAY, "device": "gpu", "account": "idle_tail", "source": "estimated", "joules": 2.5, "error_j": 1.0},
    )
    file.add([row, row])
    asked = Asked(TODAY, TODAY)
    found = file.read(lambda connection: books(connection, asked))
    assert found.devices == (DeviceCost("gpu", "idle_tail", "estimated", 5.0, 2.0),)
    assert found.of(Account.IDLE_TAIL) == Cost("idle_tail", energy_j=5.0, estimated_j=5.0, error_j=2.0)


def test_an_attempt_of_no_cost_is_no_error(file: HistoryFile) -> None:
    file.add([attempt(energy=Energy())])
    assert ask(file) == [Cost("org.example.App", 1, 1, 10, 20, error_j=0.0, known_by="flatpak")]


def test_answers_that_were_given_again_stand_beside_the_rows(file: HistoryFile) -> None:
    again = request("little", 7.0)
    file.add([attempt(), Row("requests", {**again.values, "backend": None, "result": "cached"})])
    found = file.read(lambda connection: books(connection, Asked(TODAY, TODAY)))
    assert (found.cached, found.cache_saved_j, found.total.saved_j, found.total.compared) == (1, 7.0, 0.0, 0)


def test_the_last_day_is_told_in_hours_by_the_clock_with_the_mode_that_it_began_in(file: HistoryFile) -> None:
    since_s = first_hour(NOW_S, 10 * 60 + 25.0)
    assert since_s == NOW_S - 25 * 60 - 23 * 3600
    file.add([attempt(since_s - 1), attempt(since_s), attempt(since_s + 3599, backend_id="cpu")])
    file.add([attempt(NOW_S), attempt(NOW_S), attempt(NOW_S, cancelled=True)])
    modes = [(since_s - 9000, "Auto"), (since_s - 60, "Quiet"), (since_s + 7200, "Balanced")]
    file.add([mode_row(at_s, mode, mode) for at_s, mode in modes])
    found = file.read(lambda connection: hours(connection, since_s))
    backend = ENDED.backend_id
    assert {(each.hour, each.backend, each.energy_j) for each in found.costs} == {
        (0, backend, 4.0),
        (0, "cpu", 4.0),
        (23, backend, 12.0),
    }
    assert found.changes == tuple(ModeChange(at_s, mode, mode) for at_s, mode in modes[1:])
    told = hours_fields(found, None)
    assert [each["energy_joules"] for each in told["hours"]] == [8.0, *[0] * 22, 12.0]
    assert told["hours"][0]["backends"] == {backend: 4.0, "cpu": 4.0}
    assert told["hours"][23]["unix_seconds"] == since_s + 23 * 3600


def test_an_hour_tells_the_worst_source_of_its_joules_and_how_far_they_may_be_wrong(file: HistoryFile) -> None:
    sure, told = Energy(6.0, 2.0, 0.0, Source.MEASURED, 0.1), Energy(1.0, 1.0, 0.0, Source.ATTRIBUTED, 0.5)
    file.add([attempt(NOW_S, energy=sure), attempt(NOW_S, energy=told, backend_id="cpu")])
    found = hours_fields(file.read(lambda connection: hours(connection, first_hour(NOW_S, 0.0))), None)["hours"][23]
    assert (found["energy_source"], found["energy_error_joules"]) == ("attributed", pytest.approx(0.8 + 1.0))
    assert found["energy_joules"] == 10.0


def test_an_hour_without_joules_has_no_source(file: HistoryFile) -> None:
    found = hours_fields(file.read(lambda connection: hours(connection, first_hour(NOW_S, 0.0))), None)["hours"][23]
    assert (found["energy_source"], found["energy_error_joules"]) == (None, 0)


def told(file: HistoryFile, asked: Asked) -> dict[str, Any]:
    found = file.read(lambda connection: series(connection, asked))
    found = replace(found, days=[day_of(NOW_S - ago * DAY_S) for ago in reversed(range(30))])
    return series_fields(found, Unavailable.because("no_battery"), None)


def test_thirty_days_are_columns_of_the_costliest_and_the_others(file: HistoryFile) -> None:
    first = day_of(NOW_S - 29 * DAY_S)
    file.add([attempt(NOW_S - 30 * DAY_S), attempt(NOW_S - 29 * DAY_S), *[attempt(backend_id="cpu")] * 2])
    file.add([attempt(model=f"m{at}") for at in range(MOST_PARTS + 1)])
    by_model = told(file, Asked(first, TODAY, By.MODEL))
    assert [len(by_model["columns"]), by_model["columns"][0]["day"], by_model["columns"][29]["day"]] == [
        30,
        first,
        TODAY,
    ]
    assert by_model["columns"][0]["parts"] == {ENDED.model: 4.0}
    last = by_model["columns"][29]["parts"]
    assert (len(last), last[OTHERS]) == (MOST_PARTS + 1, 8.0)
    assert by_model["total"]["energy_joules"] == sum(each["energy_joules"] for each in by_model["columns"])
    by_backend = told(file, Asked(first, TODAY, By.BACKEND))
    assert by_backend["columns"][29]["parts"] == {ENDED.backend_id: 4.0 * (MOST_PARTS + 1), "cpu": 8.0}


def test_a_day_in_hours_has_the_books_of_these_hours_and_tells_no_devices(file: HistoryFile) -> None:
    since_s = first_hour(NOW_S, 25.0)
    drawn = {"day": TODAY, "device": "gpu", "account": "base", "source": "estimated", "joules": 2.5, "error_j": 1.0}
    file.add([Row("devices", drawn), attempt(since_s - 1), attempt(since_s), attempt(NOW_S, cancelled=True)])
    file.add([request("app", 5.0)])
    found = told(file, Asked(day_of(since_s), TODAY, By.BACKEND, since_s))
    assert [each["energy_joules"] for each in found["columns"]] == [4.0, *[0] * 22, 4.0]
    assert (found["columns"][0]["unix_seconds"], found["columns"][0]["energy_source"]) == (since_s, "estimated")
    assert (found["columns"][1]["energy_source"], found["columns"][0]["energy_error_joules"]) == (None, 1.0)
    assert [(row["answers"], row["attempts"]) for row in found["rows"]] == [(1, 2)]
    assert (found["devices"], found["base_source"]) == ([], None)


def test_habits_are_the_first_requests_of_other_programs_in_an_hour_of_the_days_before(file: HistoryFile) -> None:
    noon_s = time.mktime((2027, 1, 15, 12, 0, 0, 0, 0, -1))
    other = request("ollama-proxyd", None)

    def at(days_ago: int, second: float, model: str = "tiny", row: Row | None = None, **more: Any) -> Row:
        row = row or request("editor", None)
        changed = {"model": model, "unix_s": noon_s - days_ago * DAY_S + second, **more}
        return Row(row.table, {**row.values, **changed})

    file.add(
        [
            *(at(1, 600), at(1, 700), at(2, 60), at(2, 3700), at(3, -5, "other"), at(4, 30, result="timeout")),
            *(at(0, 5), at(5, 100, row=other), at(20, 9)),
        ]
    )
    days = [day_of(noon_s - ago * DAY_S) for ago in (14, 0)]
    found = file.read(lambda connection: habits(connection, days[0], days[1], 12))
    assert (found.days, {name: sorted(each) for name, each in found.first_s.items()}) == (4, {"tiny": [60, 600]})
