"""What is wrong with an entry of the admin API is told by its name and its own keys: it has no place in a file."""

from pathlib import Path

import pytest

from ollama_proxyd.config.load import load
from ollama_proxyd.config.problems import ConfigError
from ollama_proxyd.core.administration import Entry, Kind
from ollama_proxyd.core.requests import Json

FILE = """\
backends:
  - {id: a, endpoint: 'http://127.0.0.1:11434'}
engines:
  - {id: own, command: [llama-server, -m, '{model}', --port, '{port}'], models_dir: /models}
"""
PLACE: dict[str, Json] = {"endpoint": "http://127.0.0.1:11434"}
FREE: dict[str, Json] = {"endpoint": "http://127.0.0.1:9"}
THERE = "backend a is at this address already; two backends would count one engine twice"


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (Entry(Kind.BACKENDS, "new", PLACE), f"admin API: backends new: endpoint: {THERE}"),
        (
            Entry(Kind.BACKENDS, "own", FREE),
            "admin API: backends own: id: engines[0] is called own already; give each an id of its own",
        ),
        (
            Entry(Kind.FRONTENDS, "chat", {"hosts": ["chat.test"], "backends": ["b"]}),
            "admin API: frontends chat: backends: there is no backend b; there are: a, own",
        ),
    ],
)
def test_what_is_wrong_with_an_entry_names_no_place_in_a_file(tmp_path: Path, entry: Entry, line: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(FILE, encoding="utf-8")
    with pytest.raises(ConfigError) as failure:
        load(path, {}, added=[entry])
    assert str(failure.value).splitlines() == [line]
