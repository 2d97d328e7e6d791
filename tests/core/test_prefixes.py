"""Blocks of prompts: equal where two prompts are equal from their start."""

from ollama_proxyd.core.prefixes import BLOCK_BYTES, MOST_BLOCKS, blocks_of

A, B, C = (letter * BLOCK_BYTES for letter in (b"a", b"b", b"c"))


def test_prompts_share_the_blocks_of_their_common_beginning_and_no_more() -> None:
    first, second = blocks_of("m", A + B + B), blocks_of("m", A + C + B)
    assert first[0] == second[0]
    assert not set(first[1:]) & set(second[1:])


def test_the_same_words_after_another_start_are_another_prompt() -> None:
    assert not set(blocks_of(("m", "tools"), A + B)) & set(blocks_of(("m", ""), A + B))


def test_a_block_that_is_not_full_is_none_and_endless_prompts_have_a_bounded_number() -> None:
    assert blocks_of("m", A[:-1]) == ()
    assert len(blocks_of("m", A + b"b")) == 1
    assert len(blocks_of("m", A * (MOST_BLOCKS + 5))) == MOST_BLOCKS
