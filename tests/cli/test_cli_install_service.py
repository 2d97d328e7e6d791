"""`install-service`: what goes where, what is never touched, and that it leaves nothing behind."""

import itertools
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ollama_proxyd.cli.install import command, files, parts
from ollama_proxyd.cli.install.files import InstallError, Manifest, Part
from ollama_proxyd.cli.install.folders import of_environment, of_user
from ollama_proxyd.cli.install.installer import Installer, uninstall
from ollama_proxyd.cli.install.machine import Machine
from ollama_proxyd.cli.install.parts import Site
from tests.cli.conftest import Ctl
from tests.real_things import NOT_TRIED

SHARE = ".local/share"
UNIT = f"{SHARE}/systemd/user/ollama-proxyd.service"
SOCKET = f"{SHARE}/systemd/user/ollama-proxyd.socket"
ENABLED = ".config/systemd/user/sockets.target.wants/ollama-proxyd.socket"
ACTIVATION = f"{SHARE}/dbus-1/services/ie.fio.OllamaProxy.service"
ENTRY = f"{SHARE}/applications/ie.fio.OllamaProxy.desktop"
CONFIG = ".config/ollama-proxyd/config.yaml"


def picture(folder: Path) -> dict[str, tuple[str, int]]:
    """Everything below a folder, and when each file was written."""
    return {
        str(path.relative_to(folder)): (
            str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else "",
            0 if stat.S_ISDIR(path.lstat().st_mode) else path.lstat().st_mtime_ns,
        )
        for path in folder.rglob("*")
    }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with programs in it, on a machine with systemd, D-Bus and a desktop, but outside of a session."""
    home, programs = tmp_path / "home", tmp_path / "programs"
    home.mkdir()
    programs.mkdir()
    for name in ("ollama-proxyd", "systemctl", "dbus-daemon", "xdg-open"):
        (programs / name).write_text("#!/bin/sh\nexit 1\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", str(programs))
    for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "OLLAMA_PROXY_HTTP_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(command, "programs", lambda: programs)
    return home


@pytest.fixture
def run(ctl: Ctl, home: Path) -> Callable[..., str]:
    """Runs install-service, which has to succeed; returns what it says."""

    def go(*options: str) -> str:
        done = ctl("install-service", *options)
        assert done.exit_code == 0, done.output
        return done.output

    return go


def test_units_activation_and_entry_name_the_programs_of_this_installation(
    run: Callable[..., str], home: Path, tmp_path: Path
) -> None:
    run()
    assert f"ExecStart={tmp_path}/programs/ollama-proxyd\n" in (home / UNIT).read_text()
    assert f"Exec={tmp_path}/programs/ollama-proxyd\n" in (home / ACTIVATION).read_text()
    assert "SystemdService=ollama-proxyd.service" in (home / ACTIVATION).read_text()
    assert "Exec=xdg-open http://127.0.0.1:8080/dashboard\n" in (home / ENTRY).read_text()
    assert (home / ENABLED).resolve() == home / SOCKET
    assert len(list((home / ACTIVATION).parent.iterdir())) == 6
    texts = [path.read_text() for path in home.rglob("*") if path.is_file() and path.suffix != ".json"]
    lines = [line for text in texts for line in text.splitlines() if not line.startswith("#")]
    assert [line for line in lines if "@bindir@" in line or "@url@" in line] == []


def test_installed_twice_is_the_same_as_once(run: Callable[..., str], home: Path) -> None:
    run()
    before = picture(home)
    assert ": no files written\n" in run()
    assert picture(home) == before


@pytest.mark.parametrize("purge", [True, False])
def test_uninstalled_leaves_what_was_there_before(run: Callable[..., str], home: Path, purge: bool) -> None:
    (home / ".config").mkdir()
    (home / ".local/share/applications").mkdir(parents=True)
    (home / ".local/share/applications/other.desktop").write_text("[Desktop Entry]\n")
    before = picture(home)
    run()
    run("--uninstall", *(["--purge"] if purge else []))
    assert picture(home).keys() - before.keys() == (set() if purge else {".config/ollama-proxyd", CONFIG})
    assert before.items() <= picture(home).items()


def test_a_changed_configuration_is_never_written_over(run: Callable[..., str], home: Path) -> None:
    run()
    (home / CONFIG).write_text("server: {http_port: 9090}\n")
    run()
    run("--uninstall")
    run()
    assert (home / CONFIG).read_text() == "server: {http_port: 9090}\n"


def test_a_configuration_for_all_users_is_not_hidden_by_one_of_the_user_s_own(
    run: Callable[..., str], home: Path, tmp_path: Path
) -> None:
    (tmp_path / "etc/ollama-proxyd").mkdir(parents=True)
    (tmp_path / "etc/ollama-proxyd/config.yaml").write_text("")
    assert "stays as it is" in run()
    assert not (home / CONFIG).exists()


@pytest.mark.parametrize(
    ("server", "listens", "url"),
    [
        ("{http_port: 9090}", "127.0.0.1:9090", "http://127.0.0.1:9090"),
        ("{host: localhost}", "127.0.0.1:8080", "http://localhost:8080"),
        ('{host: "::1", http_port: 81}', "[::1]:81", "http://[::1]:81"),
    ],
)
def test_the_socket_and_the_entry_follow_the_configuration(
    run: Callable[..., str], home: Path, server: str, listens: str, url: str
) -> None:
    (home / ".config/ollama-proxyd").mkdir(parents=True)
    os.environ.pop("OLLAMA_PROXY_HTTP_PORT", None)
    (home / CONFIG).write_text(f"server: {server}\n")
    run()
    assert f"ListenStream={listens}\n" in (home / SOCKET).read_text()
    assert f"{url}/dashboard" in (home / ENTRY).read_text()


def test_no_socket_is_held_for_a_port_that_is_not_fixed(run: Callable[..., str], home: Path) -> None:
    (home / ".config/ollama-proxyd").mkdir(parents=True)
    (home / CONFIG).write_text("server: {http_port: 0}\n")
    assert "the systemd socket: http://127.0.0.1:0 is no address that systemd can hold" in run()
    assert not (home / SOCKET).exists()
    assert not (home / ENABLED).is_symlink()


def test_a_socket_that_was_disabled_stays_disabled(run: Callable[..., str], home: Path) -> None:
    run()
    (home / ENABLED).unlink()
    run()
    run()
    assert not (home / ENABLED).is_symlink()


def test_what_somebody_changed_stays_and_is_named(run: Callable[..., str], home: Path) -> None:
    run()
    (home / UNIT).write_text("[Service]\nExecStart=/mine\n")
    assert f"{home / UNIT}: somebody else wrote or changed it, so it stays" in run()
    assert f"{home / UNIT}: somebody has changed it, so it stays" in run("--uninstall")
    assert (home / UNIT).read_text() == "[Service]\nExecStart=/mine\n"


def test_what_was_there_before_is_not_taken_over(run: Callable[..., str], home: Path) -> None:
    run()
    same = (home / ACTIVATION).read_text()
    run("--uninstall")
    (home / ACTIVATION).parent.mkdir(parents=True)
    (home / ACTIVATION).write_text(same)
    run()
    run("--uninstall")
    assert (home / ACTIVATION).read_text() == same


def test_what_an_earlier_version_had_and_this_one_has_not_is_removed(run: Callable[..., str], home: Path) -> None:
    run()
    (tmp := home.parent / "programs" / "xdg-open").unlink()
    assert "the entry among the applications: xdg-open is not on this machine" in run()
    assert not tmp.exists()
    assert not (home / ENTRY).exists()


def test_what_a_machine_lacks_is_left_out_with_the_reason(run: Callable[..., str], home: Path) -> None:
    for name in ("systemctl", "dbus-daemon"):
        (home.parent / "programs" / name).unlink()
    said = run()
    assert "the systemd unit: systemd is not on this machine" in said
    assert "D-Bus activation: D-Bus is not on this machine" in said
    assert not (home / UNIT).exists()
    assert not (home / ACTIVATION).exists()


def test_the_xdg_folders_are_used_if_they_are_absolute(
    run: Callable[..., str], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    run()
    assert (tmp_path / "data/systemd/user/ollama-proxyd.service").exists()
    assert (home / CONFIG).exists()
    assert not (home / SHARE).exists()


def test_purge_alone_is_refused(ctl: Ctl) -> None:
    done = ctl("install-service", "--purge")
    assert done.exit_code == 2
    assert "--purge goes with --uninstall" in done.output


def test_a_list_that_cannot_be_read_is_an_error_that_says_what_to_do(home: Path, ctl: Ctl) -> None:
    path = home / SHARE / "ollama-proxyd/installed.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    done = ctl("install-service")
    assert done.exit_code == 1
    assert f"{path} cannot be read" in done.output
    assert "remove it, and install again" in done.output


@pytest.mark.parametrize(
    ("prefix", "loaded_from", "stopped"),
    [
        (None, "anywhere", ["stop ollama-proxyd.socket ollama-proxyd.service"]),
        ("opt", "home/.local/share", []),
        ("opt", "opt/share", ["stop ollama-proxyd.socket ollama-proxyd.service"]),
    ],
)
def test_only_a_daemon_of_the_installation_that_goes_is_stopped(
    home: Path, tmp_path: Path, prefix: str | None, loaded_from: str, stopped: list[str]
) -> None:
    """With a prefix it may be another one than the one that runs."""
    folders = of_user(os.environ, None if prefix is None else tmp_path / prefix)
    manifest = Manifest(folders.app / "installed.json")
    Installer(folders, Site(tmp_path / "programs"), Machine(os.environ)).install(manifest)
    runtime, asked = tmp_path / "runtime", tmp_path / "asked"
    (runtime / "systemd" / "private").mkdir(parents=True)
    (tmp_path / "programs" / "systemctl").write_text(
        f'#!/bin/sh\nshift\necho "$*" >>{asked}\nfor unit in "$@"; do :; done\n'
        f'[ "$1" != show ] || echo "{tmp_path}/{loaded_from}/systemd/user/$unit"\n'
    )
    uninstall(folders, manifest, Machine(os.environ | {"XDG_RUNTIME_DIR": str(runtime)}), purge=False)
    assert [line for line in asked.read_text().splitlines() if line.startswith("stop")] == stopped
    assert not (folders.data / parts.UNITS / "ollama-proxyd.service").exists()


@pytest.mark.parametrize("prefix", [None, Path("/opt/mine")])
def test_an_environment_of_scripts_install_knows_its_folders(home: Path, prefix: Path | None) -> None:
    folders = of_user(os.environ, prefix)
    assert of_environment(os.environ, folders.environments / "20261128-120000") == folders
    assert of_environment(os.environ, Path("/opt/pipx/venvs/ollama-proxyd")) == of_user(os.environ)


def test_an_environment_is_known_also_where_the_home_folder_is_a_link(home: Path) -> None:
    home.with_name("link").symlink_to(home)
    usual = of_user(os.environ)
    assert of_environment(os.environ, home.with_name("link") / usual.environments.relative_to(home) / "x") == usual


def test_without_a_home_nothing_is_written() -> None:
    with pytest.raises(InstallError, match="HOME"):
        of_user({})


def test_everything_is_as_before_when_a_file_cannot_be_written(
    run: Callable[..., str], home: Path, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    before = picture(home)
    (home / CONFIG).write_text("server: {http_port: 9090}\n")  # so that there is something to write
    before[CONFIG] = picture(home)[CONFIG]

    def full(part: Part) -> None:
        if part.path.name == "ie.fio.OllamaProxy.desktop":  # after the socket, which has to be put back
            raise OSError(28, "No space left on device")
        real(part)

    real = files.write
    monkeypatch.setattr(files, "write", full)
    done = ctl("install-service")
    assert done.exit_code == 1
    assert "No space left on device" in done.output
    monkeypatch.undo()
    after = picture(home)
    assert {name: text for name, (text, _) in after.items()} == {name: text for name, (text, _) in before.items()}


@pytest.mark.parametrize("written", [1, 2, 3, 8, 16])
def test_a_run_that_was_killed_is_finished_by_the_next_one_and_leaves_nothing_for_ever(
    run: Callable[..., str], home: Path, ctl: Ctl, written: int
) -> None:
    before = picture(home).keys()
    child = os.fork()
    if child == 0:
        count, real = itertools.count(1), files.write

        def killed(part: Part) -> None:
            real(part)
            if next(count) == written:
                os.kill(os.getpid(), signal.SIGKILL)

        files.write = killed
        ctl("install-service")
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert "somebody else" not in run()
    assert (home / CONFIG).exists()
    assert (home / ENABLED).is_symlink()
    run("--uninstall", "--purge")
    assert picture(home).keys() == before


@pytest.mark.parametrize(
    ("path", "systemd"),
    [("/a/b", "/a/b"), ("/a b/c", '"/a b/c"'), ("/a%b", "/a%%b"), ("/it's", '"/it\'s"')],
)
def test_odd_paths_are_written_as_systemd_reads_them(path: str, systemd: str) -> None:
    assert parts.for_systemd(path) == systemd


def test_the_entry_among_the_applications_is_valid(run: Callable[..., str], home: Path) -> None:
    validator = shutil.which("desktop-file-validate", path=os.defpath)
    if validator is None:
        pytest.skip(f"{NOT_TRIED}desktop-file-validate is not installed")
    run()
    done = subprocess.run([validator, home / ENTRY], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
