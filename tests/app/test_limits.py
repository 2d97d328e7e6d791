"""The limit of open files."""

import resource

import pytest

from ollama_proxyd.app.limits import allow_many_files


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The process's limit, without touching the test runner's own."""
    now = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _which: now[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _which, pair: now.append(pair))
    return now


def test_the_soft_limit_is_raised_to_the_hard_one(limit: list[tuple[int, int]]) -> None:
    allow_many_files(100)
    assert limit[-1] == (4096, 4096)


def test_a_limit_that_is_too_low_for_the_configuration_is_told(
    limit: list[tuple[int, int]], caplog: pytest.LogCaptureFixture
) -> None:
    allow_many_files(1024)
    assert not caplog.records
    allow_many_files(5000)
    assert "at most 4096 files may be open" in caplog.text
