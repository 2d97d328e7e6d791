"""Run inside the box, in and outside of the service's sandbox: tries things, and prints for each why it was refused.

Every attempt is one that an ordinary program of this user may make; what is refused, the sandbox has refused.
"""

import ctypes
import json
import mmap
import os
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path

HOME = Path.home()
RUNTIME = Path(os.environ["XDG_RUNTIME_DIR"])
STATE = HOME / ".local" / "state" / "ollama-proxyd"
LIBC = ctypes.CDLL(None, use_errno=True)
NETLINK_KOBJECT_UEVENT = 15
PER_LINUX32 = 8


def called(result: int) -> None:
    """Raise what a call of the C library complains of."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def write(path: Path) -> None:
    path.write_text("x")
    path.unlink()


def connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as way:
        way.connect(path)


def talk(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=5).close()


def hear_of_devices() -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT) as way:
        way.bind((0, 2))


def make_setuid() -> None:
    path = RUNTIME / "ollama-proxyd" / "probe"
    path.write_text("x")
    try:
        path.chmod(0o755 | stat.S_ISUID)
    finally:
        path.unlink()


def make_code() -> None:
    mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def new_user_namespace() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0 if LIBC.unshare(0x10000000) == 0 else 1)  # CLONE_NEWUSER
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise PermissionError("no user name space")


def exotic_socket() -> None:
    """Open a socket of a family that the kernel has and the daemon does not need; not every kernel has each."""
    for family, kind in ((socket.AF_ALG, socket.SOCK_SEQPACKET), (socket.AF_VSOCK, socket.SOCK_STREAM)):
        try:
            socket.socket(family, kind).close()
        except OSError:
            continue
        return
    raise PermissionError("no socket of any of these families")


def gain_rights() -> None:
    if LIBC.prctl(39, 0, 0, 0, 0):  # PR_GET_NO_NEW_PRIVS
        raise PermissionError("no new privileges")


def watch_files() -> None:
    handle = LIBC.inotify_init1(0)
    called(handle)
    called(LIBC.inotify_add_watch(handle, os.fsencode(HOME / ".config"), 2))
    os.close(handle)


REFUSED: dict[str, Callable[[], object]] = {
    "write into the home": lambda: write(HOME / "probe"),
    "write its own configuration": lambda: write(HOME / ".config" / "ollama-proxyd" / "probe"),
    "write its own program": lambda: write(HOME / ".local" / "share" / "ollama-proxyd" / "probe"),
    "write beside the session bus": lambda: write(RUNTIME / "probe"),
    "read secret keys": (HOME / ".ssh" / "id_ed25519").read_text,
    "read the passwords": (HOME / ".local" / "share" / "keyrings" / "login.keyring").read_text,
    "read others' temporary files": lambda: Path("/tmp/of-another-program").read_text(),
    "listen to the microphone": lambda: Path("/dev/snd/pcmC0D0c").read_text(),
    "listen to the keyboard": lambda: Path("/dev/input/event0").read_text(),
    "look through the camera": lambda: Path("/dev/video0").read_text(),
    "write code while it runs": make_code,
    "make name spaces": new_user_namespace,
    "make a setuid file": make_setuid,
    "open a socket of another kind": exotic_socket,
    "become slower than others": lambda: os.nice(1),
    "look like another machine": lambda: called(LIBC.personality(PER_LINUX32)),
    "gain rights by running a program": gain_rights,
}
NEEDED: dict[str, Callable[[], object]] = {
    "write its state": lambda: write(STATE / "probe"),
    "write into its runtime folder": lambda: write(RUNTIME / "ollama-proxyd" / "probe"),
    "write temporary files": lambda: write(Path("/tmp/probe")),
    "read its configuration": (HOME / ".config" / "ollama-proxyd" / "config.yaml").read_text,
    "notice changed files": watch_files,
    "reach the session bus": lambda: connect(str(RUNTIME / "bus")),
    "reach the system bus": lambda: connect("/run/dbus/system_bus_socket"),
    "reach the engines": lambda: talk(int(sys.argv[1])),
    "hear of devices": hear_of_devices,
    "read the battery": lambda: Path("/sys/class/power_supply/BAT0/capacity").read_text(),
    "read the processor's name": lambda: Path("/proc/cpuinfo").read_text(),
    "reach NVIDIA's driver": lambda: Path("/dev/nvidiactl").read_text(),
    "load a library": lambda: ctypes.CDLL("libudev.so.1"),
}


def outcome(attempt: Callable[[], object]) -> str:
    """Nothing where it worked, else why not."""
    try:
        attempt()
    except (OSError, ValueError) as error:
        return str(error)
    return ""


if __name__ == "__main__":
    results = {
        kind: {name: outcome(attempt) for name, attempt in attempts.items()}
        for kind, attempts in (("refused", REFUSED), ("needed", NEEDED))
    }
    sys.stdout.write(f"{json.dumps(results)}\n")
