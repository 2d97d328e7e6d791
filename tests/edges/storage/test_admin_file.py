"""A file of the admin API that cannot be used is told by its name, the reason, and what to do where that is certain."""

from pathlib import Path

import pytest

from ollama_proxyd.edges.storage.admin_file import AdminFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "admin.db"


def test_a_damaged_file_may_be_moved_away(path: Path) -> None:
    path.write_bytes(b"no database at all " * 500)
    with pytest.raises(OSError, match=r"admin\.db cannot be used: file is not a database; move it away to begin anew$"):
        AdminFile(path).read_now()


def test_what_the_system_says_is_told_in_the_same_words(path: Path) -> None:
    path.mkdir()
    with pytest.raises(OSError, match=r"^/.*admin\.db cannot be used: Is a directory$"):
        AdminFile(path).read_now()
