"""Ways to write a configuration and to load it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ollama_proxyd.config.load import Overrides, load
from ollama_proxyd.config.problems import ConfigError
from ollama_proxyd.config.settings import Config

Loader = Callable[..., Config]
Complaints = Callable[..., list[str]]
NOTHING = Overrides()


@pytest.fixture
def loaded(tmp_path: Path) -> Loader:
    """Load a text as if it stood in a file."""

    def run(text: str, environ: Mapping[str, str] | None = None, overrides: Overrides = NOTHING) -> Config:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path, environ or {}, overrides)

    return run


@pytest.fixture
def complaints(loaded: Loader, tmp_path: Path) -> Complaints:
    """What is wrong with a text, one line each, the folder left out."""

    def run(text: str, environ: Mapping[str, str] | None = None, overrides: Overrides = NOTHING) -> list[str]:
        with pytest.raises(ConfigError) as failure:
            loaded(text, environ, overrides)
        return [line.removeprefix(f"{tmp_path}/") for line in str(failure.value).splitlines()]

    return run
