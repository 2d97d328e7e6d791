"""What backends of one kind tell each other is a guess in each part, until an answer of a backend's own shows that."""

import pytest

from ollama_proxyd.core.kin import as_kin, own
from ollama_proxyd.core.learning import Answer, Speed, learn

LONG = ("decode_tps", 3)
SHOWN = Speed(
    ttft_s=0.5,
    decode_tps=40.0,
    output_tokens=90.0,
    samples=9,
    longer={LONG: 20.0},
    crowds={"decode_tps": 3.0, LONG: 2.0},
)
GUESS = as_kin(SHOWN, "a", "b")


def test_of_a_guess_nothing_is_its_own() -> None:
    found = own(GUESS)
    assert (found.ttft_s, found.decode_tps, found.longer, found.crowds, found.seen_once) == (None, None, {}, {}, set())


@pytest.mark.parametrize(("context_tokens", "part"), [(9.0, "decode_tps"), (20_000.0, LONG)])
def test_who_was_beside_the_answers_of_kin_is_forgotten_with_the_speed_that_they_showed(
    context_tokens: float, part: str | tuple[str, int]
) -> None:
    read = learn(GUESS, Answer(ttft_s=0.4))
    learned = learn(read, Answer(decode_tps=10.0, context_tokens=context_tokens, batch=1.0))
    assert learned.crowds[part] == 1.0
    assert own(learned).crowds == {part: 1.0}
