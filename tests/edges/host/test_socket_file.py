"""The daemon's own Unix socket."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.edges.host.socket_file import SocketFile, make_private_folder, socket_path


def test_only_its_owner_may_use_it_and_it_goes_with_the_daemon(tmp_path: Path) -> None:
    file = SocketFile(tmp_path / "s")
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
    file.close()
    assert not (tmp_path / "s").exists()


def test_a_file_that_a_crash_left_behind_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(tmp_path / "s"))
        crashed.listen()
    SocketFile(tmp_path / "s").close()


def test_the_socket_of_a_program_that_runs_is_left_alone(tmp_path: Path) -> None:
    first = SocketFile(tmp_path / "s")
    with pytest.raises(ProxyError, match="another program listens there") as failure:
        SocketFile(tmp_path / "s")
    assert failure.value.code == "port_taken"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
    first.close()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(ProxyError, match="no socket"):
        SocketFile(tmp_path / "s")
    assert (tmp_path / "s").read_text() == "precious"


def test_the_file_of_a_successor_is_not_taken_away(tmp_path: Path) -> None:
    first = SocketFile(tmp_path / "s")
    (tmp_path / "s").unlink()
    second = SocketFile(tmp_path / "s")
    first.close()
    assert (tmp_path / "s").exists()
    second.close()


def test_a_path_that_no_socket_can_have_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ProxyError, match="107 bytes"):
        SocketFile(tmp_path / ("s" * 108))


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ProxyError, match="No such file"):
        SocketFile(tmp_path / "nowhere/s")


@pytest.mark.parametrize(
    ("written", "path"),
    [("/run/a.sock", "/run/a.sock"), ("~/a.sock", "/home/u/a.sock"), ("a.sock", "/run/user/9/a.sock")],
)
def test_a_path_may_be_whole_at_home_or_in_the_runtime_directory(written: str, path: str) -> None:
    assert socket_path(written, {"HOME": "/home/u", "XDG_RUNTIME_DIR": "/run/user/9"}) == Path(path)


def test_without_a_runtime_directory_a_whole_path_is_asked_for() -> None:
    with pytest.raises(ProxyError, match="XDG_RUNTIME_DIR"):
        socket_path("a.sock", {})


def test_of_daemons_that_start_together_one_gets_a_stale_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(tmp_path / "s"))

    def open_it(_: int) -> SocketFile | None:
        try:
            return SocketFile(tmp_path / "s")
        except ProxyError:
            return None

    with ThreadPoolExecutor(8) as pool:
        (winner,) = [made for made in pool.map(open_it, range(8)) if made is not None]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
    winner.close()


def test_the_folder_of_the_control_socket_is_for_its_owner(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    for name in ("new", "open"):
        make_private_folder(tmp_path / name)
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o700


def test_a_folder_that_another_user_could_have_put_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ProxyError, match="is a link"):
        make_private_folder(tmp_path / "link")
