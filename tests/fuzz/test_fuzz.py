"""The rules of the fuzzer's targets hold for the inputs that it kept, and at each desk for some thousand others."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import NOTHING_SKIPPED
from tests.fuzz.kept import kept
from tests.fuzz.targets import TARGETS
from tests.real_things import ROOT, installed

RUNS = 0 if NOTHING_SKIPPED else 4000
"""libFuzzer goes elsewhere each time, whatever its seed; .ci/run tries the kept inputs alone, the same each time."""


@pytest.mark.parametrize("target", TARGETS)
def test_the_rules_hold_for_all_that_was_found_before(target: str) -> None:
    for each in kept(target):
        TARGETS[target](each)


@pytest.mark.real
@pytest.mark.timeout(600)
@pytest.mark.parametrize("target", TARGETS)
def test_the_fuzzer_finds_nothing_that_breaks_a_rule(target: str, tmp_path: Path) -> None:
    python = installed("fuzz", "--env")
    found = tmp_path / "found"
    subprocess.run([python, "-m", "tests.fuzz.kept", "unpack", target, found], cwd=ROOT, check=True)
    options = (f"-runs={RUNS}", "-seed=1", "-max_len=2048", "-timeout=60", f"-artifact_prefix={tmp_path}/")
    done = subprocess.run(
        [python, "-m", "tests.fuzz.run", target, found, *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    tried = re.search(r"^Done (\d+) runs", done.stderr, re.MULTILINE)
    assert tried is not None
    assert int(tried[1]) >= max(RUNS, len(kept(target)))
