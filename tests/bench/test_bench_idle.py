"""What the benchmark of idling counts, and how it says it."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from bench import procfs, woken_daemon
from bench.idle import Idle, render, watch

LATER = (
    "import threading, time; threading.Thread(target=lambda: [time.sleep(0.01) for _ in range(1000)]).start(); input()"
)


def idle(name: str, voluntary: int, cpu_ms: float) -> Idle:
    return Idle(name, 10.0, voluntary, 1, cpu_ms, 60_000_000, 6)


def test_the_wakings_of_every_thread_are_counted() -> None:
    with subprocess.Popen([sys.executable, "-c", LATER], stdin=subprocess.PIPE) as process:
        try:
            while procfs.threads(process.pid) < 2:
                time.sleep(0.01)
            (seen,) = watch([("a thread that wakes 100 times a second", process.pid)], 0.5)
        finally:
            process.kill()
    assert seen.voluntary > 0
    assert seen.threads == 2
    assert 0 < seen.cpu_percent < 100


def test_the_processor_time_is_that_of_the_process_itself() -> None:
    theirs_s, began_s = procfs.cpu_clock_s(os.getpid()), time.process_time()
    while time.process_time() - began_s < 0.05:
        pass
    used_s = procfs.cpu_clock_s(os.getpid()) - theirs_s
    assert used_s >= 0.05


def test_the_table_says_what_woke_the_daemon_how_often_and_what_ran_then() -> None:
    woken = [(("task a", "task b"), 2), (("task b",), 4), (("task a", "task c"), 1)]
    text = render([replace(idle("sensors", 5, 1.0), woken=woken)])
    assert "| sensors | 3 of 7 | task a | task b, task c |" in text
    assert text.index("| sensors | 4 of 7 | task b | - |") < text.index("| task a |")


def test_work_after_a_silence_is_another_wakeup(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(woken_daemon, "_source", lambda _frame, name: name)
    monkeypatch.setattr(woken_daemon, "_name", lambda code: code.co_name)
    wakes, frame = woken_daemon.Wakes(lambda: now_s), sys._getframe()
    wakes.note(frame, "call", None)
    now_s += woken_daemon.QUIET_S / 2
    wakes.note(frame, "call", None)
    now_s += woken_daemon.QUIET_S * 2
    wakes.note(frame, "call", None)
    assert wakes.told() == [([frame.f_code.co_name], 2)]


def test_the_table_has_each_situation_and_what_the_sensors_add() -> None:
    text = render([idle("nothing to watch", 0, 1.0), idle("sensors", 4, 3.0)])
    assert "| sensors | 0.400 | 0.100 | 0.300 | 0.0300 | 60.0 | 6 |" in text
    assert text.endswith(
        "The sensors add 0.400 wake-ups a second and 0.0200 % of a core (3.00 times that of the daemon without them)."
    )
    assert "against none in the daemon without them" in render(
        [idle("nothing to watch", 0, 0.0), idle("sensors", 4, 3.0)]
    )
