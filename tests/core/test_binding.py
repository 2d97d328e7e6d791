"""Which device a backend is taken to run on."""

from dataclasses import replace

from ollama_proxyd.core.binding import device_of, why_unbound
from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.readings import DeviceState
from tests.core.reference_profile import REFERENCE

NPU, IGPU, NVIDIA, CPU = (view.spec for view in REFERENCE)
FIRST = DeviceState("0000:01:00.0", Hardware.NVIDIA, "first")
SECOND = DeviceState("0000:02:00.0", Hardware.NVIDIA, "second")
PROCESSOR = DeviceState("cpu", Hardware.CPU, "processor")


def test_the_only_device_of_its_class_is_the_one() -> None:
    assert device_of(NVIDIA, (PROCESSOR, FIRST)) is FIRST
    assert device_of(CPU, (PROCESSOR, FIRST)) is PROCESSOR
    assert device_of(NPU, (PROCESSOR, FIRST)) is None


def test_of_two_devices_the_address_tells_which() -> None:
    assert device_of(NVIDIA, (FIRST, SECOND)) is None
    assert device_of(replace(NVIDIA, pci_address="0000:02:00.0"), (FIRST, SECOND)) is SECOND


def test_an_address_counts_whatever_the_class() -> None:
    arc = DeviceState("0000:03:00.0", Hardware.UNKNOWN, "a card of no class that has a name")
    assert device_of(replace(IGPU, pci_address="0000:03:00.0"), (PROCESSOR, arc)) is arc


def test_an_address_that_is_not_there_is_no_other_device() -> None:
    gone = replace(NVIDIA, pci_address="0000:09:00.0")
    assert device_of(gone, (FIRST,)) is None
    assert "0000:09:00.0" in str(why_unbound(gone, (FIRST,)))


def test_a_backend_elsewhere_runs_on_no_device_here() -> None:
    far = replace(NVIDIA, is_local=False)
    assert device_of(far, (FIRST,)) is None
    assert why_unbound(far, (FIRST,)) is None


def test_unknown_hardware_runs_on_no_device_that_is_known() -> None:
    mystery = replace(NVIDIA, hardware=Hardware.UNKNOWN)
    assert device_of(mystery, (replace(FIRST, hardware=Hardware.UNKNOWN),)) is None
    assert why_unbound(mystery, (FIRST,)) is None
