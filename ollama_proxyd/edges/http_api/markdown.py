"""Answers as safe HTML, block by block: a program of its own, so that no text can keep the daemon from its work.

It reads a line of JSON for each text and writes one; it ends with its input.
"""

import json
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from html import escape
from typing import Any, BinaryIO

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.lexers._mapping import LEXERS
from pygments.token import STANDARD_TYPES

MOST_HTML = 256 * 1024
"""Characters of HTML for one text; more would keep the page busy, so it shows the text as it is."""
_MEMORY_BYTES = 512 * 1024 * 1024
_NICENESS = 5
_LANGUAGES = frozenset(alias for _, _, aliases, _, _ in LEXERS.values() for alias in aliases)
_TAGS = {
    *("p", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "hr", "br", "pre", "code", "span", "em", "strong"),
    *("s", "a", "table", "thead", "tbody", "tr", "th", "td"),
}
_SIDES = {"text-align:left": "left", "text-align:right": "right", "text-align:center": "center"}
_KINDS = {each for each in STANDARD_TYPES.values() if each}
_CLASSES = {"span": _KINDS, "th": set(_SIDES.values()), "td": set(_SIDES.values())}
_TURNS = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)))
"""Signs that turn the direction of what follows, with which text can look like another (CVE-2021-42574).

They are taken out last: an answer can write them as entities too.
"""


def _highlighted(code: str, language: str, _attributes: str) -> str:
    if language.lower() not in _LANGUAGES:
        return escape(code)
    return str(highlight(code, get_lexer_by_name(language), HtmlFormatter(nowrap=True)))


_MARKDOWN = (
    MarkdownIt("commonmark", {"html": False, "highlight": _highlighted})
    .enable(["table", "strikethrough"])
    .disable("image")
)


def blocks(text: str) -> list[dict[str, Any]]:
    """The blocks of a text: each one's HTML, and the line after its last; ValueError where that is too much."""
    tokens = _MARKDOWN.parse(text)
    told, size = [], 0
    for group in _groups(tokens):
        html = _clean(_MARKDOWN.renderer.render(group, _MARKDOWN.options, {}))
        size += len(html)
        if size > MOST_HTML:
            raise ValueError
        told.append({"html": html, "end": (group[0].map or [0, 0])[1]})
    return told


def _groups(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """The tokens of each block."""
    group: list[Token] = []
    for token in tokens:
        _adapt(token)
        group.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield group
            group = []


def _adapt(token: Token) -> None:
    """Fit a token into the page: its headings stand below the page's own, and it has no inline styles."""
    if token.tag in {"h1", "h2", "h3", "h4", "h5", "h6"}:
        token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
    if (side := _SIDES.get(str(token.attrs.pop("style", "")))) is not None:
        token.attrs["class"] = side


def _clean(html: str) -> str:
    cleaned: str = nh3.clean(
        html,
        tags=_TAGS,
        attributes={"*": set(), "a": {"href"}, "ol": {"start"}},
        allowed_classes=_CLASSES,
        set_tag_attribute_values={"a": {"target": "_blank"}},
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",
    )
    return cleaned.translate(_TURNS)


def answer(line: bytes) -> bytes:
    """The answer to one line."""
    try:
        told: list[dict[str, Any]] | None = blocks(json.loads(line))
    except (ValueError, RecursionError, MemoryError):
        told = None
    return json.dumps({"blocks": told}).encode() + b"\n"


def serve(lines: BinaryIO, out: BinaryIO) -> None:
    """Answer each line until there are none."""
    for line in lines:
        out.write(answer(line))
        out.flush()


if __name__ == "__main__":
    with suppress(OSError, ValueError):  # a sandbox may forbid it
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    with suppress(OSError):
        os.nice(_NICENESS)
    serve(sys.stdin.buffer, sys.stdout.buffer)
