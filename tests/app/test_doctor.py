"""What the doctor says of a daemon as it runs."""

import asyncio
from pathlib import Path

import pytest

from ollama_proxyd.cli.doctor.facts import ConfigFacts
from ollama_proxyd.cli.doctor.gather import Places, gather
from tests.app.conftest import Running, Start
from tests.app.two_engines import CALM

USUAL = "home/.config/ollama-proxyd/config.yaml"


@pytest.mark.parametrize("text", [None, "server:\n  prt: 2\n"])
async def test_the_file_that_the_daemon_was_started_with_is_looked_at(
    start: Start, tmp_path: Path, text: str | None
) -> None:
    running = await start(CALM)
    file = tmp_path / "config.yaml"
    if text is not None:
        file.write_text(text)
    told = await looked_at(running, tmp_path)
    if text is None:
        assert told == ConfigFacts(str(file))
    else:
        assert [each.startswith(f"{file}:2: server.prt: unknown key") for each in told.errors] == [True]


async def test_where_that_file_is_on_another_machine_the_usual_one_is_looked_at(start: Start, tmp_path: Path) -> None:
    running = await start(CALM)
    (tmp_path / "config.yaml").unlink()
    assert (await looked_at(running, tmp_path)).path == str(tmp_path / USUAL)


async def looked_at(running: Running, folder: Path) -> ConfigFacts:
    usual = folder / USUAL
    usual.parent.mkdir(parents=True)
    usual.write_text("server: {prot: 1}\n")
    places = Places({"HOME": str(folder / "home")}, folder / "home", folder, folder, "unix:path=/nowhere")
    return (await asyncio.to_thread(gather, places, running.daemon.url)).config
