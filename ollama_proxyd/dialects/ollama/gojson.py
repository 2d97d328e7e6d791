"""Says in the words of Ollama's own parser why a text is not JSON."""

import re
from enum import Enum, auto

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING_BODY = re.compile(r'"(?:[^"\\\x00-\x1f]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*')
_DIGITS = re.compile(r"[0-9]+")
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,4})?")
_LITERALS = {"t": "true", "f": "false", "n": "null"}


class _Expect(Enum):
    VALUE = auto()
    FIRST_ELEMENT = auto()
    FIRST_KEY = auto()
    KEY = auto()
    AFTER = auto()


class _NotJsonError(Exception):
    """The text breaks the grammar; the message says where."""


def explain(text: str) -> str | None:
    """Why the text is not one JSON value, or None when it is one."""
    try:
        _Scanner(text).run()
    except _NotJsonError as error:
        return str(error)
    return None


class _Scanner:
    """Walks the text once and remembers only which brackets are open."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._open: list[str] = []

    def run(self) -> None:
        expect = _Expect.VALUE
        while True:
            self._skip_space()
            if expect is _Expect.AFTER and not self._open:
                if self._at < len(self._text):
                    self._fail("after top-level value")
                return
            expect = self._step(expect)

    def _step(self, expect: _Expect) -> _Expect:
        if expect is _Expect.AFTER:
            return self._after_value()
        if expect is _Expect.FIRST_ELEMENT and self._peek() == "]":
            return self._close()
        if expect is _Expect.FIRST_KEY and self._peek() == "}":
            return self._close()
        if expect in {_Expect.KEY, _Expect.FIRST_KEY}:
            return self._key()
        return self._value()

    def _value(self) -> _Expect:
        char = self._peek()
        if char in {"{", "["}:
            self._open.append(char)
            self._at += 1
            return _Expect.FIRST_KEY if char == "{" else _Expect.FIRST_ELEMENT
        if char == '"':
            self._string()
        elif char in _LITERALS:
            self._literal(_LITERALS[char])
        elif char == "-" or char.isdecimal():
            self._number()
        else:
            self._fail("looking for beginning of value")
        return _Expect.AFTER

    def _key(self) -> _Expect:
        if self._peek() != '"':
            self._fail("looking for beginning of object key string")
        self._string()
        self._skip_space()
        if self._peek() != ":":
            self._fail("after object key")
        self._at += 1
        return _Expect.VALUE

    def _after_value(self) -> _Expect:
        in_object = self._open[-1] == "{"
        char = self._peek()
        if char == ",":
            self._at += 1
            return _Expect.KEY if in_object else _Expect.VALUE
        if char != ("}" if in_object else "]"):
            self._fail("after object key:value pair" if in_object else "after array element")
        return self._close()

    def _close(self) -> _Expect:
        self._open.pop()
        self._at += 1
        return _Expect.AFTER

    def _string(self) -> None:
        self._match(_STRING_BODY)
        if self._peek() == '"':
            self._at += 1
            return
        if self._peek() != "\\":
            self._fail("in string literal")
        self._match(_ESCAPE)
        digits = self._text[self._at - 1] != "\\"
        self._fail("in \\u hexadecimal character escape" if digits else "in string escape code")

    def _literal(self, word: str) -> None:
        for char in word:
            if self._peek() != char:
                self._fail(f"in literal {word} (expecting {_quote(char)})")
            self._at += 1

    def _number(self) -> None:
        if self._peek() == "-":
            self._at += 1
        if self._peek() == "0":
            self._at += 1
        elif not self._match(_DIGITS):
            self._fail("in numeric literal")
        if self._ahead() == ".":
            self._at += 1
            if not self._match(_DIGITS):
                self._fail("after decimal point in numeric literal")
        if self._ahead() in {"e", "E"}:
            self._at += 1
            self._exponent()

    def _exponent(self) -> None:
        if self._ahead() in {"+", "-"}:
            self._at += 1
        if not self._match(_DIGITS):
            self._fail("in exponent of numeric literal")

    def _skip_space(self) -> None:
        self._match(_SPACE)

    def _match(self, pattern: re.Pattern[str]) -> bool:
        found = pattern.match(self._text, self._at)
        if found is None:
            return False
        self._at = found.end()
        return True

    def _ahead(self) -> str:
        return self._text[self._at : self._at + 1]

    def _peek(self) -> str:
        if self._at >= len(self._text):
            raise _NotJsonError("unexpected EOF")
        return self._text[self._at]

    def _fail(self, where: str) -> None:
        raise _NotJsonError(f"invalid character {_quote(self._peek())} {where}")


def _quote(char: str) -> str:
    if char in {"'", "\\"}:
        return f"'\\{char}'"
    shown = char if char.isprintable() else char.encode("unicode_escape").decode()
    return f"'{shown}'"
