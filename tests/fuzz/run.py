"""Fuzzes one target, guided by the branches that its inputs reach.

usage: python -m tests.fuzz.run TARGET FOLDER... [libFuzzer's options, such as -max_total_time=60]
"""

import sys

import atheris

with atheris.instrument_imports(include=["ollama_proxyd.dialects", "ollama_proxyd.edges", "ollama_proxyd.core.text"]):
    from tests.fuzz.targets import TARGETS

name = sys.argv.pop(1)
sys.argv[0] = f"{sys.executable} -m tests.fuzz.run {name}"  # how libFuzzer starts itself to find the least inputs
atheris.Setup(sys.argv, TARGETS[name])
atheris.Fuzz()
