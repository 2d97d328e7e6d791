"""Reading sysfs: every trouble is an answer that names the path, and a sleeping device is never asked."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ollama_proxyd.core.readings import PowerState, Unavailable
from ollama_proxyd.edges.plumbing.sysfs import DeviceGate, Forbidden, Sysfs
from tests.reasons import why
from tests.upstreams.sysfs_tree import NVIDIA_GPU, SysfsTree


@pytest.fixture
def tree(tmp_path: Path) -> SysfsTree:
    return SysfsTree(tmp_path)


def refuse(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def opening(path: str, *_: object, **__: Any) -> int:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "open", opening)


def test_a_file_is_read_without_the_space_around_it(tree: SysfsTree) -> None:
    tree.write("class/a/name", "  coretemp ")
    assert Sysfs(tree.root).read_text("class/a/name") == "coretemp"


def test_a_number_may_be_negative(tree: SysfsTree) -> None:
    tree.write("class/a/temp1_input", -5000)
    assert Sysfs(tree.root).read_int("class/a/temp1_input") == -5000


def test_a_half_written_file_is_no_value(tree: SysfsTree) -> None:
    tree.empty(str(tree.write("a", 1).relative_to(tree.root)))
    assert why(Sysfs(tree.root).read_int("a")) == f"{tree.root}/a was empty"


def test_words_in_the_place_of_a_number_are_no_value(tree: SysfsTree) -> None:
    tree.write("a", "<unset>")
    assert why(Sysfs(tree.root).read_int("a")) == f"{tree.root}/a says '<unset>', which is not a number"


def test_a_number_that_no_float_holds_costs_its_file_alone(tree: SysfsTree) -> None:
    """A sum over all files of a sensor would end for one of them."""
    tree.write("a", "9" * 400)
    assert why(Sysfs(tree.root).reading("a", 1.0, 0.001)) == f"{tree.root}/a says '{'9' * 40}', which is not a number"
    tree.write("a", -(2**63))
    assert Sysfs(tree.root).read_int("a") == -(2**63)


def test_a_missing_file_is_no_value_and_the_reason_names_it(tree: SysfsTree) -> None:
    assert why(Sysfs(tree.root).read_text("class/none")) == f"{tree.root}/class/none is not there"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENODEV, "has lost its device"),
        (errno.ENXIO, "has lost its device"),
        (errno.EIO, "could not be read by its driver"),
        (errno.EBUSY, "cannot be read: Device or resource busy"),
    ],
)
def test_a_driver_in_trouble_is_no_value(monkeypatch: pytest.MonkeyPatch, number: int, words: str) -> None:
    refuse(monkeypatch, number)
    assert why(Sysfs("/s").read_text("a")) == f"/s/a {words}"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_what_is_forbidden_can_be_told_from_what_is_missing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    refuse(monkeypatch, number)
    assert Sysfs("/s").read_int("a") == Forbidden.because("file_forbidden", file="/s/a")


def test_no_descriptor_stays_open_when_reading_fails(monkeypatch: pytest.MonkeyPatch, tree: SysfsTree) -> None:
    def reading(_handle: int, _count: int) -> bytes:
        raise OSError(errno.EIO, "broken")

    tree.write("a", 1)
    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(os, "read", reading)
    assert isinstance(Sysfs(tree.root).read_text("a"), Unavailable)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_folder_that_is_not_there_has_no_children(tree: SysfsTree) -> None:
    tree.write("class/b", 1)
    tree.write("class/a", 1)
    assert Sysfs(tree.root).children("class") == ("a", "b")
    assert Sysfs(tree.root).children("bus") == ()


def test_a_link_tells_the_name_of_the_driver(tree: SysfsTree) -> None:
    tree.nvidia_gpu()
    sysfs = Sysfs(tree.root)
    assert sysfs.link(f"bus/pci/devices/{NVIDIA_GPU}/driver") == "nvidia"
    assert sysfs.link(f"bus/pci/devices/{NVIDIA_GPU}/no") == ""


def test_a_value_that_grows_and_shrinks_is_never_seen_torn(tree: SysfsTree) -> None:
    sysfs = Sysfs(tree.root)
    for value in (7, 123456, 42, 5):
        tree.write("a", value)
        assert sysfs.read_int("a") == value


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("active", PowerState.AWAKE),
        ("suspended", PowerState.ASLEEP),
        ("suspending", PowerState.ASLEEP),
        ("resuming", PowerState.ASLEEP),
        ("error", PowerState.UNKNOWN),
        ("unsupported", PowerState.UNKNOWN),
    ],
)
def test_a_device_is_asked_only_when_the_kernel_calls_it_active(
    tree: SysfsTree, status: str, state: PowerState
) -> None:
    tree.nvidia_gpu()
    tree.write(f"bus/pci/devices/{NVIDIA_GPU}/power/runtime_status", status)
    gate, asked = DeviceGate(Sysfs(tree.root)), list[str]()
    told, answer = gate.ask(NVIDIA_GPU, lambda: asked.append("asked") or 40)
    assert told is state
    assert (answer == 40) == (asked == ["asked"]) == (state is PowerState.AWAKE)


def test_a_device_that_sleeps_answers_asleep(tree: SysfsTree) -> None:
    tree.nvidia_gpu()
    tree.sleep(NVIDIA_GPU)
    assert why(DeviceGate(Sysfs(tree.root)).ask(NVIDIA_GPU, lambda: 40)[1]) == "asleep"


def test_a_device_whose_state_cannot_be_read_is_not_asked(tree: SysfsTree) -> None:
    tree.nvidia_gpu()
    tree.empty(f"bus/pci/devices/{NVIDIA_GPU}/power/runtime_status")
    gate = DeviceGate(Sysfs(tree.root))
    for address in (NVIDIA_GPU, "0000:09:00.0"):
        state, answer = gate.ask(address, lambda: 40)
        assert state is PowerState.UNKNOWN
        assert isinstance(answer, Unavailable)
