"""Somebody else's words are shown in one printable line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.text import LONGEST_SPELLING, MOST_CHARACTERS, cut, nearest, printable, sanitize_line

ANY_TEXT = st.text(st.characters(codec=None))


def test_what_would_begin_a_line_or_command_a_terminal_becomes_a_space() -> None:
    assert (
        sanitize_line("oops \x1b[2J\r\n12:00 INFO \u2028backend\u202e is up\x00") == "oops [2J 12:00 INFO backend is up"
    )


def test_words_of_one_line_stay_as_they_are() -> None:
    assert sanitize_line("no slot is free - später") == "no slot is free - später"


@given(ANY_TEXT | ANY_TEXT.map(lambda text: text * 200))
def test_the_line_is_printable_short_and_can_be_encoded(text: str) -> None:
    line = sanitize_line(text)
    assert line.isprintable()
    assert len(line) <= MOST_CHARACTERS
    line.encode()


@pytest.mark.parametrize(
    ("word", "meant"), [("modle", "model"), ("Mdoel", "model"), ("modl", "model"), ("moed", "mode"), ("mod", "mode")]
)
def test_swapped_letters_are_nearer_than_a_letter_too_many(word: str, meant: str) -> None:
    assert nearest(word, ("mode", "model", "max_tokens", "hints"), 0.5) == meant


def test_a_suggestion_is_the_nearest_spelling_or_none() -> None:
    assert nearest("Balancd", ("balanced", "quiet"), 0.5) == "balanced"
    assert nearest("zzz", ("balanced", "quiet"), 0.5) is None


def test_a_suggestion_looks_at_the_beginning_of_a_long_word_only() -> None:
    assert nearest("balanced" + "z" * 50_000_000, ("balanced" + "z" * (LONGEST_SPELLING - 8),), 0.99) is not None


def test_a_text_that_is_too_long_is_cut_with_a_sign() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abc..."


HOSTILE = "".join(map(chr, (*range(10), *range(11, 32), *range(127, 160), 0x61C, 0x200E, 0x200F, 0xFEFF, 0xD800))) + (
    "".join(map(chr, (*range(0x2028, 0x202F), *range(0x2066, 0x206A))))
)


def test_no_control_character_and_no_mark_of_direction_is_printed() -> None:
    assert printable(f"a{HOSTILE}b\nc").split() == ["a", "b", "c"]
    assert "\n" not in printable("b\nc")
    assert printable(f"a{HOSTILE}b\nc", keep="\n").split(" ")[-1] == "b\nc"
