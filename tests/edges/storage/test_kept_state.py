"""The state when it cannot be written."""

import threading
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
    kept.flush()
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (1, 2, None)
    assert caplog.text.count("cannot be written") == 1


def test_the_next_put_that_works_writes_everything(path: Path) -> None:
    kept = KeptState(StateFile(path))
    kept.put("a", 1)
    kept.flush()
    path.parent.unlink()
    kept.put("b", 2)
    kept.flush()
    assert StateFile(path).load() == {"a": 1, "b": 2}


async def test_what_could_not_be_written_is_tried_once_more_at_the_end(path: Path) -> None:
    kept = KeptState(StateFile(path))
    kept.put("mode", "Quiet")
    await kept.written()
    path.parent.unlink()
    kept.flush()
    assert StateFile(path).load() == {"mode": "Quiet"}


def test_many_changes_at_once_are_few_writes_and_none_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, may_go_on, saved = threading.Event(), threading.Event(), list[object]()

    def save(state: object) -> None:
        began.set()
        may_go_on.wait(60)
        saved.append(state)

    file = StateFile(tmp_path / "state.json")
    monkeypatch.setattr(file, "save", save)
    kept = KeptState(file)
    kept.put("mode", 0)
    began.wait(60)
    for number in range(1, 2000):
        kept.put("mode", number)
    may_go_on.set()
    kept.flush()
    assert saved == [{"mode": 0}, {"mode": 1999}]


def test_what_is_kept_already_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    kept = KeptState(StateFile(path))
    kept.put("mode", "Quiet")
    kept.flush()
    path.unlink()
    kept.put("mode", "Quiet")
    kept.flush()
    assert not path.exists()


async def test_what_was_waited_for_outlives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    kept = KeptState(StateFile(path))
    for mode in ("Quiet", "Balanced"):
        kept.put("mode", mode)
        await kept.written()
        assert StateFile(path).load() == {"mode": mode}
