"""YAML as the configuration reads it."""

from typing import Any

import pytest

from ollama_proxyd.config.document import MAX_VALUES, TOO_MANY, Node, parse, resolve
from ollama_proxyd.config.problems import ConfigError


def wrong(text: str) -> list[str]:
    with pytest.raises(ConfigError) as failure:
        parse(text, "f")
    return str(failure.value).splitlines()


def line_of(node: Node, *keys: str | int) -> int | None:
    for key in keys:
        children: Any = node.value
        node = children[key]
    return node.origin.line


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22:00", "22:00"),
        ("yes", "yes"),
        ("off", "off"),
        ("0x10", "0x10"),
        ("2024-01-01", "2024-01-01"),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
        ("010", 10),
        ("-3", -3),
        ("1e3", 1000.0),
        ("True", True),
        ("~", None),
        ("", None),
    ],
)
def test_an_unquoted_word_means_what_yaml_1_2_says(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_a_quoted_word_is_text() -> None:
    assert parse("'5'", "f").value == "5"


def test_a_value_stands_at_the_line_of_its_key() -> None:
    root = parse("a: 1\nb:\n  c:\n    - x\n    - y: 2\n", "f")
    assert [line_of(root, "a"), line_of(root, "b"), line_of(root, "b", "c")] == [1, 2, 3]
    assert [line_of(root, "b", "c", 0), line_of(root, "b", "c", 1, "y")] == [4, 5]


def test_an_empty_text_is_an_empty_document() -> None:
    assert parse("", "f").value is None
    assert parse("# only a remark\n", "f").value is None


def test_a_key_given_twice_is_an_error_that_names_both_lines() -> None:
    assert wrong("a: 1\nb: 2\na: 3\n") == ["f:3: the key a was already given in line 1"]


def test_every_key_given_twice_is_reported() -> None:
    assert len(wrong("a: 1\na: 2\nb: 1\nb: 2\n")) == 2


@pytest.mark.parametrize("text", ["1: x", "? [a]\n: x", "? {a: b}\n: x", "~: x", "true: x"])
def test_a_key_that_is_not_text_is_an_error(text: str) -> None:
    assert wrong(text) == ["f:1: a key must be text; put quotes around it"]


def test_a_tab_that_indents_is_named_as_such() -> None:
    assert wrong("a:\n\tb: 1\n") == ["f:2: a tab indents this line; use spaces"]


def test_broken_yaml_names_its_line() -> None:
    assert wrong("a: 1\nb: [1, 2\n")[0].startswith("f:3: this is not YAML")


def test_a_tag_is_an_error_and_nothing_is_made_of_it() -> None:
    assert wrong("a: !!python/object/apply:os.system [x]\n") == [
        "f:1: the tag tag:yaml.org,2002:python/object/apply:os.system is not supported; write the plain value"
    ]


def test_a_second_document_is_an_error() -> None:
    assert wrong("a: 1\n---\nb: 2\n") == ["f:2: a second document begins here; keep one in a file"]


def test_a_control_character_names_its_line() -> None:
    assert wrong("a: 1\nb: \x07\n") == ["f:2: the character '\\x07' stands here; remove it"]


def test_an_alias_means_what_its_anchor_holds() -> None:
    root = parse("a: &x {p: 1}\nb: *x\n", "f")
    assert isinstance(root.value, dict)
    assert root.value["b"].value == root.value["a"].value
    assert line_of(root, "b") == 2


def test_an_alias_of_itself_is_an_error() -> None:
    assert wrong("a: &x [*x]\n") == ["f:1: an alias stands within what it stands for"]
    assert wrong("a: 1\nb: *x\n") == ["f:2: this is not YAML: found undefined alias"]


def test_aliases_that_multiply_are_stopped_early() -> None:
    bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 20)
    )
    assert wrong(bomb) == [f"f:5: {TOO_MANY}"]


def test_aliases_that_nest_are_stopped_like_any_depth() -> None:
    chain = "a: &a0 [1]\n" + "".join(f"a: &a{n} [*a{n - 1}]\n" for n in range(1, 5000))
    assert wrong(f"{chain}b: *a4999\n")[-1] == "f:5001: more than 32 levels deep"


def test_a_list_without_end_is_stopped_before_it_is_built() -> None:
    assert wrong("- a\n" * 50_000) == [f"f:{2 * MAX_VALUES}: {TOO_MANY}"]


def test_a_document_of_bottomless_depth_is_stopped() -> None:
    assert wrong("[" * 100_000) == ["f:1: more than 32 levels deep"]
