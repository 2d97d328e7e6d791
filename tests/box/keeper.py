"""Keeps a container while its standard input is open, and leaves no trace of it, however the program that asked ends.

usage: keeper.py COMMAND...     runs systemd-nspawn's COMMAND under a name of its own, and prints its process id

A program of its own, because whoever runs the tests may be killed; were this one killed too, the kernel would end the
container, and the next keeper would remove the rest.
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PREFIX = "ollama-proxyd-box-"
FOLDER = Path(tempfile.gettempdir())
GRACE_S = 10.0
BUSY_S = 60.0
"""So long the processes of a killed container may take to be gone on a busy machine; they have no choice."""
SETTLE = """
count=$1
shift
while [ "$count" -gt 0 ]; do
    echo $$ >"$1"
    shift
    count=$((count - 1))
done
exec "$@"
"""
"""Moves a shell into the control groups whose number and files come first, and has it become the command after them."""


def console_of(keeper: int) -> Path:
    """Where a keeper's container writes what it says as it boots."""
    return FOLDER / f"{PREFIX}{keeper}" / "console.log"


def hierarchies() -> list[Path]:
    """Where systemd would keep its control groups: the unified hierarchy, and its own one of the older kind."""
    found = []
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, where, kind, options = line.split()[:4]
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options):
            found.append(Path(where))
    return found


def remove_group(group: Path) -> None:
    """Remove a control group and those below it, with the processes that outlived their container."""
    deadline_s = time.monotonic() + BUSY_S
    while group.exists() and time.monotonic() < deadline_s:
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                for process in Path(folder, "cgroup.procs").read_text(encoding="ascii").split():
                    os.kill(int(process), signal.SIGKILL)
                Path(folder).rmdir()
        time.sleep(0.02)


def remove_traces(name: str) -> None:
    """What a container that was not shut down leaves in /run, and its control groups."""
    for hierarchy in hierarchies():
        remove_group(hierarchy / name)
    for kind in ("propagate", "unix-export"):
        folder = Path("/run/systemd/nspawn", kind, name)
        if folder.exists():
            subprocess.run(["umount", "--quiet", "--lazy", folder], capture_output=True, check=False)
            shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(FOLDER / name, ignore_errors=True)


def is_kept(name: str) -> bool:
    """Whether the keeper after which a container is named still runs."""
    try:
        return b"keeper.py" in Path("/proc", name.removeprefix(PREFIX), "cmdline").read_bytes()
    except OSError:
        return False


def sweep() -> None:
    """Remove the traces of containers whose keepers were killed."""
    for folder in (*hierarchies(), FOLDER):
        for trace in folder.glob(f"{PREFIX}*"):
            if not is_kept(trace.name):
                remove_traces(trace.name)


def start(name: str, log: Path, command: list[str]) -> "subprocess.Popen[bytes]":
    """Start the container in control groups of its own, so that it ends with this program."""
    groups = [hierarchy / name for hierarchy in hierarchies()]
    for group in groups:
        group.mkdir()
    environment = {"PATH": os.environ["PATH"], "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
    settle = ["sh", "-ec", SETTLE, "sh", str(len(groups)), *(str(group / "cgroup.procs") for group in groups)]
    with log.open("wb") as output:
        return subprocess.Popen(
            [*settle, "setpriv", "--pdeathsig", "TERM", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def end(container: "subprocess.Popen[bytes]") -> None:
    """Shut it down, or break it off where that takes too long."""
    container.terminate()
    try:
        container.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        container.kill()
        container.wait()


def leave(*_: Any) -> None:
    """End as if the standard input had ended."""
    sys.exit(0)


def main() -> None:
    """Keep the container until there is no more input, a signal comes, or it ends by itself."""
    program, *options = sys.argv[1:]
    name = f"{PREFIX}{os.getpid()}"
    sweep()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)
    container = None
    try:
        log = console_of(os.getpid())
        log.parent.mkdir(mode=0o700)
        container = start(name, log, [program, f"--machine={name}", *options])
        sys.stdout.write(f"{container.pid}\n")
        sys.stdout.flush()
        select.select([0, os.pidfd_open(container.pid)], [], [])
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if container is not None:
            end(container)
        remove_traces(name)


if __name__ == "__main__":
    main()
