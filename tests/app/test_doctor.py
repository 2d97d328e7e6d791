"""What the doctor says of a daemon as it runs."""

import asyncio
from pathlib import Path

import pytest

from ollama_proxyd.cli.doctor.facts import ConfigFacts
from ollama_proxyd.cli.doctor.gather import Places, gather
from tests.app.conftest import Start
from tests.app.two_engines import CALM


@pytest.mark.parametrize("text", [None, "server:\n  prt: 2\n"])
async def test_the_file_that_the_daemon_was_started_with_is_looked_at(
    start: Start, tmp_path: Path, text: str | None
) -> None:
    running = await start(CALM)
    file = tmp_path / "config.yaml"
    usual = tmp_path / "home/.config/ollama-proxyd/config.yaml"
    usual.parent.mkdir(parents=True)
    usual.write_text("server: {prot: 1}\n")
    if text is not None:
        file.write_text(text)
    places = Places({"HOME": str(tmp_path / "home")}, tmp_path / "home", tmp_path, tmp_path, "unix:path=/nowhere")
    facts = await asyncio.to_thread(gather, places, running.daemon.url)
    if text is None:
        assert facts.config == ConfigFacts(str(file))
    else:
        assert [each.startswith(f"{file}:2: server.prt: unknown key") for each in facts.config.errors] == [True]
