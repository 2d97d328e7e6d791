"""A test that hangs fails at its limit, however it hangs, and the run goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real_things import ROOT

WAYS_TO_HANG = {
    "an event that is never set": "async def test_hangs(): await asyncio.Event().wait()",
    "a lock that is never released": "def test_hangs(): lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "a task that never rests, and takes the failure for its own": """
async def test_hangs():
    async def spin():
        while True: await asyncio.sleep(0)
    task = asyncio.create_task(spin())
    await asyncio.Event().wait()
""",
    "a coroutine that refuses to be cancelled": """
async def test_hangs():
    while True:
        try: await asyncio.sleep(100)
        except asyncio.CancelledError: pass
""",
    "a task that is busy until the failure ends it": """
async def test_hangs():
    async def spin():
        while True: pass
    await asyncio.wait([asyncio.create_task(spin())])
""",
    "a fixture before the test": """
@pytest.fixture
async def stuck(): await asyncio.Event().wait()
async def test_hangs(stuck): pass
""",
    "a fixture after a test that hung": """
@pytest.fixture
async def stuck():
    yield
    await asyncio.Event().wait()
async def test_hangs(stuck): await asyncio.Event().wait()
""",
}


def run_with_limit(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(code)
    plugins = ["-p", "tests.time_limit", "-p", "no:hypothesispytest", "-p", "no:xdist"]
    options = ["--timeout=0.3", "-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
    run = [sys.executable, "-m", "pytest", *plugins, *options, "--rootdir", str(folder), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(run, env=environment, cwd=folder, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("code", WAYS_TO_HANG.values(), ids=WAYS_TO_HANG)
def test_a_test_that_hangs_fails_and_the_run_goes_on(tmp_path: Path, code: str) -> None:
    done = run_with_limit(tmp_path, f"import asyncio, threading\nimport pytest\n{code}\ndef test_next(): pass\n")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "test_hangs - Failed: Timeout" in done.stdout, done.stdout


def test_a_process_that_cannot_end_is_ended(tmp_path: Path) -> None:
    code = "import threading; from tests import time_limit; time_limit.EXIT_S = 1; time_limit.pytest_unconfigure(); "
    hang = [sys.executable, "-c", code + "threading.Thread(target=threading.Event().wait).start()"]
    assert subprocess.run(hang, cwd=ROOT, timeout=30, check=False).returncode == -signal.SIGALRM


def test_what_is_installed_takes_nothing_of_a_tests_time(tmp_path: Path) -> None:
    code = """
import time
from tests import timer
def test_installs():
    with timer.stopped(): time.sleep(0.5)
def test_hangs():
    with timer.stopped(): pass
    time.sleep(5)
"""
    done = run_with_limit(tmp_path, code)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "test_hangs - Failed: Timeout" in done.stdout, done.stdout
