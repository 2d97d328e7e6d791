"""The first lines of `scripts/install` and its like: finds the code of this checkout."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from installation import deb, main  # noqa: E402 - the path comes first

what, words = sys.argv[1], sys.argv[2:]
sys.exit(deb.main(words) if what == "build-deb" else main.main(what, words))
