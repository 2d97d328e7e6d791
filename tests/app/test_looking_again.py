"""How often the daemon looks for engines while none answers."""

from itertools import islice

from ollama_proxyd.app.sources import lengthening


def test_looks_that_find_nothing_become_rarer_and_never_stop() -> None:
    assert list(islice(lengthening(5.0), 7)) == [5, 5, 10, 20, 20, 20, 20]
