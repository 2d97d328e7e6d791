"""`mode hold`: the mode lasts as long as the command, and signals and exit statuses pass through."""

import io
import signal
from contextlib import suppress
from functools import partial
from itertools import count

import pytest

from ollama_proxyd.cli.client import Client
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.modes import Mode
from tests.cli.conftest import Ctl, ServedDaemon
from tests.cli.program import Start, wait_until

pytestmark = pytest.mark.usefixtures("daemon")


def effective(daemon: ServedDaemon) -> Mode:
    return daemon.services.governor.setting.value.effective


def test_the_mode_is_held_while_the_command_runs(daemon: ServedDaemon, start: Start) -> None:
    program = start("mode", "hold", "--reason", "a long build", "Quiet", "--", "sh", "-c", "echo on; exec sleep 9")
    wait_until(lambda: effective(daemon) is Mode.QUIET)
    (hold,) = daemon.services.governor.holds.value
    assert (hold.mode, hold.reason) == (Mode.QUIET, "a long build")
    assert program.line() == "on"
    program.process.terminate()
    program.finish()
    wait_until(lambda: effective(daemon) is Mode.BALANCED)


def test_without_a_reason_the_command_is_the_reason(daemon: ServedDaemon, start: Start) -> None:
    program = start("mode", "hold", "Quiet", "sleep", "9")
    wait_until(lambda: effective(daemon) is Mode.QUIET)
    assert daemon.services.governor.holds.value[0].reason == "sleep 9"
    program.process.terminate()
    program.finish()


def test_the_command_s_exit_status_and_output_are_passed_on(start: Start) -> None:
    status, out, error = start("mode", "hold", "Quiet", "--", "sh", "-c", "echo out; echo err >&2; exit 7").finish()
    assert (status, out, error) == (7, "out\n", "err\n")


def test_options_of_the_command_are_its_own(start: Start) -> None:
    assert start("mode", "hold", "Quiet", "echo", "--json", "-h").finish()[:2] == (0, "--json -h\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_reaches_the_command(start: Start, number: signal.Signals) -> None:
    script = f"trap 'echo got it; kill $!; exit 3' {number.name[3:]}; echo ready; sleep 9 & wait"
    program = start("mode", "hold", "Quiet", "--", "sh", "-c", script)
    assert program.line() == "ready"
    program.process.send_signal(number)
    assert program.finish()[:2] == (3, "got it\n")


def test_a_command_that_a_signal_ended_is_told_as_shells_do(start: Start) -> None:
    assert start("mode", "hold", "Quiet", "--", "sh", "-c", "kill -KILL $$").finish()[0] == 128 + signal.SIGKILL


def test_the_hold_ends_even_when_the_program_is_killed(daemon: ServedDaemon, start: Start) -> None:
    program = start("mode", "hold", "Quiet", "--", "sleep", "0.3")
    wait_until(lambda: effective(daemon) is Mode.QUIET)
    program.process.kill()
    wait_until(lambda: effective(daemon) is Mode.BALANCED)


def test_a_command_that_does_not_exist_ends_with_127(ctl: Ctl) -> None:
    result = ctl("mode", "hold", "Quiet", "--", "/no/such/command")
    assert (result.exit_code, result.stderr) == (
        127,
        "ollama-proxyctl: cannot run /no/such/command: No such file or directory\n",
    )


def test_a_file_that_is_no_program_ends_with_126(ctl: Ctl) -> None:
    assert ctl("mode", "hold", "Quiet", "--", "/etc/passwd").exit_code == 126


def test_a_command_does_not_run_when_the_daemon_ends_before_it_holds(monkeypatch: pytest.MonkeyPatch, ctl: Ctl) -> None:
    monkeypatch.setattr(Client, "version", lambda _: None)
    monkeypatch.setattr(Client, "_open", lambda *_: io.BytesIO())
    result = ctl("mode", "hold", "Quiet", "--", "/no/such/command")
    assert result.exit_code == 69
    assert "has ended; start it with: ollama-proxyd" in result.stderr


def test_a_hold_without_a_command_is_a_usage_error(ctl: Ctl) -> None:
    assert ctl("mode", "hold", "Quiet").exit_code == 2


def test_a_mode_is_held_over_tcp_too(over_tcp: ServedDaemon, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    program = start("mode", "hold", "Quiet", "sleep", "9")
    wait_until(lambda: effective(over_tcp) is Mode.QUIET)
    program.process.terminate()
    program.finish()
    wait_until(lambda: effective(over_tcp) is Mode.BALANCED)


def test_a_long_command_is_a_reason_in_short(daemon: ServedDaemon, start: Start) -> None:
    program = start("mode", "hold", "Quiet", "sleep", *["0.1"] * 90)
    wait_until(lambda: effective(daemon) is Mode.QUIET)
    assert len(daemon.services.governor.holds.value[0].reason) == 200
    assert program.finish() == (0, "", "")


def test_a_hold_that_the_daemon_refuses_runs_nothing(daemon: ServedDaemon, ctl: Ctl) -> None:
    with suppress(ProxyError):
        for number in count():
            daemon.do(partial(daemon.services.governor.hold, Mode.QUIET, "", "", f":1.{number}"))
    result = ctl("mode", "hold", "Quiet", "--", "sh", "-c", "echo ran")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "programs hold a mode already" in result.stderr


def test_pipes_of_the_command_break_as_they_always_do(start: Start) -> None:
    assert start("mode", "hold", "Quiet", "--", "sh", "-c", "yes | head -n 1").finish() == (0, "y\n", "")


@pytest.mark.parametrize("options", [["--reason", "a talk"], ["--reason=a talk"]])
def test_options_may_stand_behind_the_mode(daemon: ServedDaemon, start: Start, options: list[str]) -> None:
    program = start("mode", "hold", "Quiet", *options, "--", "sleep", "9")
    wait_until(lambda: effective(daemon) is Mode.QUIET)
    assert daemon.services.governor.holds.value[0].reason == "a talk"
    program.process.terminate()
    program.finish()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["Quiet", "--raeson", "x", "--", "true"], "No such option"),
        (["Quiet", "--reason", "--", "true"], "--reason needs a text"),
        (["Quiet", "--reason"], "--reason needs a text"),
        (["Quiet", "--reason", "x"], "name the command"),
    ],
)
def test_an_option_is_never_run_as_a_command(ctl: Ctl, words: list[str], says: str) -> None:
    result = ctl("mode", "hold", *words)
    assert result.exit_code == 2
    assert says in result.stderr


def test_the_help_of_hold_may_be_asked_for_behind_the_mode(ctl: Ctl) -> None:
    result = ctl("mode", "hold", "Quiet", "--help")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (
        0,
        "Usage: ollama-proxyctl mode hold [OPTIONS] MODE [--] COMMAND [ARGS]...",
    )
