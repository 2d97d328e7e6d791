"""NVIDIA's real Python binding over a driver library of our own: names, arguments, types and errors as they are."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
ASK = """
import json
from ollama_proxyd.core.readings import Reading, Unavailable
from ollama_proxyd.edges.sensors.nvml import Nvml
nvml = Nvml()
def plain(value):
    if isinstance(value, Reading):
        return value.value
    return {"reason": str(value.reason)} if isinstance(value, Unavailable) else value
def said(address):
    answer = nvml.read(address, 1.0)
    return plain(answer) if isinstance(answer, Unavailable) else {name: plain(each) for name, each in answer.items()}
first = said("0000:01:00.0")
nvml.close()
print(json.dumps([first, said("0000:41:00.0"), said("0000:01:00.0") == first]))
"""


def answers(folder: Path) -> Any:
    """What our code says of a GPU that is there, of one that is not, and whether it says the same in a new session."""
    environ = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", ASK], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_the_real_binding_says_everything_in_our_units(tmp_path: Path) -> None:
    library, source = tmp_path / "libnvidia-ml.so.1", ROOT / "tests" / "upstreams" / "nvml.c"
    subprocess.run(
        [str(COMPILER), "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", library, source], check=True
    )
    there, absent, again = answers(tmp_path)
    assert there == {
        "name": "NVIDIA GeForce RTX 4060 Laptop GPU",
        "temperature_c": 48,
        "critical_c": 87,
        "fan_percent": {"reason": "nvmlDeviceGetFanSpeed: Not Supported"},
        "fan_rpm": {"reason": "the driver is too old for nvmlDeviceGetFanSpeedRPM"},
        "power_w": pytest.approx(23.5),
        "energy_j": pytest.approx(5_000_000.0),
        "utilisation_percent": 30,
        "memory_used_bytes": 1 << 30,
        "memory_total_bytes": 8 << 30,
        "throttling": "hardware thermal slowdown",
    }
    assert absent == {"reason": "nvmlDeviceGetHandleByPciBusId: Not Found"}
    assert again


def test_without_the_drivers_library_the_reason_says_so(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("no library")
    there, _, again = answers(tmp_path)
    assert there == {"reason": "NVML does not start: NVML Shared Library Not Found"}
    assert again
