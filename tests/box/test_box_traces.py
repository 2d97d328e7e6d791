"""The box itself: whatever becomes of the program that booted it, no process, mount or control group stays behind."""

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.box.keeper import FOLDER, PREFIX, hierarchies
from tests.e2e.harness import ROOT, wait_until

pytestmark = pytest.mark.real

BOOT = """
import sys, time
from pathlib import Path
from tests.box.box import Box
with Box(Path(sys.argv[1]), {}) as box:
    print(box.keeper_pid, flush=True)
    time.sleep(600)
"""
GONE_S = 300.0
"""To be gone takes 2 s on a machine with nothing else to do."""
PLACES = (FOLDER, Path("/run/systemd/nspawn/propagate"), Path("/run/systemd/nspawn/unix-export"))


def processes_of(name: str) -> list[str]:
    """The command lines of this machine in which the box is named."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if name in line:
            lines.append(line)
    return lines


def traces_of(name: str) -> list[str]:
    """Everything on this machine that has the box's name."""
    mounts = [line for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines() if name in line]
    files = [str(folder / name) for folder in (*hierarchies(), *PLACES) if (folder / name).exists()]
    return [*processes_of(name), *mounts, *files]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("who", ["the one who booted it", "its keeper"])
def test_a_box_leaves_nothing_behind(box_root: Path, who: str, how: signal.Signals) -> None:
    command = [sys.executable, "-c", BOOT, str(box_root)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        keeper = int(owner.stdout.readline())
        name = f"{PREFIX}{keeper}"
        assert traces_of(name)
        victim = owner.pid if who == "the one who booted it" else keeper
        subprocess.run(["kill", f"-{how.value}", str(victim)], check=True)
        if who == "its keeper":
            wait_until(lambda: not processes_of(name), "its processes have ended", GONE_S, every_s=0.5)
            owner.kill()
    if (who, how) == ("its keeper", signal.SIGKILL):  # nobody was left who could; the next keeper does
        subprocess.run([sys.executable, "-c", "from tests.box import keeper; keeper.sweep()"], cwd=ROOT, check=True)
    with suppress(AssertionError):  # what is left is told below
        wait_until(lambda: not traces_of(name), "nothing of the box is left", GONE_S, every_s=0.5)
    assert not traces_of(name)


def test_what_outlived_a_box_and_its_keeper_is_ended_by_the_next_one(box_root: Path) -> None:
    with subprocess.Popen(["true"]) as keeper:
        keeper.wait()
    groups = [hierarchy / f"{PREFIX}{keeper.pid}" for hierarchy in hierarchies()]
    with subprocess.Popen(["sleep", "600"]) as outlived:
        for group in groups:
            (group / "payload").mkdir(parents=True)
            (group / "payload" / "cgroup.procs").write_text(str(outlived.pid))
        subprocess.run([sys.executable, "-c", "from tests.box import keeper; keeper.sweep()"], cwd=ROOT, check=True)
        assert outlived.wait(10) == -signal.SIGKILL
    assert not [group for group in groups if group.exists()]
