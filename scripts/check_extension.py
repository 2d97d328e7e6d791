"""Checks the GNOME extension; every complaint names a file, a line where there is one, and what to do."""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pack_extension import SOURCE, RefusedError, shipped

OLDEST, NEWEST = 45, 51
_IMPORT = re.compile(r"""^\s*(?:import|export)\b[^;'"]*?(?:from\s*)?['"](\.[^'"]+)['"]""", re.MULTILINE)
_UUID = re.compile(r"[-\w.]+@[-\w.]+")


class MissingError(Exception):
    """A program that a check needs is not here."""


def main(arguments: list[str]) -> int:
    """Run every check, and print every complaint."""
    parser = argparse.ArgumentParser(prog="check-extension", description=__doc__)
    parser.add_argument("--source", type=Path, default=SOURCE, help="the extension's folder")
    source = parser.parse_args(arguments).source.resolve()
    complaints: list[str] = []
    try:
        for check in CHECKS:
            complaints += check(source)
    except MissingError as missing:
        print(f"check-extension: {missing}", file=sys.stderr)
        return 3
    print(*complaints, sep="\n", end="\n" if complaints else "", file=sys.stderr)
    return 1 if complaints else 0


def metadata(source: Path) -> Iterator[str]:
    """metadata.json says what GNOME and its site ask for."""
    file = source / "metadata.json"
    try:
        said: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        yield f"{file}: it cannot be read; an extension needs it"
        return
    except ValueError as error:
        yield f"{file}:{getattr(error, 'lineno', 1)}: this is no JSON: {error}"
        return
    for key in ("uuid", "name", "description", "url", "gettext-domain", "settings-schema"):
        if not isinstance(said.get(key), str) or not said[key].strip():
            yield f'{file}: "{key}" is missing; write a text'
    if not _UUID.fullmatch(str(said.get("uuid", ""))):
        yield f'{file}: "uuid" has to look like name@domain'
    yield from _versions(file, said.get("shell-version"))
    schema = source / "schemas" / f"{said.get('settings-schema')}.gschema.xml"
    if not schema.is_file():
        yield f'{file}: "settings-schema" names a schema that is not there; make {schema}'


def _versions(file: Path, versions: object) -> Iterator[str]:
    possible = [str(version) for version in range(OLDEST, NEWEST + 1)]
    if not isinstance(versions, list) or not versions:
        yield f'{file}: "shell-version" has to list the versions of GNOME, such as ["48"]'
        return
    for version in versions:
        if version not in possible:
            yield f'{file}: "shell-version" has {version!r}; write "{OLDEST}" to "{NEWEST}", as texts'


def modules(source: Path) -> Iterator[str]:
    """Every module is there and used, and each half of the extension imports nothing of the other."""
    try:
        found = {path for path in shipped(source) if path.suffix == ".js"}
    except RefusedError as refused:
        yield from str(refused).splitlines()
        return
    used: set[PurePosixPath] = set()
    for entry in ("extension.js", "prefs.js"):
        reached: set[PurePosixPath] = set()
        yield from _follow(source, PurePosixPath(entry), reached)
        used |= reached
        yield from _foreign(source, PurePosixPath(entry), reached)
    for path in sorted(found - used):
        yield f"{source / path}: neither extension.js nor prefs.js imports it; remove it"


_FOREIGN = {
    "extension.js": ("Gtk", "Gdk", "Adw"),
    "prefs.js": ("St", "Shell", "Clutter", "Meta"),
}


def _foreign(source: Path, entry: PurePosixPath, reached: set[PurePosixPath]) -> Iterator[str]:
    libraries = "|".join(_FOREIGN[str(entry)])
    pattern = re.compile(rf"""['"]gi://({libraries})(?:\?[^'"]*)?['"]""")
    for path in sorted(reached):
        text = (source / path).read_text(encoding="utf-8")
        for hit in pattern.finditer(text):
            yield (
                f"{source / path}:{_line(text, hit.start())}: {hit[1]} does not exist where {entry} runs;"
                f" import this module from the other half only"
            )


def _follow(source: Path, path: PurePosixPath, reached: set[PurePosixPath]) -> Iterator[str]:
    file = source / path
    if path in reached or not file.is_file():
        return
    reached.add(path)
    text = file.read_text(encoding="utf-8")
    for hit in _IMPORT.finditer(text):
        target = (file.parent / hit[1]).resolve()
        if not target.is_file():
            yield f"{file}:{_line(text, hit.start(1))}: {hit[1]} is not there; mend the path, with its .js"
        else:
            yield from _follow(source, PurePosixPath(target.relative_to(source).as_posix()), reached)


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def schema(source: Path) -> Iterator[str]:
    """The settings' schema compiles, and nothing compiled lies beside it."""
    with tempfile.TemporaryDirectory() as out:
        compiler = _program("glib-compile-schemas", "libglib2.0-bin")
        done = _run([compiler, "--strict", f"--targetdir={out}", str(source / "schemas")], source)
    if done.returncode:
        yield f"{source / 'schemas'}: the schema does not compile: {done.stderr.strip()}"


def translations(source: Path) -> Iterator[str]:
    """The list of texts is that of the sources, and every translation is complete."""
    programs = [_program(name, "gettext") for name in ("msgfmt", "msgcmp", "xgettext", "msgmerge", "msgattrib")]
    templates = sorted((source / "po").glob("*.pot"))
    if len(templates) != 1:
        yield f"{source / 'po'}: there has to be one .pot; run scripts/update-translations"
        return
    yield from _template(source, templates[0])
    for po in sorted((source / "po").glob("*.po")):
        for command in ([programs[0], "--check", "--output-file=/dev/null"], [programs[1]]):
            done = _run([*command, str(po), *([str(templates[0])] if command == [programs[1]] else [])], source)
            if done.returncode:
                said = [
                    line for line in done.stderr.splitlines() if "warning:" not in line and "fatal error" not in line
                ]
                yield "\n".join([*said, f"{po}: run scripts/update-translations, then translate what is missing"])
                break
        else:
            yield from _complete(po, programs[0])


def _complete(po: Path, msgfmt: str) -> Iterator[str]:
    counted = _run([msgfmt, "--statistics", "--output-file=/dev/null", str(po)], po.parent).stderr.strip()
    if "untranslated" in counted or "fuzzy" in counted:
        yield f"{po}: {counted}; translate the rest"


def _template(source: Path, template: Path) -> Iterator[str]:
    """Made anew in a copy, it has to be the same."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "extension"
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("node_modules", "*.po"))
        done = _run([str(Path(__file__).parent / "update-translations"), str(copy)], source)
        made = copy / "po" / template.name
        if done.returncode or not made.is_file():
            yield f"{template}: it cannot be made anew: {done.stderr.strip()}"
        elif made.read_bytes() != template.read_bytes():
            yield f"{template}: the sources have other texts by now; run scripts/update-translations"


def code(source: Path) -> Iterator[str]:
    """ESLint: GNOME's style, and the rules of the review that can be seen in the code."""
    eslint = _eslint()
    if source == SOURCE:
        yield from _lint(eslint, source, source)
        return
    with tempfile.TemporaryDirectory() as folder:  # the configuration has to stand beside the code, and its modules too
        copy = Path(folder).resolve() / "extension"
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("node_modules"))
        shutil.copy(SOURCE / "eslint.config.js", copy)
        (copy / "node_modules").symlink_to(SOURCE / "node_modules")
        yield from _lint(eslint, copy, source)


def _lint(eslint: str, folder: Path, called: Path) -> Iterator[str]:
    done = _run([eslint, "--format", "json", "."], folder)
    try:
        results = json.loads(done.stdout)
    except ValueError:
        yield f"{called}: ESLint cannot run: {(done.stderr or done.stdout).strip()}"
        return
    for result in results:
        file = called / Path(result["filePath"]).relative_to(folder)
        for found in result["messages"]:
            yield f"{file}:{found.get('line', 1)}: {found['message']} ({found.get('ruleId')})"


def _eslint() -> str:
    eslint = SOURCE / "node_modules/.bin/eslint"
    if not eslint.is_file():
        raise MissingError("ESLint is missing; run scripts/install-extension-checks")
    return str(eslint)


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise MissingError(f"{name} is missing; install the package {package}")
    return found


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


CHECKS: tuple[Callable[[Path], Iterator[str]], ...] = (metadata, modules, schema, translations, code)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
