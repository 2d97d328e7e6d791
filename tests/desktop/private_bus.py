"""A message bus of a test's own: a real dbus-daemon on which anybody may own any name."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias
from xml.sax.saxutils import escape

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>custom</type>
  <listen>unix:path={folder}/bus</listen>
  <auth>EXTERNAL</auth>
  <servicedir>{folder}/services</servicedir>
  <policy context="default">
    <allow user="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class PrivateBus:
    """A running bus; it can be stopped and started again at the same address, and made to stop reading.

    services: what the bus may start by itself, each name with its command line.
    """

    def __init__(self, services: Mapping[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bus-"))  # a socket's path has to be short
        self.address = f"unix:path={self.folder}/bus"
        self._config = self.folder / "bus.conf"
        self._config.write_text(CONFIG.format(folder=escape(str(self.folder))))
        for name, command in (services or {}).items():
            file = self.folder / "services" / f"{name}.service"
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"[D-BUS Service]\nName={name}\nExec={command}\n")
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        arguments = [f"--config-file={self._config}", "--nofork", "--nopidfile", "--nosyslog", "--print-address=1"]
        started = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": self.address}  # what it starts inherits this
        self._process = subprocess.Popen(
            ["dbus-daemon", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=started
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), "dbus-daemon did not start"

    def stop(self) -> None:
        """End it as a crash would."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None
        (self.folder / "bus").unlink(missing_ok=True)

    def pause(self) -> None:
        """Have it read nothing until `resume`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it for good."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


StartBus: TypeAlias = Callable[[Mapping[str, str]], PrivateBus]
"""Starts a bus with such services."""
