"""The kept inputs of the fuzzer: one file for each target, an input a line, in Base64.

usage: python -m tests.fuzz.kept unpack|pack TARGET FOLDER     to or from a file for each input
       python -m tests.fuzz.kept add TARGET FILE
"""

import sys
from base64 import b64decode, b64encode
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).parent / "kept"


def kept(target: str) -> list[bytes]:
    """The kept inputs of a target."""
    return [b64decode(line) for line in (FOLDER / target).read_text().split()]


def _keep(target: str, inputs: Iterable[bytes]) -> None:
    lines = sorted({b64encode(each).decode() for each in inputs}, key=lambda line: (len(line), line))
    (FOLDER / target).write_text("\n".join(lines) + "\n")


def main(action: str, target: str, where: str) -> None:
    """Do one of the actions."""
    path = Path(where)
    if action == "unpack":
        path.mkdir(parents=True, exist_ok=True)
        for each in kept(target):
            (path / sha256(each).hexdigest()).write_bytes(each)
    elif action == "pack":
        _keep(target, (each.read_bytes() for each in path.iterdir()))
    else:
        _keep(target, [*kept(target), path.read_bytes()])


if __name__ == "__main__":
    main(*sys.argv[1:])
