"""The real engines of a box, which a test can put on hold in the middle of an answer."""

import os
import signal

from tests.box.box import Box
from tests.box.installation import ENGINE_PORTS


class Engines:
    """The engines of the box, which can be put on hold in the middle of an answer."""

    def __init__(self, box: Box) -> None:
        self._pids = {name: box.here(int(_main_pid(box, name))) for name in ENGINE_PORTS}

    def hold(self, *names: str) -> None:
        """Have these, or all of them, accept and say nothing."""
        for name in names or self._pids:
            os.kill(self._pids[name], signal.SIGSTOP)

    def go_on(self) -> None:
        """Have all of them work again."""
        for pid in self._pids.values():
            os.kill(pid, signal.SIGCONT)


def _main_pid(box: Box, name: str) -> str:
    return box.user("systemctl", "--user", "show", "--property=MainPID", "--value", f"engine-{name}").stdout
