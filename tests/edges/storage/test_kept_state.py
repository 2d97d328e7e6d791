"""The state when it cannot be written."""

from pathlib import Path

import pytest

from ollama_proxyd.edges.storage.state_file import KeptState, StateFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state belongs, in a folder that is not one yet."""
    (tmp_path / "folder").write_text("")
    return tmp_path / "folder" / "state.json"


def test_what_could_not_be_written_is_kept_and_said_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = KeptState(StateFile(path))
    kept.put("a", 1)
    kept.put("b", 2)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (1, 2, None)
    assert caplog.text.count("cannot be written") == 1


def test_the_next_put_that_works_writes_everything(path: Path) -> None:
    kept = KeptState(StateFile(path))
    kept.put("a", 1)
    path.parent.unlink()
    kept.put("b", 2)
    assert StateFile(path).load() == {"a": 1, "b": 2}
