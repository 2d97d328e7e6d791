"""Which device of the machine a backend runs on, so that its heat, power and sleep count."""

from ollama_proxyd.core.fleet import BackendSpec, Hardware
from ollama_proxyd.core.readings import DeviceState


def device_of(spec: BackendSpec, devices: tuple[DeviceState, ...]) -> DeviceState | None:
    """The device that was named by its address, else the only one of its class; None where that is not certain."""
    if spec.pci_address is not None:
        return next((device for device in devices if device.id == spec.pci_address), None)
    if not spec.is_local or spec.hardware is Hardware.UNKNOWN:
        return None
    found = [device for device in devices if device.hardware is spec.hardware]
    return found[0] if len(found) == 1 else None


def why_unbound(spec: BackendSpec, devices: tuple[DeviceState, ...]) -> str | None:
    """Why no device is known for a backend, None where none is to be expected."""
    if spec.pci_address is not None:
        return f"no sensor speaks for the device at {spec.pci_address}, so its heat and sleep are not counted"
    if not devices or not spec.is_local or spec.hardware is Hardware.UNKNOWN:
        return None
    name, count = spec.hardware.value, sum(device.hardware is spec.hardware for device in devices)
    if count == 0:
        return f"no sensor speaks for a device of class {name}, so its heat and sleep are not counted"
    return f"there are {count} devices of class {name} and pci_address names none, so heat and sleep are not counted"
