"""What fetches something is tried once more, by scripts/patiently."""

import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.harness import wait_until
from tests.real_things import ROOT

PATIENTLY = ROOT / "scripts" / "patiently"
STALLS_ONCE = 'echo turn >>turns; [ "$(wc -l <turns)" = 2 ] || { sleep 60 & echo $! >child; wait; }'


def ends(pid: int) -> bool:
    """Whether a process, that nobody may have waited for, ends."""
    with suppress(AssertionError, FileNotFoundError):
        wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z", "it ends", timeout_s=20)
        return True
    return not Path(f"/proc/{pid}").exists()


def patiently(folder: Path, limit_s: float, code: str) -> subprocess.CompletedProcess[str]:
    command = [str(PATIENTLY), str(limit_s), "sh", "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def test_what_stalls_is_ended_with_all_that_it_started_and_tried_once_more(tmp_path: Path) -> None:
    done = patiently(tmp_path, 1, STALLS_ONCE)
    assert done.returncode == 0, done.stderr
    assert "has not ended within 1 s: sh -c" in done.stderr
    assert (tmp_path / "turns").read_text() == "turn\nturn\n"
    assert ends(int((tmp_path / "child").read_text()))


@pytest.mark.parametrize(
    ("code", "status", "turns"),
    [("", 0, 1), ('[ "$(wc -l <turns)" = 2 ]', 0, 2), ("exit 7", 7, 2)],
    ids=["what succeeds runs once", "what fails once succeeds", "what fails twice has failed, with its status"],
)
def test_what_fails_is_tried_once_more(tmp_path: Path, code: str, status: int, turns: int) -> None:
    assert patiently(tmp_path, 30, f"echo turn >>turns; {code}").returncode == status
    assert (tmp_path / "turns").read_text() == "turn\n" * turns


def test_what_is_killed_is_told(tmp_path: Path) -> None:
    done = patiently(tmp_path, 30, "kill -9 $$")
    assert done.returncode == 137
    assert done.stderr.count("patiently: was killed") == 2


def test_an_interrupt_ends_what_is_running(tmp_path: Path) -> None:
    process = subprocess.Popen([PATIENTLY, "60", "sh", "-c", "echo $$ >child; exec sleep 60"], cwd=tmp_path)
    child = tmp_path / "child"
    wait_until(lambda: child.exists() and child.read_text(), "it runs")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert ends(int(child.read_text()))
