"""`config`: found, checked and edited without a daemon."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Ctl

GOOD = "server: {http_port: 9000}\n"
BAD = "server:\n  http_prt: 9000\n"


def written(folder: Path, text: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(text)
    return file


def test_a_good_file_is_good(tmp_path: Path, ctl: Ctl) -> None:
    file = written(tmp_path, GOOD)
    result = ctl("config", "check", str(file))
    assert (result.exit_code, result.output) == (0, f"{file}: good\n")


def test_a_bad_file_ends_with_78_and_the_line_of_each_problem(tmp_path: Path, ctl: Ctl) -> None:
    file = written(tmp_path, BAD)
    result = ctl("config", "check", str(file))
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr == (
        "ollama-proxyctl: this configuration cannot be used\n"
        f'{file}:2: server.http_prt: unknown key; did you mean "http_port"?\n'
    )


def test_problems_are_objects_in_json(tmp_path: Path, ctl: Ctl) -> None:
    file = written(tmp_path, BAD)
    result = ctl("config", "check", "--json", str(file))
    problem = {
        "source": str(file),
        "line": 2,
        "key": "server.http_prt",
        "message": 'unknown key; did you mean "http_port"?',
    }
    assert result.exit_code == 78
    assert json.loads(result.stdout) == {"path": str(file), "errors": [problem], "warnings": []}


def test_without_a_file_the_defaults_are_good(ctl: Ctl) -> None:
    assert ctl("config", "check").output == "there is no configuration file, so the built-in defaults apply\n"


def test_the_file_that_applies_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctl: Ctl) -> None:
    monkeypatch.setenv("OLLAMA_PROXY_CONFIG", str(written(tmp_path, BAD)))
    assert ctl("config", "check").exit_code == 78


def test_the_path_is_that_of_the_file_that_applies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctl: Ctl) -> None:
    file = written(tmp_path, GOOD)
    monkeypatch.setenv("OLLAMA_PROXY_CONFIG", str(file))
    assert ctl("config", "path").stdout == f"{file}\n"
    assert json.loads(ctl("config", "path", "--json").stdout) == {"path": str(file), "exists": True}


def test_without_a_file_the_path_is_where_one_would_be(tmp_path: Path, ctl: Ctl) -> None:
    result = ctl("config", "path")
    assert result.stdout == f"{tmp_path}/.config/ollama-proxyd/config.yaml\n"
    assert "the built-in defaults apply" in result.stderr


def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """An editor that writes this text."""
    script = tmp_path / "editor"
    script.write_text(f"#!/bin/sh\nprintf '%s' '{text}' > \"$1\"\n")
    script.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(script))


def test_editing_makes_the_file_where_it_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctl: Ctl
) -> None:
    editor(tmp_path, monkeypatch, GOOD)
    file = tmp_path / ".config/ollama-proxyd/config.yaml"
    result = ctl("config", "edit")
    assert (result.exit_code, result.stdout) == (0, f"{file}: good\n")
    assert file.read_text() == GOOD


def test_after_editing_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctl: Ctl
) -> None:
    editor(tmp_path, monkeypatch, BAD)
    file = written(tmp_path, GOOD)
    result = ctl("config", "edit", str(file))
    assert result.exit_code == 78
    assert f"{file}:2: server.http_prt: unknown key" in result.stderr
    assert "goes on with what it had" in result.stderr


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("file/config.yaml", "cannot write {}: File exists; name another file"),
        (
            "new.yaml",
            "/no/such/editor: Editing failed: [Errno 2] No such file or directory: '/no/such/editor'; set EDITOR",
        ),
    ],
)
def test_what_cannot_be_edited_is_told_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctl: Ctl, name: str, says: str
) -> None:
    monkeypatch.setenv("VISUAL", "/no/such/editor")
    (tmp_path / "file").write_text("")
    result = ctl("config", "edit", str(tmp_path / name))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"ollama-proxyctl: {says.format(tmp_path / name)}")


def test_a_new_file_is_edited_from_the_commented_template(
    ctl: Ctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    script = tmp_path / "editor"
    script.write_text(f'#!/bin/sh\ncp "$1" {seen}\n', encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(script))
    result = ctl("config", "edit", str(tmp_path / "new.yaml"))
    assert "docs/configuration.md" in seen.read_text(encoding="utf-8")
    assert "was not written; nothing has changed" in result.stderr
    assert not (tmp_path / "new.yaml").exists(), "an untouched template is left out again"


def test_an_editor_that_writes_nothing_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctl: Ctl
) -> None:
    monkeypatch.setenv("VISUAL", "true")
    result = ctl("config", "edit", str(tmp_path / "new.yaml"))
    assert result.exit_code == 0
    assert "nothing has changed" in result.stderr
