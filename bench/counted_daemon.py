"""The daemon, which counts calls of its own functions from SIGUSR1 to SIGUSR2, by the chain of callers of each."""

import json
import os
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

OUTPUT = "CALLS_FILE"
PACKAGE = "ollama_proxyd"
_chains: Counter[tuple[str, ...]] = Counter()
_names: dict[CodeType, str] = {}


def _name(code: CodeType) -> str:
    """The module and the name of a function of the project; empty for any other."""
    if code not in _names:
        _, found, path = code.co_filename.rpartition(f"/{PACKAGE}/")
        _names[code] = f"{path.removesuffix('.py')}:{code.co_name}" if found else ""
    return _names[code]


def _count(frame: FrameType, event: str, _argument: object) -> None:
    if event != "call" or not _name(frame.f_code):
        return
    chain: list[str] = []
    caller: FrameType | None = frame
    while caller is not None:
        if name := _name(caller.f_code):
            chain.append(name)
        caller = caller.f_back
    _chains[tuple(reversed(chain))] += 1


def _begin(_signum: int, _frame: FrameType | None) -> None:
    _chains.clear()
    sys.setprofile(_count)


def _end(_signum: int, _frame: FrameType | None) -> None:
    sys.setprofile(None)
    output = Path(os.environ[OUTPUT])
    partial = output.with_suffix(".part")
    partial.write_text(json.dumps([[*chain, count] for chain, count in _chains.items()]))
    partial.rename(output)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _begin)
    signal.signal(signal.SIGUSR2, _end)
    runpy.run_module(PACKAGE, run_name="__main__")
