"""`advise` shows which quantisation fits, and says so by its exit status where none does."""

import json
from typing import Any

from ollama_proxyd.core.topology import Topology
from tests.cli.conftest import Ctl, ServedDaemon


def with_memory(daemon: ServedDaemon, gb: float | None) -> None:
    topology = Topology(memory_bytes=None if gb is None else int(gb * 10**9))
    daemon.services.features.topology = lambda: topology


def read(ctl: Ctl, *arguments: str) -> Any:
    return json.loads(ctl("advise", *arguments, "--json").stdout)


def test_the_advice_is_a_table_for_each_device(daemon: ServedDaemon, ctl: Ctl) -> None:
    with_memory(daemon, 16)
    result = ctl("advise", "llama3.1:8b", "--backend", "igpu")
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert lines[0] == "llama3.1:8b (8 billion parameters by its name, 8192 tokens of context)"
    assert lines[1] == "advised: q8_0 on igpu: nothing is lost that anybody would notice"
    assert any(line.startswith("* q8_0 7.92 GiB and its context yes") for line in lines), lines


def test_options_are_asked_for(daemon: ServedDaemon, ctl: Ctl) -> None:
    with_memory(daemon, 16)
    told = read(ctl, "x:8b", "--backend", "igpu", "--context", "4096", "--aggressive")
    assert (told["context_tokens"], told["recommended"]["tag"]) == (4096, "q6_K")


def test_where_nothing_fits_or_memory_is_unknown_the_exit_status_is_3(daemon: ServedDaemon, ctl: Ctl) -> None:
    for gb, why in ((4, "the smallest needs"), (None, "does not tell how much memory")):
        with_memory(daemon, gb)
        result = ctl("advise", "x:70b", "--backend", "igpu")
        assert (result.exit_code, why in result.output) == (3, True)


def test_a_model_of_which_nothing_is_known_is_an_error(daemon: ServedDaemon, ctl: Ctl) -> None:
    result = ctl("advise", "unknown")
    assert result.exit_code not in {0, 3}
    assert "how many parameters" in result.output
