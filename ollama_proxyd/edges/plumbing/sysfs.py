"""Reads the kernel's sysfs without waking sleeping devices; trouble is an answer."""

import errno
import glob
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from ollama_proxyd.core.readings import Maybe, PowerState, Reading, Unavailable

T = TypeVar("T")
Raw: TypeAlias = T | Unavailable
"""What a file says without the time of reading, or why it says nothing."""

PCI_DEVICES: Final = "bus/pci/devices"
_MAX_BYTES: Final = 4096
_MOST_DIGITS: Final = 20
"""Of 64 bits, which is what the kernel has; longer numbers fit no float."""
_TROUBLE: Final[Mapping[int, str]] = {
    errno.ENOENT: "is not there",
    errno.ENOTDIR: "is not there",
    errno.ENODEV: "has lost its device",
    errno.ENXIO: "has lost its device",
    errno.EIO: "could not be read by its driver",
}
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM})
_STATES: Final[Mapping[str, PowerState]] = {
    "active": PowerState.AWAKE,
    "suspended": PowerState.ASLEEP,
    "suspending": PowerState.ASLEEP,
    "resuming": PowerState.ASLEEP,
}


class Forbidden(Unavailable):
    """There may be a value, but this user may not read it."""

    __slots__ = ()


class Sysfs:
    """Reads below one folder, by paths relative to it. Sensor trouble is never raised: it is the answer."""

    def __init__(self, root: str | Path = "/sys") -> None:
        self.root = str(root)

    def absolute(self, path: str) -> str:
        """The whole path, as messages name it."""
        return f"{self.root}/{path}"

    def read_text(self, path: str) -> Raw[str]:
        """What a file says; an empty file is one that is being written."""
        whole = self.absolute(path)
        try:
            handle = os.open(whole, os.O_RDONLY | os.O_CLOEXEC)
            try:
                content = os.read(handle, _MAX_BYTES)
            finally:
                os.close(handle)
        except OSError as error:
            return _trouble(whole, error)
        return content.decode(errors="replace").strip() or Unavailable.because("file_empty", file=whole)

    def read_int(self, path: str) -> Raw[int]:
        """The whole number that a file says."""
        text = self.read_text(path)
        if isinstance(text, Unavailable):
            return text
        try:
            return int(text if len(text) <= _MOST_DIGITS else "")
        except ValueError:
            return Unavailable.because("file_not_a_number", file=self.absolute(path), detail=text[:40])

    def text(self, path: str) -> str:
        """What a file says, "" where it says nothing."""
        text = self.read_text(path)
        return text if isinstance(text, str) else ""

    def reading(self, path: str, at_s: float, factor: float = 1.0) -> Maybe[float]:
        """The number that a file says, in the unit that we use."""
        return scaled(self.read_int(path), factor, at_s)

    def children(self, path: str) -> tuple[str, ...]:
        """The sorted names in a folder; none where there is no such folder or it cannot be listed."""
        try:
            return tuple(sorted(os.listdir(self.absolute(path))))  # noqa: PTH208 - names are all that is needed
        except OSError:
            return ()

    def glob(self, pattern: str) -> tuple[str, ...]:
        """The sorted paths that match; reads nothing but folders."""
        return tuple(sorted(glob.glob(pattern, root_dir=self.root)))  # noqa: PTH207 - as above

    def link(self, path: str) -> str:
        """The last part of what a symbolic link points to: the name of a driver; "" without a link."""
        try:
            return os.readlink(self.absolute(path)).rpartition("/")[2]  # noqa: PTH115 - as above
        except OSError:
            return ""

    def resolved(self, path: str) -> str:
        """The whole path without symbolic links: it names every device above this one."""
        return os.path.realpath(self.absolute(path))


class DeviceGate:
    """The one way to a device: nothing of it is opened or read unless the kernel says that it is awake.

    Opening a sleeping device's node, starting NVML or reading most of its attributes would wake it. Its
    power/runtime_status is the kernel's own note and wakes nothing; so are its ids and its driver's name.
    """

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs

    def ask(self, pci_address: str, question: Callable[[], Raw[T]]) -> tuple[PowerState, Raw[T]]:
        """Ask an awake device; of any other one, why it was not asked."""
        state, reason = self._look(pci_address)
        return state, question() if state is PowerState.AWAKE else reason

    def _look(self, pci_address: str) -> tuple[PowerState, Unavailable]:
        status = self._sysfs.read_text(f"{PCI_DEVICES}/{pci_address}/power/runtime_status")
        if isinstance(status, Unavailable):
            return PowerState.UNKNOWN, status
        state = _STATES.get(status, PowerState.UNKNOWN)
        if state is PowerState.UNKNOWN:
            return state, Unavailable.because("power_state_odd", detail=status[:40])
        return state, Unavailable.because("asleep")


def scaled(raw: Raw[int], factor: float, at_s: float) -> Maybe[float]:
    """A file's whole number in the unit that we use."""
    return raw if isinstance(raw, Unavailable) else Reading(raw * factor, at_s)


def _trouble(path: str, error: OSError) -> Unavailable:
    if error.errno in _FORBIDDEN:
        return Forbidden.because("file_forbidden", file=path)
    words = _TROUBLE.get(error.errno or 0, f"cannot be read: {error.strerror}")
    return Unavailable.because("file_unreadable", file=path, detail=words)
