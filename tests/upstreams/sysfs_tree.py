"""A laptop's /sys in a folder: for unit tests as the sensors' root, for the fake laptop laid over the real one."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Attributes = Mapping[str, object]

XE_GPU = "0000:00:02.0"
NPU = "0000:00:0b.0"
NVIDIA_GPU = "0000:01:00.0"
AMD_GPU = "0000:03:00.0"
PCI_BUS = "devices/pci0000:00"


class SysfsTree:
    """Writes a sysfs of plain files; every method that adds something returns its folder, relative to the root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, relative: str) -> Path:
        return self.root / relative

    def write(self, relative: str, value: object) -> Path:
        """Make or change a file in place, as the kernel does: an open descriptor and an overlay see the new value."""
        path = self.path(relative)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = f"{value}\n"
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            # never shorter than before until the old end is overwritten: no reader sees two values mixed
            os.pwrite(handle, content.ljust(os.fstat(handle).st_size, "\n").encode(), 0)
            os.ftruncate(handle, len(content.encode()))
        finally:
            os.close(handle)
        return path

    def empty(self, relative: str) -> None:
        """A file as a reader sees it between a writer's two steps."""
        self.path(relative).write_bytes(b"")

    def remove(self, relative: str) -> None:
        path = self.path(relative)
        if path.is_dir() and not path.is_symlink():
            for child in path.iterdir():
                self.remove(str(child.relative_to(self.root)))
            path.rmdir()
        else:
            path.unlink()

    def link(self, relative: str, target: str) -> None:
        path = self.path(relative)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_symlink():
            path.symlink_to(os.path.relpath(self.path(target), path.parent))

    def add(self, subsystem: str, name: str, parent: str, attributes: Attributes, driver: str = "") -> str:
        """A device below its parent, with the links that the kernel makes."""
        on_bus = subsystem in {"pci", "platform"}
        folder = f"{parent}/{name}" if on_bus else f"{parent}/{subsystem}/{name}"
        for attribute, value in attributes.items():
            self.write(f"{folder}/{attribute}", value)
        if "uevent" not in attributes:
            self.write(f"{folder}/uevent", f"DRIVER={driver}" if driver else "")
        self.link(f"{folder}/subsystem", f"{'bus' if on_bus else 'class'}/{subsystem}")
        self.link(f"bus/{subsystem}/devices/{name}" if on_bus else f"class/{subsystem}/{name}", folder)
        if not on_bus and "/virtual" not in parent:
            self.link(f"{folder}/device", parent)
        if driver:
            self.path(f"bus/{subsystem}/drivers/{driver}").mkdir(parents=True, exist_ok=True)
            self.link(f"{folder}/driver", f"bus/{subsystem}/drivers/{driver}")
        return folder

    def pci(self, address: str, ids: str, kind: str, driver: str = "", **more: Any) -> str:
        """A PCI device by its `vendor:device` and class, awake unless said otherwise."""
        vendor, _, model = ids.partition(":")
        attributes = {
            "vendor": f"0x{vendor}",
            "device": f"0x{model}",
            "class": f"0x{kind}",
            "power_state": "D0",
            "power/control": "auto",
            "power/runtime_status": "active",
            "uevent": f"DRIVER={driver}\nPCI_CLASS={kind.lstrip('0')}\nPCI_ID={ids.upper()}\nPCI_SLOT_NAME={address}",
        }
        return self.add("pci", address, PCI_BUS, attributes | more, driver)

    def sleep(self, address: str) -> None:
        self.write(f"bus/pci/devices/{address}/power/runtime_status", "suspended")
        self.write(f"bus/pci/devices/{address}/power_state", "D3cold")

    def wake(self, address: str) -> None:
        self.write(f"bus/pci/devices/{address}/power/runtime_status", "active")
        self.write(f"bus/pci/devices/{address}/power_state", "D0")

    def hwmon(self, number: int, parent: str, name: str, **attributes: Any) -> str:
        return self.add("hwmon", f"hwmon{number}", parent, {"name": name} | attributes)

    # The parts of a laptop

    def coretemp(self, celsius: float = 55, number: int = 0) -> str:
        package = {"temp1_input": int(celsius * 1000), "temp1_label": "Package id 0"}
        limits = {"temp1_max": 100000, "temp1_crit": 110000, "temp2_crit": 110000}
        core = {"temp2_input": int(celsius * 1000) - 3000, "temp2_label": "Core 0"}
        return self.hwmon(number, "devices/platform/coretemp.0", "coretemp", **package, **limits, **core)

    def fan(self, rpm: int = 2400, most_rpm: int | None = None, number: int = 1) -> str:
        most = {} if most_rpm is None else {"fan1_max": most_rpm}
        parent = "devices/platform/thinkpad_hwmon"
        return self.hwmon(
            number, parent, "thinkpad", fan1_input=rpm, pwm1=128, pwm1_enable=2, temp1_input=47000, **most
        )

    def disk(self, number: int = 2) -> str:
        parent = f"{PCI_BUS}/0000:00:0e.0/nvme/nvme0"
        return self.hwmon(number, parent, "nvme", temp1_input=38850, temp1_crit=84850, temp1_label="Composite")

    def thermal_zone(self, celsius: float = 55, kind: str = "x86_pkg_temp") -> str:
        trips = {"trip_point_0_type": "passive", "trip_point_0_temp": 95000}
        trips |= {"trip_point_1_type": "critical", "trip_point_1_temp": 105000}
        zone = {"type": kind, "temp": int(celsius * 1000), "policy": "step_wise", "mode": "enabled"}
        return self.add("thermal", "thermal_zone0", "devices/virtual", zone | trips)

    def rapl(self, mode: int = 0o400) -> str:
        """The package (whose folder is returned), its parts and the whole platform; as a rule for root alone."""
        domains = {
            "intel-rapl:0": ("package-0", 123456789),
            "intel-rapl:0:0": ("core", 23456789),
            "intel-rapl:0:1": ("uncore", 3456789),
            "intel-rapl:1": ("psys", 999999999),
            "intel-rapl-mmio:0": ("package-0", 123456789),
        }
        for domain, (name, energy_uj) in domains.items():
            values = {"name": name, "energy_uj": energy_uj, "max_energy_range_uj": 262143328850, "enabled": 0}
            self.path(self.add("powercap", domain, "devices/virtual", values) + "/energy_uj").chmod(mode)
        return "class/powercap/intel-rapl:0"

    def xe_gpu(self, number: int = 3, *, card: bool = False) -> str:
        """Intel's graphics under xe: integrated, or a card with its own monitor."""
        engine = {"freq0/act_freq": 800, "freq0/max_freq": 2250, "gtidle/idle_residency_ms": 123456}
        engine |= {"freq0/throttle/status": 0, "freq0/throttle/reason_thermal": 0, "freq0/throttle/reason_pl1": 0}
        address = "0000:04:00.0" if card else XE_GPU
        tile = {f"tile0/gt0/{name}": value for name, value in engine.items()}
        folder = self.pci(address, "8086:e20b" if card else "8086:7d55", "030000", "xe", **tile)
        self.add("drm", "card1", folder, {"dev": "226:1"})
        if card:
            power = {"energy1_input": 55555555, "energy2_input": 44444444, "power1_max": 190000000}
            heat = {"temp2_input": 51000, "temp2_label": "pkg", "temp2_crit": 105000, "fan1_input": 900}
            self.hwmon(number, folder, "xe", **power, **heat)
        return folder

    def i915_gpu(self) -> str:
        folder = self.pci(XE_GPU, "8086:46a6", "030000", "i915")
        engine = {"rc6_residency_ms": 5000, "throttle_reason_status": 0, "throttle_reason_thermal": 0}
        card = {"dev": "226:1"} | {f"gt/gt0/{name}": value for name, value in engine.items()}
        self.add("drm", "card1", folder, card)
        return folder

    def amd_gpu(self, number: int = 4, *, integrated: bool = False) -> str:
        busy = {"gpu_busy_percent": 7, "mem_busy_percent": 1}
        vram = {"mem_info_vram_used": 1 << 20, "mem_info_vram_total": 16 << 30}
        gtt = {"mem_info_gtt_used": 2 << 20, "mem_info_gtt_total": 8 << 30}
        folder = self.pci(AMD_GPU, "1002:7550", "030000", "amdgpu", **busy, **vram, **gtt)
        self.add("drm", "card2", folder, {"dev": "226:2"})
        values: dict[str, Any] = {"temp1_input": 43000, "temp1_label": "edge", "temp1_crit": 100000}
        values |= {"power1_average": 12000000, "freq1_input": 500000000, "freq1_label": "sclk", "in0_input": 700}
        if integrated:
            values |= {"in1_input": 900, "in1_label": "vddnb"}
        else:
            values |= {"temp2_input": 58000, "temp2_label": "junction", "temp2_crit": 110000}
            values |= {"fan1_input": 1650, "fan1_max": 3300}
        self.hwmon(number, folder, "amdgpu", **values)
        return folder

    def nvidia_gpu(self, address: str = NVIDIA_GPU, driver: str = "nvidia") -> str:
        folder = self.pci(address, "10de:28a0", "030200", driver)
        self.add("drm", "card0", folder, {"dev": "226:0"})
        return folder

    def intel_npu(self) -> str:
        values = {"npu_busy_time_us": 1000000, "npu_current_frequency_mhz": 0, "npu_max_frequency_mhz": 1400}
        values |= {"npu_memory_utilization": 4096, "sched_mode": "HW"}
        folder = self.pci(NPU, "8086:7d1d", "120000", "intel_vpu", **values)
        self.add("accel", "accel0", folder, {"dev": "261:0"})
        return folder

    def mains(self, *, online: bool = True) -> str:
        return self._supply("AC", {"type": "Mains", "online": int(online)})

    def battery(self, percent: int = 80, status: str = "Discharging") -> str:
        energy = {"energy_now": percent * 500000, "energy_full": 50000000, "energy_full_design": 57000000}
        cell = {"power_now": 9500000, "voltage_now": 12000000, "technology": "Li-ion", "cycle_count": 120}
        return self._supply(
            "BAT0", {"type": "Battery", "status": status, "present": 1, "capacity": percent} | energy | cell
        )

    def _supply(self, name: str, values: Attributes) -> str:
        words = [f"POWER_SUPPLY_NAME={name}", *(f"POWER_SUPPLY_{key.upper()}={value}" for key, value in values.items())]
        return self.add("power_supply", name, "devices/virtual", {**values, "uevent": "\n".join(words)})

    def cpus(self, count: int = 4) -> str:
        folder = "devices/system/cpu"
        for number in range(count):
            policy = f"{folder}/cpufreq/policy{number}"
            speeds = {"scaling_cur_freq": 1800000, "scaling_min_freq": 400000, "scaling_max_freq": 4800000}
            speeds |= {"cpuinfo_min_freq": 400000, "cpuinfo_max_freq": 4800000}
            words = {"scaling_governor": "powersave", "energy_performance_preference": "balance_performance"}
            choices = "default performance balance_performance balance_power power"
            words["energy_performance_available_preferences"] = choices
            for name, value in (speeds | words).items():
                self.write(f"{policy}/{name}", value)
            self.link(f"{folder}/cpu{number}/cpufreq", policy)
            self.write(f"{folder}/cpu{number}/topology/physical_package_id", 0)
            self.write(f"{folder}/cpu{number}/thermal_throttle/package_throttle_count", 3)
        self.write(f"{folder}/online", f"0-{count - 1}")
        return folder

    def firmware(self) -> None:
        """What power-profiles-daemon and logind look at."""
        self.write("firmware/acpi/platform_profile", "balanced")
        self.write("firmware/acpi/platform_profile_choices", "low-power balanced performance")
        for name, value in {"no_turbo": 0, "status": "active", "turbo_pct": 50}.items():
            self.write(f"devices/system/cpu/intel_pstate/{name}", value)
        for name, word in {"state": "freeze mem", "mem_sleep": "[s2idle]", "wakeup_count": 0}.items():
            self.write(f"power/{name}", word)


def laptop(root: Path) -> SysfsTree:
    """A whole laptop on battery: Intel's graphics awake, an NVIDIA GPU and the NPU asleep, an AMD GPU beside them."""
    tree = SysfsTree(root)
    tree.cpus()
    tree.coretemp()
    tree.fan()
    tree.disk()
    tree.thermal_zone()
    tree.rapl()
    tree.xe_gpu()
    tree.amd_gpu()
    tree.nvidia_gpu()
    tree.intel_npu()
    tree.sleep(NVIDIA_GPU)
    tree.sleep(NPU)
    tree.mains(online=False)
    tree.battery()
    tree.firmware()
    return tree


if __name__ == "__main__":
    made = laptop(Path(sys.argv[1]))
    sys.stdout.write(json.dumps({"root": str(made.root)}) + "\n")
