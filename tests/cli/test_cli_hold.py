"""`mode hold`: the mode lasts as long as the command, and the command is as if nobody stood before it."""

import signal

import pytest

from ollama_proxyd.core.modes import Mode
from tests.cli.conftest import Ctl, ServedDaemon
from tests.cli.program import Start, wait_until

pytestmark = pytest.mark.usefixtures("over_dbus")


def effective(daemon: ServedDaemon) -> Mode:
    return daemon.services.governor.setting.value.effective


def test_the_mode_is_held_while_the_command_runs(over_dbus: ServedDaemon, start: Start) -> None:
    program = start("mode", "hold", "--reason", "a long build", "Quiet", "--", "sh", "-c", "echo on; exec sleep 9")
    wait_until(lambda: effective(over_dbus) is Mode.QUIET)
    (hold,) = over_dbus.services.governor.holds.value
    assert (hold.mode, hold.reason) == (Mode.QUIET, "a long build")
    assert program.line() == "on"
    program.process.terminate()
    program.finish()
    wait_until(lambda: effective(over_dbus) is Mode.BALANCED)


def test_without_a_reason_the_command_is_the_reason(over_dbus: ServedDaemon, start: Start) -> None:
    program = start("mode", "hold", "Quiet", "sleep", "9")
    wait_until(lambda: effective(over_dbus) is Mode.QUIET)
    assert over_dbus.services.governor.holds.value[0].reason == "sleep 9"
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


def test_the_hold_ends_even_when_the_program_is_killed(over_dbus: ServedDaemon, start: Start) -> None:
    program = start("mode", "hold", "Quiet", "--", "sleep", "0.3")
    wait_until(lambda: effective(over_dbus) is Mode.QUIET)
    program.process.kill()
    wait_until(lambda: effective(over_dbus) is Mode.BALANCED)


def test_a_command_that_does_not_exist_ends_with_127(ctl: Ctl) -> None:
    result = ctl("mode", "hold", "Quiet", "--", "/no/such/command")
    assert (result.exit_code, result.stderr) == (
        127,
        "ollama-proxyctl: cannot run /no/such/command: No such file or directory\n",
    )


def test_a_file_that_is_no_program_ends_with_126(ctl: Ctl) -> None:
    assert ctl("mode", "hold", "Quiet", "--", "/etc/passwd").exit_code == 126


def test_a_hold_without_a_command_is_a_usage_error(ctl: Ctl) -> None:
    assert ctl("mode", "hold", "Quiet").exit_code == 2


def test_over_http_nothing_can_be_held(over_dbus: ServedDaemon, ctl: Ctl) -> None:
    result = ctl("--url", over_dbus.listen(), "mode", "hold", "Quiet", "--", "true")
    assert result.exit_code == 1
    assert "holding a mode works over the session bus alone" in result.stderr


def test_pipes_of_the_command_break_as_they_always_do(start: Start) -> None:
    assert start("mode", "hold", "Quiet", "--", "sh", "-c", "yes | head -n 1").finish() == (0, "y\n", "")


@pytest.mark.parametrize("options", [["--reason", "a talk"], ["--reason=a talk"]])
def test_options_may_stand_behind_the_mode(over_dbus: ServedDaemon, start: Start, options: list[str]) -> None:
    program = start("mode", "hold", "Quiet", *options, "--", "sleep", "9")
    wait_until(lambda: effective(over_dbus) is Mode.QUIET)
    assert over_dbus.services.governor.holds.value[0].reason == "a talk"
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
