"""Whatever a backend does, the client gets the whole answer or an honest end, and everything comes back.

FAULTS_ALL=1 runs every combination, FAULTS_SEED draws others and mixes them in another order.
"""

from collections.abc import Callable

import pytest

from tests.faults.client import Outcome, Seen
from tests.faults.kinds import KINDS
from tests.faults.matrix import Case, Matrix, Row, counts_as_savable, faults, table, unsaved
from tests.faults.rig import Books

LEAST_KINDS = 80
LEAST_SAVED = 0.95
KEPT_FILES = 5
"""Two connections that are kept, and the three files of the history, which is opened when there is something in it."""
MORE_MB = 400
"""By which the daemon may have grown, of which the large frames take the most once."""

Show = Callable[[str, object], None]


def told(found: dict[str, list[Row]]) -> list[str]:
    """A line for each kind, with its first case."""
    return sorted(f"{rows[0].case.name}: {rows[0].seen.status} {rows[0].seen.why}"[:300] for rows in found.values())


def test_there_are_at_least_80_kinds() -> None:
    assert len(KINDS) >= LEAST_KINDS


def test_nearly_every_request_reached_its_fault(matrix: Matrix, record_property: Show) -> None:
    record_property("shown", f"{len(KINDS)} kinds of faults\n{table(matrix.rows)}")
    missed = [row.case.name for row in matrix.rows if not row.reached]
    assert len(missed) <= len(matrix.rows) // 100, missed


def test_no_answer_is_wrong_and_no_client_is_lost(matrix: Matrix) -> None:
    assert told(faults(matrix.rows)) == []


def test_what_can_be_whole_is_whole(matrix: Matrix) -> None:
    found = unsaved(matrix.rows)
    assert told(found) == [], "\n".join(matrix.why(row) for rows in found.values() for row in rows)


def row(outcome: Outcome, again: Outcome | None = None) -> Row:
    case = Case(0, KINDS["ended_after_25"], "openai", "ollama", stream=False, second_api="openai")
    second = None if again is None else Row(case, Seen(again), reached=True)
    return Row(case, Seen(outcome), reached=True, again=second)


@pytest.mark.parametrize(
    ("failed", "of", "again", "is_unsaved"),
    [
        (1, 3, Outcome.WHOLE, False),
        (1, 4, Outcome.HONEST, True),
        (1, 3, None, True),
        (1, 5, None, False),
        (2, 5, None, True),
    ],
)
def test_of_few_cases_each_is_saved_at_last_and_of_many_nearly_all(
    failed: int, of: int, again: Outcome | None, is_unsaved: bool
) -> None:
    rows = [row(Outcome.HONEST, again)] * failed + [row(Outcome.WHOLE)] * (of - failed)
    assert bool(unsaved(rows)) is is_unsaved


def test_a_good_second_backend_saves_nearly_all(matrix: Matrix) -> None:
    tried = [row for row in matrix.rows if row.reached and counts_as_savable(row.case)]
    saved = [row for row in tried if row.seen.outcome is Outcome.WHOLE]
    assert len(saved) >= LEAST_SAVED * len(tried)


def test_slots_tasks_sockets_and_memory_come_back(matrix: Matrix) -> None:
    before = matrix.before
    assert [books.in_flight for books in matrix.left] == [0] * len(matrix.left)

    def are_back(books: Books) -> bool:
        return books.tasks <= before.tasks and books.fds <= before.fds + KEPT_FILES

    after = matrix.daemon.settled(are_back, timeout_s=20)
    assert are_back(after), (before, after)
    assert after.rss_mb - before.rss_mb < MORE_MB
    assert set(matrix.daemon.in_flight().values()) == {0}


def test_no_fault_surprises_the_daemon(matrix: Matrix) -> None:
    log = matrix.daemon.log.read_text()
    at = log.find("Traceback")
    assert at < 0, log[max(0, at - 500) : at + 3000]
