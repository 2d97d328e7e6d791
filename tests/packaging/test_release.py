"""A release needs a clean tree, a changelog entry for a version that has no tag, and checks that pass."""

import subprocess
import sys
from pathlib import Path

import pytest

from ollama_proxyd import __version__
from tests.packaging.checkout import copy

Done = subprocess.CompletedProcess[str]
ENTRY = f"# Changelog\n\n## Unreleased\n\n## {__version__}\n\n- It routes.\n\n## 0.0.1\n\n- Old.\n"
PROGRAMS = {".ci/run": "exit 0", "scripts/build-deb": 'touch "$1/a.deb"', "scripts/pack-extension": 'touch "$1/a.zip"'}


def run(checkout: Path, *command: str) -> Done:
    environ = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "HOME": str(checkout.parent)}
    environ |= {f"GIT_{who}_{what}": "somebody" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return subprocess.run(command, cwd=checkout, env=environ, capture_output=True, text=True, check=False, timeout=60)


def git(checkout: Path, *arguments: str) -> str:
    done = run(checkout, "git", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def change(checkout: Path, name: str, text: str) -> None:
    (checkout / name).write_text(text)
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message", "A change")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clean repository with an entry for its version, whose checks pass and whose packages are quick to build."""
    checkout = copy(tmp_path / "checkout")
    (checkout / ".ci").mkdir()
    for name, line in PROGRAMS.items():
        (checkout / name).write_text(f"#!/bin/sh\n{line}\n")
        (checkout / name).chmod(0o755)
    (checkout / ".gitignore").write_text("dist/\n")
    git(checkout, "init", "--quiet")
    change(checkout, "CHANGELOG.md", ENTRY)
    return checkout


def refusal(checkout: Path) -> str:
    """What it says when it refuses; nothing has been made then."""
    tags = git(checkout, "tag")
    done = run(checkout, "scripts/release")
    assert done.returncode == 1, done.stdout
    assert not (checkout / "dist").exists()
    assert git(checkout, "tag") == tags
    return done.stderr


def test_a_release_is_a_tag_with_its_changes_and_files_with_their_sums(checkout: Path) -> None:
    done = run(checkout, "scripts/release")
    assert done.returncode == 0, done.stderr
    message = git(checkout, "tag", "--list", "--format=%(contents)", f"v{__version__}")
    assert message.strip() == f"ollama-proxyd {__version__}\n\n\n- It routes."
    made = {path.name for path in (checkout / "dist").iterdir()}
    name = f"ollama_proxyd-{__version__}"
    assert made == {f"{name}.tar.gz", f"{name}-py3-none-any.whl", "a.deb", "a.zip", "SHA256SUMS"}
    assert len((checkout / "dist/SHA256SUMS").read_text().splitlines()) == 4


def test_a_changed_tree_is_refused(checkout: Path) -> None:
    (checkout / "README.md").write_text("changed")
    assert "the tree has changes" in refusal(checkout)


def test_a_file_that_git_does_not_know_is_refused(checkout: Path) -> None:
    (checkout / "new.py").touch()
    assert "the tree has changes" in refusal(checkout)


@pytest.mark.parametrize("text", ["## Unreleased\n\n- It routes.\n", f"## {__version__}\n\n## 0.0.1\n\n- Old.\n"])
def test_a_version_without_a_changelog_entry_is_refused(checkout: Path, text: str) -> None:
    change(checkout, "CHANGELOG.md", text)
    assert f"no entry for {__version__}" in refusal(checkout)


def test_a_version_that_was_released_is_refused(checkout: Path) -> None:
    git(checkout, "tag", f"v{__version__}")
    assert "raise __version__" in refusal(checkout)


def test_failing_checks_are_a_refusal(checkout: Path) -> None:
    change(checkout, ".ci/run", "#!/bin/sh\nexit 1\n")
    assert "the checks fail" in refusal(checkout)
