"""A booted Debian in a container: real systemd, a user manager, and the daemons of a laptop on a fake /sys."""

import ctypes
import encodings.idna  # noqa: F401 - the person could not load it from a folder of root
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tests.box.keeper import console_of
from tests.e2e.harness import wait_until

HERE = Path(__file__).parent
USER = "tester"
USER_ID = 1000
HOME = f"/home/{USER}"
RUNTIME = f"/run/user/{USER_ID}"
NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
CLONE_NEWNET = 0x40000000
BOOT_S = 60.0
COMMAND_S = 120.0
ROOT_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
}
USER_ENVIRONMENT = ROOT_ENVIRONMENT | {
    "HOME": HOME,
    "USER": USER,
    "LOGNAME": USER,
    "SHELL": "/bin/bash",
    "XDG_RUNTIME_DIR": RUNTIME,
    "DBUS_SESSION_BUS_ADDRESS": f"unix:path={RUNTIME}/bus",
}

Done = subprocess.CompletedProcess[str]


class Box:
    """The machine, from the end of its boot until `close`; nothing that happens in it changes the folder it boots from.

    shown: folders and files of this machine, and where the box shows them, read-only. It has no network but itself.
    """

    def __init__(self, root: Path, shown: Mapping[Path, str]) -> None:
        self._keeper = subprocess.Popen(
            [sys.executable, str(HERE / "keeper.py"), *self._command(root, shown)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            assert self._keeper.stdout is not None
            nspawn = int(self._keeper.stdout.readline() or "0")
            assert nspawn, "the keeper of the box has ended"
            self.leader = wait_until(lambda: self._first_process(nspawn), "the box has a first process")
            self._until_up()
            # systemd-nspawn leaves a deleted file there, and ProtectKernelLogs= stumbles over it.
            self.root("umount", "/proc/kmsg", check=False)
        except BaseException:
            self.close()
            raise

    @property
    def keeper_pid(self) -> int:
        """The process that will take the box away; the box is named after it."""
        return self._keeper.pid

    @staticmethod
    def _command(root: Path, shown: Mapping[Path, str]) -> list[str]:
        laptop = HERE / "laptop"
        ours = {
            laptop / "units": "/etc/systemd/system.control",
            laptop / "polkit": "/etc/polkit-1/rules.d",
            laptop / "logind": "/etc/systemd/logind.conf.d",
            laptop / "lay-over-sys": "/laptop/lay-over-sys",
            HERE.parent / "upstreams" / "sysfs_tree.py": "/laptop/sysfs_tree.py",
        }
        fixed = ["--boot", "--quiet", "--register=no", "--keep-unit", "--console=pipe", "--volatile=overlay"]
        binds = [f"--bind-ro={source}:{target}" for source, target in (ours | dict(shown)).items()]
        return ["systemd-nspawn", *fixed, "--private-network", f"--directory={root}", *binds]

    def _first_process(self, nspawn: int) -> int:
        """The box's process 1, as this machine numbers it; 0 while there is none."""
        children = Path(f"/proc/{nspawn}/task/{nspawn}/children")
        assert children.exists(), f"the box has ended:\n{self.console()}"
        for child in children.read_text(encoding="ascii").split():
            try:
                lines = Path(f"/proc/{child}/status").read_text(encoding="utf-8").splitlines()
            except OSError:
                continue
            if any(line.startswith("NSpid:") and line.split()[-1] == "1" and len(line.split()) > 2 for line in lines):
                return int(child)
        return 0

    def _until_up(self) -> None:
        """Wait for both managers; a service that failed at boot is a fault of the box."""
        for run, manager in ((self.root, "--system"), (self.user, "--user")):
            self._until_manager_is_up(run, manager)

    def _until_manager_is_up(self, run: Callable[..., Done], manager: str) -> None:
        def state() -> str:
            said = run("systemctl", manager, "is-system-running", "--wait", check=False).stdout.strip()
            return said if said in {"running", "degraded"} else ""

        if wait_until(state, "the box is up", BOOT_S) == "degraded":
            failed = run("systemctl", manager, "--failed", "--no-legend").stdout
            said = self.root("journalctl", "--no-pager", "--priority=warning").stdout
            raise AssertionError(f"failed in the box as it booted:\n{failed}\n{said}")

    def log_out(self) -> None:
        """Have the person leave, and with them everything that they started."""
        self.root("systemctl", "stop", f"user@{USER_ID}.service", f"user-runtime-dir@{USER_ID}.service")

    def log_in(self) -> None:
        """Have the person come back."""
        self.root("systemctl", "start", f"user@{USER_ID}.service")
        self._until_up()

    def console(self) -> str:
        """What the boot said."""
        file = console_of(self.keeper_pid)
        return file.read_text(errors="replace") if file.exists() else ""

    # doing things in it

    def _enter(self, *arguments: str) -> list[str]:
        return [
            "nsenter",
            "--target",
            str(self.leader),
            *NAMESPACES,
            "--",
            *arguments,
        ]

    def root_command(self, *arguments: str) -> list[str]:
        """The command line by which this machine runs something in the box as root."""
        words = [f"{name}={value}" for name, value in ROOT_ENVIRONMENT.items()]
        return self._enter("env", "-i", *words, *arguments)

    def user_command(self, *arguments: str) -> list[str]:
        """The command line by which this machine runs something in the box as the person at the laptop."""
        words = [f"{name}={value}" for name, value in USER_ENVIRONMENT.items()]
        return self._enter("runuser", "-u", USER, "--", "env", "-i", "-C", HOME, *words, *arguments)

    def root(self, *arguments: str, check: bool = True) -> Done:
        """Run something as root."""
        return _run(self.root_command(*arguments), arguments, check)

    def user(self, *arguments: str, check: bool = True) -> Done:
        """Run something as the person at the laptop."""
        return _run(self.user_command(*arguments), arguments, check)

    def path(self, inside: str) -> Path:
        """Where this machine sees a file of the box."""
        return Path(f"/proc/{self.leader}/root{inside}")

    def here(self, pid: int) -> int:
        """The number by which this machine knows a process of the box's."""
        for status in Path("/proc").glob("[0-9]*/status"):
            with suppress(OSError):
                facts = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
                if facts["NSpid"].split()[1:] == [str(pid)] and self._is_inside(int(facts["Pid"])):
                    return int(facts["Pid"])
        raise AssertionError(f"the box has no process {pid}")

    def _is_inside(self, pid: int) -> bool:
        spaces = [Path(f"/proc/{each}/ns/pid").readlink() for each in (pid, self.leader)]
        return spaces[0] == spaces[1]

    def write(self, inside: str, content: str) -> None:
        """Put a file of the person's into the box, with the folders above it."""
        self.user("mkdir", "-p", str(Path(inside).parent))
        path = self.path(inside)
        path.write_text(content, encoding="utf-8")
        os.chown(path, USER_ID, USER_ID)

    def connect(self, port: int) -> socket.socket:
        """A connection to a port of the box's own 127.0.0.1."""
        library = ctypes.CDLL(None, use_errno=True)  # the person connects, since the daemon serves nobody else
        spaces = [Path(f"/proc/{process}/ns/net") for process in ("self", self.leader)]
        with spaces[0].open("rb") as here, spaces[1].open("rb") as there:
            assert library.setns(there.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            os.seteuid(USER_ID)
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=30)
            finally:
                os.seteuid(0)
                assert library.setns(here.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())

    def close(self) -> None:
        """Switch it off."""
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.wait()
        self._keeper.stdout.close()

    def __enter__(self) -> "Box":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _run(command: list[str], words: tuple[str, ...], check: bool) -> Done:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=COMMAND_S
    )
    assert not check or done.returncode == 0, f"{shlex.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done
