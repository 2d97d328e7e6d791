"""The name of a program by its control group, its command line, or its own word."""

import pytest

from ollama_proxyd.core.programs import MOST_CHARACTERS, UNKNOWN, KnownBy, Program, of_cgroup, of_command, of_user_agent

USER = "/user.slice/user-1000.slice/user@1000.service"


@pytest.mark.parametrize(
    ("group", "name", "known_by"),
    [
        (f"{USER}/app.slice/app-flatpak-io.github.alpaca-12345.scope", "io.github.alpaca", KnownBy.FLATPAK),
        (f"{USER}/app.slice/app-gnome-org.gnome.Builder-4711.scope", "org.gnome.Builder", KnownBy.UNIT),
        (f"{USER}/app.slice/app-org.kde.kate@5b0c1f2e.service", "org.kde.kate", KnownBy.UNIT),
        (f"{USER}/app.slice/app-firefox-99.scope", "firefox", KnownBy.UNIT),
        (f"{USER}/app.slice/app-gnome-jetbrains\\x2didea-77.scope", "jetbrains-idea", KnownBy.UNIT),
        (f"{USER}/app.slice/snap.code.code-1b2c-33.scope", "code", KnownBy.UNIT),
        (f"{USER}/app.slice/aider.service", "aider", KnownBy.UNIT),
        (f"{USER}/app.slice/worker@3.service/sub", "worker", KnownBy.UNIT),
        ("/system.slice/user-app.service", "user-app", KnownBy.UNIT),
        ("/system.slice/runner.service", "runner", KnownBy.UNIT),
        ("/system.slice/open-webui.service", "open-webui", KnownBy.UNIT),
        ("/system.slice/docker-0123abcd.scope", "docker", KnownBy.UNIT),
        (f"{USER}/user.slice/libpod-0123abcd.scope/container", "libpod", KnownBy.UNIT),
    ],
)
def test_a_group_of_one_program_has_its_name(group: str, name: str, known_by: KnownBy) -> None:
    assert of_cgroup(group) == Program(name, known_by)


@pytest.mark.parametrize(
    "group",
    [
        "/user.slice/user-1000.slice/session-3.scope",
        f"{USER}/app.slice/app-org.gnome.Terminal.slice/vte-spawn-0a1b2c.scope",
        f"{USER}/tmux-spawn-0a1b.scope",
        f"{USER}/app.slice/run-u12.service",
        f"{USER}/init.scope",
        USER,
        "/",
        "",
    ],
)
def test_a_login_a_terminal_and_no_group_name_no_program(group: str) -> None:
    assert of_cgroup(group) is None


@pytest.mark.parametrize(
    ("name", "arguments", "program"),
    [
        ("aider", ["/usr/bin/python3", "/usr/bin/aider"], "aider"),
        ("python3.12", ["python3", "/home/me/agent.py", "a prompt"], "agent.py"),
        ("python3", ["python3", "-m", "pytest", "-x"], "pytest"),
        ("node", ["node", "/opt/app/server.js"], "server.js"),
        ("python3", ["python3", "-c", "print('a prompt')"], "python3"),
        ("bash", ["bash"], "bash"),
        ("curl", ["curl", "-d", "a prompt", "http://localhost"], "curl"),
    ],
)
def test_a_process_has_its_name_and_an_interpreter_that_of_its_script(
    name: str, arguments: list[str], program: str
) -> None:
    assert of_command(name, arguments) == Program(program, KnownBy.EXECUTABLE)


def test_a_process_that_has_gone_is_not_known() -> None:
    assert of_command("", []) == UNKNOWN


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("OpenAI/Python 1.99", "OpenAI"),
        ("python-requests/2.32", "python-requests"),
        ("curl", "curl"),
        ("", ""),
        ("/", ""),
        ("ü", ""),
        ("x" * 500, "x" * 40),
    ],
)
def test_what_a_program_calls_itself_is_a_guess_by_its_first_word(text: str, name: str) -> None:
    assert of_user_agent(text) == (Program(name, KnownBy.GUESS) if name else UNKNOWN)


def test_no_name_is_endless_or_commands_a_terminal() -> None:
    odd = of_cgroup(f"/{'a' * 500}\\x1b\\x0a.service"), of_command("a\x1b[2J\n", [])
    assert all(each is not None and each.name.isprintable() and len(each.name) <= MOST_CHARACTERS for each in odd)
