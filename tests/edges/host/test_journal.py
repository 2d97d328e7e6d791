"""How log lines reach the journal."""

import io
import logging
import sys
from pathlib import Path

import pytest

from ollama_proxyd.edges.host.journal import FieldsHandler, PrefixFormatter, is_journal


def record(level: int = logging.WARNING, **extra: object) -> logging.LogRecord:
    return logging.makeLogRecord({"levelno": level, "name": "ollama_proxyd.x", "msg": "one\ntwo", **extra})


def test_the_journal_is_known_by_device_and_inode(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        there = (tmp_path / "log").stat()
        assert is_journal({"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"}, stream)
        assert not is_journal({"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino + 1}"}, stream)
        assert not is_journal({}, stream)
    assert not is_journal({"JOURNAL_STREAM": "1:2"}, io.StringIO())


def test_every_line_of_a_record_has_its_weight() -> None:
    assert PrefixFormatter("%(message)s").format(record()) == "<4>one\n<4>two"


def test_fields_go_with_a_record_as_far_as_they_are_known() -> None:
    sent: list[tuple[str, dict[str, object]]] = []
    handler = FieldsHandler(lambda text, **fields: sent.append((text, fields)), logging.NullHandler())
    handler.emit(record(request_id="r1", backend=None, mode="Quiet"))
    ((text, fields),) = sent
    assert text == "one\ntwo"
    assert (fields["REQUEST_ID"], fields["MODE"], fields["PRIORITY"]) == ("r1", "Quiet", 4)
    assert "BACKEND" not in fields


def test_what_the_journal_does_not_take_goes_as_a_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(text: str, **fields: object) -> None:
        raise OSError(2, "no journal")

    stream = io.StringIO()
    FieldsHandler(refuse, logging.StreamHandler(stream)).emit(record())
    assert stream.getvalue() == "one\ntwo\n"


def test_words_from_outside_command_no_terminal_and_begin_no_line_of_the_log() -> None:
    hostile = record(
        msg="backend %s says %s after %d s", args=("npu\x1b]0;x\x07", "no\nERROR \u202eall is lost\x9b2J", 3)
    )
    assert (
        PrefixFormatter("%(message)s").format(hostile) == "<4>backend npu ]0;x  says no ERROR  all is lost 2J after 3 s"
    )


def test_the_text_of_an_exception_commands_no_terminal() -> None:
    try:
        raise ValueError("no\x1b[2J")
    except ValueError:
        told = PrefixFormatter("%(message)s").format(record(msg="broke", exc_info=sys.exc_info()))
    assert "\x1b" not in told
    assert "ValueError: no [2J" in told
