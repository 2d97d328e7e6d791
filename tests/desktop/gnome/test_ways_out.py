"""What the menu opens elsewhere: the daemon's web page in the person's browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.desktop.gnome.desktop import Desktop
from tests.desktop.gnome.test_notifications import told
from tests.e2e.harness import wait_until

BROWSER = "test-browser.desktop"
ENTRY = """[Desktop Entry]
Type=Application
Name=Browser
Exec=/bin/sh {script} %u
MimeType=x-scheme-handler/http;
"""


@pytest.fixture
def visited(desktop: Desktop) -> Iterator[Path]:
    """A browser for the session that writes down which page it was started with, and the file that it writes."""
    visited = desktop.session.folder / "run" / "visited"
    visited.touch()
    visited.chmod(0o666)
    applications = desktop.session.home / ".local/share/applications"
    applications.mkdir(parents=True)
    script = desktop.session.folder / "browse.sh"
    script.write_text(f'printf %s "$1" >{visited}\n')
    (applications / BROWSER).write_text(ENTRY.format(script=script))
    choices = desktop.session.home / ".config/mimeapps.list"
    choices.write_text(f"[Default Applications]\nx-scheme-handler/http={BROWSER}\n")
    yield visited
    choices.unlink()
    (applications / BROWSER).unlink()
    applications.rmdir()


def test_without_a_browser_that_the_dashboard_cannot_be_opened_is_told(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.pick("Open Dashboard")
    wait_until(lambda: told(desktop, "The page could not be opened"), "the person is told")
    assert told(desktop, f"{desktop.daemon.url}/dashboard"), "where it is can be read"


def test_the_dashboard_opens_in_the_persons_browser(desktop: Desktop, visited: Path) -> None:
    desktop.daemon.start()
    desktop.pick("Open Dashboard")
    wait_until(visited.read_text, "the browser was started")
    assert visited.read_text() == desktop.daemon.get("Routing", "Endpoint") + "/dashboard"
    assert desktop.shell.eval("!driver.quickSettings().menu.isOpen"), "the menu makes way"
