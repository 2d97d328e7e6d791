"""The sensors of this machine, wired: the processor, the accelerators that sysfs speaks for, NVIDIA's GPUs."""

from collections.abc import Callable
from pathlib import Path

from ollama_proxyd.edges.plumbing.sysfs import DeviceGate, Sysfs
from ollama_proxyd.edges.sensors.accelerators import Accelerators
from ollama_proxyd.edges.sensors.cpu import Cpu, model_name
from ollama_proxyd.edges.sensors.nvidia import Nvidia
from ollama_proxyd.edges.sensors.nvml import Nvml
from ollama_proxyd.edges.sensors.reading_thread import ReadingThread
from ollama_proxyd.edges.sensors.sampled import Sampled
from ollama_proxyd.services.ports import Clock


def sensors(sysfs_root: str | Path, clock: Clock, in_use: Callable[[str], bool]) -> tuple[Sampled, ...]:
    """Three polled sensors: "cpu", "accelerators" and "nvidia"; devices that come later appear in them by themselves.

    `in_use` tells whether requests run on the device with this PCI address (called from a worker thread): an NVIDIA
    device in use is always read, an idle one is left alone so that it can sleep. Each device is spoken for by one
    sensor. `Hotplug(sensors)` makes them follow devices that come and go.
    """
    sysfs = Sysfs(sysfs_root)
    gate = DeviceGate(sysfs)
    thread = ReadingThread()
    return (
        Sampled("cpu", clock, Cpu(sysfs, model_name()), thread),
        Sampled("accelerators", clock, Accelerators(sysfs, gate), thread),
        Sampled("nvidia", clock, Nvidia(sysfs, gate, Nvml(), in_use), thread),
    )
