"""Every kind of fault is borne by the general client too; test_matrix.py runs them on the plain one."""

import asyncio
from dataclasses import replace
from pathlib import Path

from tests.faults.conftest import SEED
from tests.faults.kinds import KINDS
from tests.faults.matrix import Matrix, cases, faults
from tests.faults.rig import CountedDaemon, Upstream
from tests.faults.test_matrix import told


class GeneralDaemon(CountedDaemon):
    """Has no plain client."""

    MODULE = "tests.faults.general_daemon"


def test_every_kind_of_fault_is_borne_by_the_general_client(tmp_path: Path, upstream: Upstream) -> None:
    one_of_each = {case.kind.name: case for case in cases(seed=SEED, everything=False)}
    assert one_of_each.keys() == KINDS.keys()
    daemon = GeneralDaemon(tmp_path, [])
    try:
        daemon.alive()
        matrix = Matrix(daemon, upstream)
        asyncio.run(matrix.run([replace(case, number=at) for at, case in enumerate(one_of_each.values())]))
        assert told(faults(matrix.rows)) == []
        missed = [row.case.name for row in matrix.rows if not row.reached]
        assert len(missed) <= len(matrix.rows) // 50, missed
        assert [books.in_flight for books in matrix.left] == [0] * len(matrix.left)
        assert "Traceback" not in daemon.log.read_text()
    finally:
        daemon.stop()
