"""The scripted upstream, the daemon in front of it, and the matrix, run once."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.matrix import Matrix, cases
from tests.faults.rig import CountedDaemon, Upstream

EVERYTHING = bool(os.environ.get("FAULTS_ALL"))
SEED = int(os.environ.get("FAULTS_SEED", "0"))


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    started = Upstream(tmp_path_factory.mktemp("upstream"))
    yield started
    started.stop()


@pytest.fixture
def upstream_alone(tmp_path: Path) -> Iterator[Upstream]:
    """An upstream that the test may end."""
    started = Upstream(tmp_path)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def matrix(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Matrix]:
    """All cases, run; the daemon still lives."""
    daemon = CountedDaemon(tmp_path_factory.mktemp("daemon"), [])
    try:
        daemon.alive()
        done = Matrix(daemon, upstream)
        asyncio.run(done.run(cases(seed=SEED, everything=EVERYTHING)))
        asyncio.run(done.ask_again())
        yield done
    finally:
        daemon.stop()
