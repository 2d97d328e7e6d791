"""Where the configuration comes from, and what stands over what."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ollama_proxyd.config.load import MAX_BYTES, Overrides, find, load, search_paths
from ollama_proxyd.config.problems import ConfigError
from ollama_proxyd.config.settings import Config

Loader = Callable[..., Config]
Complaints = Callable[..., list[str]]


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def failure(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    return str(caught.value)


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    config = load(None, {"XDG_CONFIG_HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path)})
    assert config.path is None
    assert (config.server.host, config.server.port, config.backends) == ("127.0.0.1", 8080, ())


def test_an_empty_file_means_the_defaults(loaded: Loader, tmp_path: Path) -> None:
    config = loaded("")
    assert config.path == tmp_path / "config.yaml"
    assert config.values == load(None, {"HOME": str(tmp_path)}).values


def test_a_named_file_goes_before_the_environment_and_that_before_the_search_path(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "OLLAMA_PROXY_CONFIG": "/from/environment"}
    write(tmp_path / "ollama-proxyd/config.yaml")
    assert find(Path("/named"), environ) == Path("/named")
    assert find(None, environ) == Path("/from/environment")
    assert find(None, environ | {"OLLAMA_PROXY_CONFIG": ""}) == tmp_path / "ollama-proxyd/config.yaml"


def test_the_home_folder_goes_before_the_system_folders(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "h"), "XDG_CONFIG_DIRS": f"{tmp_path}/a:{tmp_path}/b"}
    system = write(tmp_path / "b/ollama-proxyd/config.yaml")
    assert find(None, environ) == system
    home = write(tmp_path / "h/ollama-proxyd/config.yaml")
    assert find(None, environ) == home


def test_the_search_path_falls_back_to_the_usual_folders() -> None:
    assert [str(path) for path in search_paths({"HOME": "/home/x", "XDG_CONFIG_HOME": "relative"})] == [
        "/home/x/.config/ollama-proxyd/config.yaml",
        "/etc/xdg/ollama-proxyd/config.yaml",
    ]


def test_options_stand_over_the_environment_and_that_over_the_file(loaded: Loader) -> None:
    text = "server: {http_port: 1, host: 127.0.0.1}\nmonitoring: {log_level: error}\n"
    environ = {"OLLAMA_PROXY_HTTP_PORT": "2", "OLLAMA_PROXY_HOST": "localhost", "OLLAMA_PROXY_LOG_LEVEL": "WARNING"}
    config = loaded(text, environ, Overrides(http_port=3))
    assert (config.server.port, config.server.host, config.log.level) == (3, "localhost", "warning")
    config = loaded(text, environ)
    assert config.server.port == 2
    config = loaded(text, environ, Overrides(host="127.0.0.2", log_level="DEBUG"))
    assert (config.server.host, config.log.level) == ("127.0.0.2", "debug")
    config = loaded(text)
    assert (config.server.port, config.log.level) == (1, "error")


def test_an_empty_variable_says_nothing(loaded: Loader) -> None:
    assert loaded("server: {http_port: 7}", {"OLLAMA_PROXY_HTTP_PORT": ""}).server.port == 7


def test_a_wrong_variable_is_named_with_its_key(complaints: Complaints) -> None:
    assert complaints("server:\n  host: 127.0.0.1\n", {"OLLAMA_PROXY_HTTP_PORT": "http"}) == [
        'environment variable OLLAMA_PROXY_HTTP_PORT: server.http_port: "http" is not a whole number from 0 to 65535'
    ]


def test_a_wrong_option_is_named_with_its_key(complaints: Complaints) -> None:
    (line,) = complaints("", overrides=Overrides(log_level="loud"))
    assert line.startswith('option --log-level: monitoring.log_level: "loud" is not one of debug, info')


def test_an_option_does_not_hide_what_is_wrong_with_its_section(complaints: Complaints) -> None:
    (line,) = complaints("server: 5", overrides=Overrides(http_port=1))
    assert line.startswith("config.yaml:1: server: 5 is not")


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    assert failure(tmp_path / "no.yaml") == f"{tmp_path}/no.yaml: the file cannot be read: No such file or directory"


def test_a_dangling_link_on_the_search_path_is_an_error(tmp_path: Path) -> None:
    place = tmp_path / "ollama-proxyd/config.yaml"
    place.parent.mkdir()
    place.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="No such file"):
        load(None, {"XDG_CONFIG_HOME": str(tmp_path)})


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    assert failure(tmp_path) == f"{tmp_path}: this is a folder; name the file in it"


def test_a_pipe_is_an_error_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert failure(tmp_path / "pipe").endswith("this is not a plain file")


def test_an_impossible_path_is_an_error(tmp_path: Path) -> None:
    assert "cannot be read" in failure(tmp_path / ("x" * 300))
    assert "cannot be read" in failure(Path("a\0b"))


def test_text_that_is_not_utf_8_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"server:\n  host: \xff\n")
    assert failure(path) == f"{path}:2: these bytes are not UTF-8 text; save the file as UTF-8"


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbfserver:\r\n  http_port: 9\r\n")
    assert load(path, {}).server.port == 9


def test_a_huge_file_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "c.yaml", "#" * (MAX_BYTES + 1))
    assert failure(path) == f"{path}: the file is larger than {MAX_BYTES} bytes"


def test_a_file_of_the_greatest_size_is_read(tmp_path: Path) -> None:
    assert load(write(tmp_path / "c.yaml", "#" * MAX_BYTES), {}).server.port == 8080
