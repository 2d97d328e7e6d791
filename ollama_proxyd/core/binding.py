"""Which device of the machine a backend runs on, so that its heat, power and sleep count."""

from collections import Counter

from ollama_proxyd.core.fleet import BackendSpec, Hardware
from ollama_proxyd.core.memo import by_identity
from ollama_proxyd.core.readings import DeviceState
from ollama_proxyd.core.reasons import Reason


def device_of(spec: BackendSpec, devices: tuple[DeviceState, ...]) -> DeviceState | None:
    """The device that was named by its address, else the only one of its class; None where that is not certain."""
    if spec.pci_address is not None:
        return next((device for device in devices if device.id == spec.pci_address), None)
    if not spec.is_local or spec.hardware is Hardware.UNKNOWN:
        return None
    found = None
    for device in devices:
        if device.hardware is spec.hardware:
            if found is not None:
                return None
            found = device
    return found


def is_same_device(spec: BackendSpec, now: tuple[DeviceState, ...], was: tuple[DeviceState, ...]) -> bool:
    """Whether the same is known of a backend's device, or nothing for the same reason."""
    if now is was:
        return True
    found = device_of(spec, now)
    if found is not device_of(spec, was) or bool(now) is not bool(was):
        return False
    return found is not None or _counted(now)[spec.hardware] == _counted(was)[spec.hardware]


@by_identity
def _counted(devices: tuple[DeviceState, ...]) -> Counter[Hardware]:
    """How many there are of each class."""
    return Counter([device.hardware for device in devices])


_IN_PROCESSOR = frozenset({Hardware.NPU, Hardware.IGPU, Hardware.CPU})


def shares_memory(spec: BackendSpec) -> bool:
    """Whether a backend's device has the processor's memory, whose bandwidth all such devices share."""
    return spec.is_local and spec.hardware in _IN_PROCESSOR


def chip_of(spec: BackendSpec, device: DeviceState | None) -> str:
    """The chip whose memory a backend's device shares with others; its own where it is not known."""
    if shares_memory(spec):
        return "processor"
    return spec.id if device is None else device.id


def why_unbound(spec: BackendSpec, devices: tuple[DeviceState, ...]) -> Reason | None:
    """Why no device is known for a backend, None where none is to be expected."""
    if spec.pci_address is not None:
        return Reason("device_not_sensed", pci_address=spec.pci_address)
    if not devices or not spec.is_local or spec.hardware is Hardware.UNKNOWN:
        return None
    name, count = spec.hardware.value, _counted(devices)[spec.hardware]
    if count == 0:
        return Reason("class_not_sensed", hardware=name)
    return Reason("class_ambiguous", count=count, hardware=name)
