"""The extension's check: it is content with the extension, and refuses a planted violation of each of its rules."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.real_things import ROOT, installed

EXTENSION = ROOT / "gnome-extension"
GTK_IN_THE_SHELL = "import Adw from 'gi://Adw?version=1';"
SHELL_IN_THE_PREFERENCES = "import St from 'gi://St';"
FORBIDDEN = {
    "imports.gi.Gio;": "Use ES modules",
    "GLib.timeout_add(0, 100, () => {});": "No timers",
    "GLib.timeout_add_seconds(0, 1, () => {});": "No timers",
    "setTimeout(() => {}, 100);": "No timers",
    "setInterval(() => {}, 100);": "No timers",
    "Gio.DBus.session.call_sync();": "Never wait for an answer",
    "Gio.bus_get_sync(0, null);": "Never wait for an answer",
    "console.log('here');": "Leave no line in the journal",
    "print('here');": "Leave no line in the journal",
    "log('here');": "Leave no line in the journal",
    "GLib.spawn_command_line_async('true');": "No programs",
    "eval('1');": "No code from text",
    "var old = 1;": "Unexpected var",
    "if (a == b) a();": "Expected '==='",
}
"""What may stand in no function, each with the beginning of what is said of it."""
AT_LOADING = [
    "Gio._promisify(Gio.DBusConnection.prototype, 'call');",
    "const settings = Gio.Settings.new('x');",
    "const object = new Gio.Cancellable();",
    "let state = null;",
    "if (globalThis.x) { globalThis.x = 1; }",
]
"""What may not happen when a module is loaded."""


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    installed("install-extension-checks")


def copy_to(folder: Path) -> Path:
    return Path(shutil.copytree(EXTENSION, folder / "extension", ignore=shutil.ignore_patterns("node_modules")))


def check(source: Path) -> tuple[int, str]:
    command = [str(ROOT / "scripts/check-extension"), "--source", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is said of a copy in which every rule about code is broken, on lines that the tests know."""
    copy = copy_to(tmp_path_factory.mktemp("broken"))
    inside = [f"    {line}" for line in FORBIDDEN]
    (copy / "inside.js").write_text("\n".join(["export function broken(Gio, GLib, a, b) {", *inside, "}", ""]))
    (copy / "loading.js").write_text("\n".join(["import Gio from 'gi://Gio';", *AT_LOADING, ""]))
    (copy / "gtk.js").write_text(f"{GTK_IN_THE_SHELL}\n")
    (copy / "prefs/shell.js").write_text(f"{SHELL_IN_THE_PREFERENCES}\n")
    (copy / "shared.js").write_text(f"{SHELL_IN_THE_PREFERENCES}\n")
    begin = "import './inside.js';\nimport './loading.js';\nimport './gtk.js';\nimport './gone.js';\n"
    (copy / "extension.js").write_text(begin + (copy / "extension.js").read_text())
    (copy / "prefs.js").write_text(
        "import './prefs/shell.js';\nimport './shared.js';\n" + (copy / "prefs.js").read_text()
    )
    (copy / "lonely.js").write_text("export const ALONE = true;\n")
    status, said = check(copy)
    assert status == 1
    return said.replace(f"{copy}/", "")


def test_the_check_is_content_with_the_extension() -> None:
    assert check(EXTENSION) == (0, "")


@pytest.mark.parametrize(("number", "line"), list(enumerate(FORBIDDEN, start=2)))
def test_a_forbidden_call_is_named_by_file_and_line(complaints: str, number: int, line: str) -> None:
    said = [each for each in complaints.splitlines() if each.startswith(f"inside.js:{number}: ")]
    assert any(FORBIDDEN[line] in each for each in said), said


@pytest.mark.parametrize(("number", "line"), list(enumerate(AT_LOADING, start=2)))
def test_whatever_happens_when_a_module_is_loaded_is_refused(complaints: str, number: int, line: str) -> None:
    assert f"loading.js:{number}: Nothing happens when a module is loaded" in complaints


def test_gtk_is_refused_in_the_shell(complaints: str) -> None:
    assert "gtk.js:1: 'gi://Adw?version=1' import is restricted" in complaints
    assert "gtk.js:1: Adw does not exist where extension.js runs" in complaints


def test_the_shells_libraries_are_refused_in_the_preferences(complaints: str) -> None:
    assert "prefs/shell.js:1: 'gi://St' import is restricted" in complaints


def test_a_shared_module_that_needs_the_shell_is_refused_in_the_preferences(complaints: str) -> None:
    assert "shared.js:1: St does not exist where prefs.js runs" in complaints


def test_an_import_of_a_module_that_is_not_there_is_refused(complaints: str) -> None:
    assert "extension.js:4: ./gone.js is not there" in complaints


def test_a_module_that_nobody_imports_is_refused(complaints: str) -> None:
    assert "lonely.js: neither extension.js nor prefs.js imports it" in complaints


def break_metadata(**values: Any) -> Callable[[Path], None]:
    def break_it(copy: Path) -> None:
        file = copy / "metadata.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return break_it


def replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    def break_it(copy: Path) -> None:
        text = (copy / name).read_text()
        assert old in text
        (copy / name).write_text(text.replace(old, new, 1))

    return break_it


SCHEMA = "schemas/org.gnome.shell.extensions.ollama-proxy.gschema.xml"
BREAKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a version of GNOME that is not there": (
        break_metadata(**{"shell-version": ["44"]}),
        'metadata.json: "shell-version"',
    ),
    "no version of GNOME": (break_metadata(**{"shell-version": []}), 'metadata.json: "shell-version"'),
    "no address": (break_metadata(url=""), 'metadata.json: "url" is missing'),
    "an uuid without a domain": (break_metadata(uuid="ollama-proxy"), 'metadata.json: "uuid"'),
    "a schema that is not there": (break_metadata(**{"settings-schema": "org.x"}), 'metadata.json: "settings-schema"'),
    "metadata that is no JSON": (replace("metadata.json", '"name"', "name"), "metadata.json:3: this is no JSON"),
    "a default outside of its range": (replace(SCHEMA, "'toggle-auto'", "'loud'"), "the schema does not compile"),
    "a text that the template lacks": (
        replace("prefs/facts.js", "'Engine'", "'Motor'"),
        ".pot: the sources have other",
    ),
    "a text without a translation": (lambda copy: untranslate(copy / "po/de.po"), "po/de.po: "),
    "a translation of an old text": (
        replace("po/fr.po", 'msgid "Engine"', 'msgid "Moteur d"'),
        "po/fr.po: run scripts/",
    ),
    "a stray file": (lambda copy: (copy / "notes.txt").write_text("") and None, "notes.txt: nothing says"),
}


def untranslate(po: Path) -> None:
    lines = po.read_text().splitlines()
    at = lines.index('msgid "Engine"') + 1
    po.write_text("\n".join([*lines[:at], 'msgstr ""', *lines[at + 1 :], ""]))


@pytest.mark.parametrize("what", BREAKS)
def test_everything_else_that_is_wrong_is_refused_by_its_file(tmp_path: Path, what: str) -> None:
    break_it, said = BREAKS[what]
    copy = copy_to(tmp_path)
    break_it(copy)
    status, complaint = check(copy)
    assert status == 1
    assert said in complaint.replace(f"{copy}/", "")
