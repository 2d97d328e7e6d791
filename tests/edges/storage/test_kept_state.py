"""The state when it cannot be written."""

import pytest

from ollama_proxyd.edges.storage.state_file import KeptState
from tests.fakes import MemoryStore


def test_what_could_not_be_written_is_kept_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    disk = MemoryStore({"mode": "Quiet"})
    disk.failing = True
    kept = KeptState(disk)
    kept.save({**kept.load(), "a": 1})
    kept.save({**kept.load(), "b": 2})
    assert kept.load() == {"mode": "Quiet", "a": 1, "b": 2}
    assert caplog.text.count("No space left on device") == 1


def test_the_next_save_that_works_writes_everything() -> None:
    disk = MemoryStore()
    disk.failing = True
    kept = KeptState(disk)
    kept.save({"a": 1})
    disk.failing = False
    kept.save({**kept.load(), "b": 2})
    assert disk.load() == {"a": 1, "b": 2}
