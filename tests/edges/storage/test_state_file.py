"""What survives a restart, and what does not stop one."""

import errno
import logging
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ollama_proxyd.edges.storage.state_file import MAX_BYTES, KeptState, StateFile, state_path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ollama-proxyd" / "state.json"


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_place_is_below_the_state_home() -> None:
    assert state_path({"XDG_STATE_HOME": "/s"}) == Path("/s/ollama-proxyd/state.json")


@pytest.mark.parametrize("home", [None, "", "relative/folder"])
def test_without_an_absolute_state_home_the_usual_place_is_taken(home: str | None) -> None:
    environ = {"HOME": "/home/x"} | ({} if home is None else {"XDG_STATE_HOME": home})
    assert state_path(environ) == Path("/home/x/.local/state/ollama-proxyd/state.json")


def test_nothing_saved_is_empty(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert StateFile(path).load() == {}
    assert caplog.text == ""


def test_what_is_saved_is_loaded_by_the_next_process(path: Path) -> None:
    state = {"mode": "Quiet", "numbers": [1, 2.5, None, True], "ö": {"deep": "ß"}}
    StateFile(path).save(state)
    assert StateFile(path).load() == state


def test_saving_replaces_all_that_was_saved(path: Path) -> None:
    store = StateFile(path)
    store.save({"a": 1})
    store.save({"b": 2})
    assert store.load() == {"b": 2}


def test_file_and_folder_are_for_the_owner_alone(path: Path) -> None:
    StateFile(path).save({"a": 1})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_saving_leaves_no_other_files(path: Path) -> None:
    StateFile(path).save({"a": 1})
    assert [each.name for each in path.parent.iterdir()] == ["state.json"]


KILLED_WHILE_IT_WRITES = """
import os, signal, sys
from pathlib import Path
from ollama_proxyd.edges.storage.state_file import StateFile
os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
StateFile(Path(sys.argv[1])).save({"mode": "Balanced"})
"""


def test_who_is_killed_while_writing_leaves_what_was_saved_before(path: Path) -> None:
    store = StateFile(path)
    store.save({"mode": "Quiet"})
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_IT_WRITES, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(path.parent.iterdir())) == 2
    assert store.load() == {"mode": "Quiet"}
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_one_had_begun_is_removed_and_what_somebody_writes_now_is_not(path: Path) -> None:
    store = StateFile(path)
    store.save({"mode": "Quiet"})
    old, new, other = (path.with_name(name) for name in (".state.json.old", ".state.json.new", "notes"))
    for each in (old, new, other):
        each.write_text("{")
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    assert store.load() == {"mode": "Quiet"}
    assert sorted(path.parent.iterdir()) == sorted([new, other, path])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is not JSON"),
        (b'{"format": 1, "state": {"mode"', "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[1]", "another program or version wrote it"),
        (b'{"mode": "Quiet"}', "another program or version wrote it"),
        (b'{"format": 2, "state": {}}', "another program or version wrote it"),
        (b'{"format": 1, "state": []}', "another program or version wrote it"),
        (b" " * (MAX_BYTES + 1), f"it is larger than {MAX_BYTES} bytes"),
    ],
)
def test_a_file_that_is_not_ours_is_set_aside_with_the_reason(
    path: Path, caplog: pytest.LogCaptureFixture, content: bytes, reason: str
) -> None:
    put(path, content)
    with caplog.at_level(logging.WARNING):
        assert StateFile(path).load() == {}
    assert f"was set aside as state.json.unreadable because {reason}" in caplog.text
    assert path.with_name("state.json.unreadable").read_bytes() == content
    assert not path.exists()
    StateFile(path).save({"a": 1})
    assert StateFile(path).load() == {"a": 1}


def test_a_folder_in_its_place_is_set_aside(path: Path) -> None:
    path.mkdir(parents=True)
    assert StateFile(path).load() == {}
    assert path.with_name("state.json.unreadable").is_dir()


def test_a_pipe_in_its_place_is_not_waited_for(path: Path) -> None:
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert StateFile(path).load() == {}


def test_what_cannot_be_set_aside_is_ignored_with_a_line(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(path, b"?")
    put(path.with_name("state.json.unreadable") / "in-the-way", b"")
    with caplog.at_level(logging.WARNING):
        assert StateFile(path).load() == {}
    assert "could not be set aside" in caplog.text


def test_a_place_that_cannot_be_read_is_empty_with_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = put(tmp_path / "file", b"") / "state.json"
    with caplog.at_level(logging.WARNING):
        assert StateFile(place).load() == {}
    assert "cannot be read: Not a directory" in caplog.text


def test_a_place_that_cannot_be_written_raises(tmp_path: Path) -> None:
    place = put(tmp_path / "file", b"") / "state.json"
    with pytest.raises(OSError, match="file"):
        StateFile(place).save({})


def test_a_full_disk_raises_and_leaves_what_was_saved(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = StateFile(path)
    store.save({"a": 1})

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.save({"a": 2})
    assert store.load() == {"a": 1}
    assert [each.name for each in path.parent.iterdir()] == ["state.json"]


def test_what_another_process_had_begun_is_removed_as_soon_as_it_is_gone(path: Path) -> None:
    store = StateFile(path)
    store.save({"mode": "Quiet"})
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    ours, alive, dead = (path.with_name(f".state.json.{pid}.x") for pid in (os.getpid(), os.getppid(), gone.pid))
    for each in (ours, alive, dead):
        each.write_text("{")
    assert store.load() == {"mode": "Quiet"}
    assert sorted(path.parent.iterdir()) == sorted([alive, path])


def test_a_second_daemon_in_the_same_folder_is_told_and_serves_all_the_same(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = KeptState(StateFile(path))
    assert not caplog.messages
    second = KeptState(StateFile(path))
    assert [f"another ollama-proxyd keeps its state in {path.parent} too" in each for each in caplog.messages] == [True]
    second.put("mode", "Quiet")
    second.flush()
    first.flush()
    caplog.clear()
    assert KeptState(StateFile(path)).get("mode") == "Quiet"
    assert not caplog.messages
